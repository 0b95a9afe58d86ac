"""Optimizers against torch's own, step by step: every option, several gradient scales, lr and momentum that change.

The same gradients go to both: noise plus a pull towards 0, so that each step depends on those before. Parameters start
at 0 (but for rules that look at their norm), so that what is compared is the distance travelled, to the last digit.
"""

import functools
import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fetch_zoo as zoo
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

torch = pytest.importorskip("torch")

STEPS = 64
SCALES = (1.0, 1e-4, 1e-8, 1e-11)  # at the last ones epsilon is most of a denominator
VECTORS = {"a": (3, 4), "b": (5,)}
MATRICES = {"a": (4, 6), "b": (6, 3)}
LR = np.where(np.arange(STEPS) < 20, 1.0, np.where(np.arange(STEPS) < 45, 0.3, 0.7)) * (1 - np.arange(STEPS) / 200)
MOMENTUM = 0.8 + 0.15 * np.arange(STEPS) / STEPS
RESTING = np.where((np.arange(STEPS) < 15) | (np.arange(STEPS) > 25), MOMENTUM, 0.0)


@functools.cache
def module_of(package, folder, name):
    """A file of an installed package, without the package's own ``__init__``, which wants more than is installed."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    alias = types.ModuleType(f"{package}_{folder}_alone")
    alias.__path__ = [str(Path(spec.origin).parent / folder)]
    sys.modules[alias.__name__] = alias  # relative imports look here
    return importlib.import_module(f"{alias.__name__}.{name}")


def musgd(params, **kwargs):
    return module_of("ultralytics", "optim", "muon").MuSGD(params, **kwargs)


def lamb(params, **kwargs):
    return module_of("timm", "optim", "lamb").Lamb(params, **kwargs)


def lars(params, **kwargs):
    if not zoo.ZOO.is_dir():
        pytest.skip("run `python tests/parity/fetch_zoo.py` first")
    zoo.originals()
    return zoo.of_package("mmpretrain", "engine/optimizers/lars.py").LARS(params, **kwargs)


def lion(params, **kwargs):
    return module_of("timm", "optim", "lion").Lion(params, **kwargs)


def rmsprop_tf(params, *, eps, eps_root, initial_scale, **kwargs):
    assert (eps, initial_scale) == (0.0, 1.0)
    return module_of("timm", "optim", "rmsprop_tf").RMSpropTF(params, eps=eps_root, **kwargs)


def trainers_adafactor(params, *, beta2_decay=-0.8, d=1.0, eps_in_square, **kwargs):
    assert eps_in_square
    adafactor = pytest.importorskip("transformers.optimization").Adafactor
    return adafactor(params, decay_rate=beta2_decay, clip_threshold=d, **kwargs)


class Row(NamedTuple):
    name: str
    """Ours."""
    theirs: Callable
    """The original's class."""
    kwargs: dict
    """The arguments of both, and ``lr``, which changes."""
    lr: float
    change: str | None
    """What else changes with the step."""
    shapes: dict
    start: float
    """The scale of the parameters at first."""
    sparse: bool
    second: dict
    """What else the second group overrides."""
    curve: np.ndarray
    """The values of what changes."""
    exact: bool
    """Whether our float32 is held against torch's float64, its own float32 being off by almost what is allowed."""


def case(
    name,
    theirs,
    *,
    lr=0.1,
    change=None,
    shapes=VECTORS,
    start=0.0,
    sparse=False,
    second=None,
    curve=MOMENTUM,
    exact=False,
    **kwargs,
):
    label = [name, *(f"{k}={v}" for k, v in kwargs.items()), *(f"second_{k}={v}" for k, v in (second or {}).items())]
    label += [{id(MOMENTUM): "changing", id(RESTING): "resting"}[id(curve)]] if change else []
    row = Row(name, theirs, kwargs, lr, change, shapes, start, sparse, second or {}, curve, exact)
    return pytest.param(row, id="-".join(label).replace(" ", ""))


o = torch.optim
DECAY = dict(weight_decay=0.05)
TENSORFLOW = dict(alpha=0.9, eps=0.0, eps_root=1e-10, initial_scale=1.0, lr_in_momentum=True)
TRAINER = dict(eps=(1e-30, 1e-3), scale_parameter=False, relative_step=False, eps_in_square=True)
CASES = [
    case("sgd", o.SGD),
    case("sgd", o.SGD, momentum=0.9),
    case("sgd", o.SGD, momentum=0.9, dampening=0.3, **DECAY),
    case("sgd", o.SGD, momentum=0.9, nesterov=True, maximize=True, **DECAY),
    case("sgd", o.SGD, change="momentum", momentum=0.9, nesterov=True),
    case("sgd", o.SGD, momentum=0.9, nesterov=True, second=dict(momentum=0.0)),
    case("sgd", o.SGD, momentum=0.9, dampening=0.3, second=dict(momentum=0.0)),
    case("sgd", o.SGD, momentum=0.9, dampening=0.3, change="momentum", curve=RESTING),
    case("adagrad", o.Adagrad),
    case("adagrad", o.Adagrad, lr_decay=0.1, initial_accumulator_value=0.01, eps=1e-3, maximize=True, **DECAY),
    case("rmsprop", o.RMSprop, lr=0.01),
    # one deviation is a difference of squares that almost cancel: torch's float32 is off by 8.6e-6, ours by 7.3e-6
    case("rmsprop", o.RMSprop, lr=0.01, centered=True, alpha=0.9, exact=True, **DECAY),
    case("rmsprop", o.RMSprop, lr=0.01, change="momentum", momentum=0.9, maximize=True, **DECAY),
    case("rmsprop", o.RMSprop, lr=0.01, centered=True, momentum=0.5, eps=1e-4),
    case("rmsprop", o.RMSprop, lr=0.01, momentum=0.9, change="momentum", curve=RESTING),
    case("rmsprop", rmsprop_tf, lr=0.01, **TENSORFLOW),
    case("rmsprop", rmsprop_tf, lr=0.01, momentum=0.9, **TENSORFLOW, **DECAY),
    case("rmsprop", rmsprop_tf, lr=0.01, momentum=0.9, change="momentum", **TENSORFLOW),
    case("rmsprop", rmsprop_tf, lr=0.01, momentum=0.9, **{**TENSORFLOW, "lr_in_momentum": False}),
    case("adadelta", o.Adadelta, lr=1.0),
    case("adadelta", o.Adadelta, lr=1.0, rho=0.0),
    case("adadelta", o.Adadelta, lr=1.0, rho=0.8, eps=1e-3, maximize=True, **DECAY),
    case("adam", o.Adam, lr=0.01),
    case("adam", o.Adam, lr=0.01, change="betas", betas=(0.9, 0.99), eps=1e-3, **DECAY),
    case("adam", o.Adam, lr=0.01, amsgrad=True, maximize=True, betas=(0.8, 0.9), **DECAY),
    case("adam", o.Adam, lr=0.01, decoupled_weight_decay=True, **DECAY),
    case("adamw", o.AdamW, lr=0.01),
    case("adamw", o.AdamW, lr=0.01, amsgrad=True, maximize=True, betas=(0.8, 0.9), **DECAY),
    case("adamax", o.Adamax, lr=0.01),
    case("adamax", o.Adamax, lr=0.01, change="betas", betas=(0.9, 0.99), eps=1e-3, maximize=True, **DECAY),
    case("nadam", o.NAdam, lr=0.01),
    case("nadam", o.NAdam, lr=0.01, momentum_decay=0.05, change="betas", betas=(0.9, 0.99), maximize=True, **DECAY),
    case("nadam", o.NAdam, lr=0.01, decoupled_weight_decay=True, eps=1e-3, **DECAY),
    case("radam", o.RAdam, lr=0.01),
    case("radam", o.RAdam, lr=0.01, betas=(0.8, 0.9), eps=1e-3, maximize=True, **DECAY),
    case("radam", o.RAdam, lr=0.01, betas=(0.9, 0.5), decoupled_weight_decay=True, **DECAY),
    case("asgd", o.ASGD, lr=0.05),
    case("asgd", o.ASGD, lr=0.05, lambd=0.03, alpha=0.5, t0=20, maximize=True, **DECAY),
    case("rprop", o.Rprop, lr=0.01),
    case("rprop", o.Rprop, lr=2.0, etas=(0.3, 1.4), step_sizes=(1e-3, 0.05), maximize=True),
    case("sparse_adam", o.SparseAdam, lr=0.01, sparse=True),
    case("sparse_adam", o.SparseAdam, lr=0.01, sparse=True, betas=(0.8, 0.9), eps=1e-3, maximize=True),
    case("adafactor", o.Adafactor, lr=0.05, start=0.1),
    case("adafactor", o.Adafactor, lr=0.05, start=0.1, second=dict(eps=(1e-3, 1e-2))),
    case("adafactor", o.Adafactor, lr=0.05, start=0.1, eps=(1e-3, 1e-2), second=dict(eps=(None, 1e-3))),
    case(
        "adafactor", o.Adafactor, lr=0.05, start=0.1, eps=(1e-4, 1e-2), d=2.0, beta2_decay=-0.5, maximize=True, **DECAY
    ),
    case("adafactor", trainers_adafactor, lr=0.05, start=0.1, **TRAINER),
    case("adafactor", trainers_adafactor, lr=0.05, start=0.1, d=2.0, beta2_decay=-0.5, **TRAINER, **DECAY),
    case("adafactor", trainers_adafactor, lr=0.05, start=0.1, **{**TRAINER, "scale_parameter": True}),
    case("muon", o.Muon, lr=0.02, shapes=MATRICES),
    case("muon", o.Muon, lr=0.02, shapes=MATRICES, nesterov=False, adjust_lr_fn="match_rms_adamw", ns_steps=3, **DECAY),
    case("muon", o.Muon, lr=0.02, shapes=MATRICES, change="momentum", ns_coefficients=(2.0, -1.5, 0.5), eps=1e-3),
    case("musgd", musgd, lr=0.02, change="momentum", momentum=0.9, nesterov=True, **DECAY),
    case("musgd", musgd, lr=0.02, shapes=MATRICES, use_muon=True, momentum=0.9, nesterov=True, **DECAY),
    case("musgd", musgd, lr=0.02, shapes={"a": (4, 2, 3, 1), "b": (3, 5)}, use_muon=True, momentum=0.9),
    case("lamb", lamb, lr=0.01, start=0.1),
    case("lamb", lamb, lr=0.01, start=0.1, trust_clip=True, bias_correction=False, grad_averaging=False, **DECAY),
    case("lamb", lamb, lr=0.01, start=0.1, always_adapt=True, max_grad_norm=None, weight_decay=0.0, eps=1e-3),
    case("lamb", lamb, lr=0.01, start=0.1, change="betas", betas=(0.9, 0.99), max_grad_norm=0.5, weight_decay=0.0),
    case("lion", lion, lr=0.01),
    case("lion", lion, lr=0.01, change="betas", betas=(0.9, 0.8), maximize=True, **DECAY),
    case("lars", lars, lr=3.0, start=0.1),
    case("lars", lars, lr=0.3, start=0.1, momentum=0.9, dampening=0.3, eta=0.02, **DECAY),
    case("lars", lars, lr=0.3, start=0.1, momentum=0.9, nesterov=True, eps=1e-3, second=dict(lars_exclude=True)),
    case("lars", lars, lr=0.3, start=0.1, momentum=0.9, dampening=0.3, change="momentum", curve=RESTING, **DECAY),
]


@functools.cache
def noise(shapes, sparse):
    random = np.random.default_rng(0)
    found = {}
    for name, shape in shapes:
        values = random.normal(size=(STEPS, *shape))
        rows = random.random((STEPS, shape[0])) < (0.4 if sparse else 1.0)
        found[name] = values, rows.reshape(STEPS, -1, *[1] * (len(shape) - 1))
    return found


def starts(shapes, start):
    random = np.random.default_rng(1)
    return {name: start * random.normal(size=shape) for name, shape in shapes.items()}


def at_step(key, value, old):
    return (value, old[1]) if key == "betas" else value


def follow_theirs(row, scale, dtype):
    """The parameters after each step; ``b`` is a second group with half the lr and no decay."""
    params = {k: torch.tensor(p, dtype=dtype, requires_grad=True) for k, p in starts(row.shapes, row.start).items()}
    second = {"lr": 0.5 * row.lr, **({"weight_decay": 0.0} if "weight_decay" in row.kwargs else {}), **row.second}
    groups = [{"params": [params["a"]]}, {"params": [params["b"]], **second}]
    optimizer = row.theirs(groups, lr=row.lr, **row.kwargs)
    given = {
        k: (torch.tensor(values, dtype=dtype), torch.tensor(present))
        for k, (values, present) in noise(tuple(row.shapes.items()), row.sparse).items()
    }
    seen = {k: [] for k in params}
    for i in range(STEPS):
        for group, factor in zip(optimizer.param_groups, (1.0, 0.5), strict=True):
            group["lr"] = row.lr * factor * LR[i]
            if row.change:
                group[row.change] = at_step(row.change, row.curve[i], group[row.change])
        for k, p in params.items():
            values, present = given[k]
            p.grad = scale * (values[i] + p.detach()) * present[i]
            if row.sparse:
                rows = torch.nonzero(present[i].ravel())[:, 0]
                p.grad = torch.sparse_coo_tensor(rows[None], p.grad[rows], p.shape)
        optimizer.step()
        for k, p in params.items():
            seen[k].append(p.detach().to(torch.float64).numpy().copy())
    return {k: np.stack(values) for k, values in seen.items()}


def follow_ours(row, dtype, **extra):
    """The parameters after each step, for each of the scales, in one compilation."""
    kwargs = dict(row.kwargs)
    if row.change:
        kwargs[row.change] = at_step(row.change, js.table(row.curve), kwargs.get(row.change))
    no_decay = {"weight_decay": 0.0} if "weight_decay" in kwargs else {}
    second = {"lr": js.table(0.5 * row.lr * LR), **no_decay, **row.second}
    rules = [("a", "first"), ("b", "second")]
    tx = getattr(js.optimizers, row.name)(
        lr=js.table(row.lr * LR), **kwargs, **extra, rules=rules, groups={"second": second}
    )
    given = noise(tuple(row.shapes.items()), row.sparse)
    given = {k: (jnp.asarray(values, dtype), jnp.asarray(present, dtype)) for k, (values, present) in given.items()}

    @jax.jit
    @jax.vmap
    def run(scale):
        params = {k: jnp.asarray(p, dtype) for k, p in starts(row.shapes, row.start).items()}

        def step(carry, now):
            params, state = carry
            gradients = {k: scale * (values + params[k]) * present for k, (values, present) in now.items()}
            updates, state = tx.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        return jax.lax.scan(step, (params, tx.init(params)), given)[1]

    return run(jnp.asarray(SCALES, dtype))


def compare(row, dtype, tolerance, **extra):
    with jax.enable_x64(dtype == np.float64):
        mine = follow_ours(row, dtype, **extra)
    original = torch.float64 if row.exact else getattr(torch, dtype.__name__)
    for i, scale in enumerate(SCALES):
        for k, values in follow_theirs(row, scale, original).items():
            travelled = np.abs(values - starts(row.shapes, row.start)[k]).max()
            if travelled == 0:  # in float32: steps below the parameters' last digit
                assert dtype == np.float32
                np.testing.assert_array_equal(mine[k][i], values)
                continue
            worst = np.abs(np.asarray(mine[k][i], np.float64) - values).max() / travelled
            assert worst < tolerance, f"{k} at scale {scale}: off by {worst:.1e} of the distance travelled"


@pytest.fixture(autouse=True)
def all_in_the_dtype_compared(request, monkeypatch):
    """ASGD's scalars live in torch's default dtype, and Newton-Schulz iterations run in bfloat16."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    if "bfloat16" not in request.node.name:
        monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(threads)


def in_dtype(row, dtype):
    return {"ns_dtype": dtype.__name__} if row.name in ("muon", "musgd") else {}


@pytest.mark.parametrize("row", CASES)
def test_float32(row):
    compare(row, np.float32, 1e-5, **in_dtype(row, np.float32))


@pytest.mark.parametrize("row", CASES)
def test_float64(row):
    compare(row, np.float64, 1e-12, **in_dtype(row, np.float64))


@pytest.mark.parametrize("row", [c for c in CASES if c.values[0].name == "muon" or "use_muon" in c.values[0].kwargs])
def test_newton_schulz_in_bfloat16(row):
    # Rounded where torch rounds, all but a few steps are the same to 6e-7. In those a last digit of float32 tips the
    # rounding of the momentum, or of a sum, to the next bfloat16: an entry is off by 2**-8, and the iterations enlarge
    # that. Allowed is what an eighth of one of the 64 steps comes to; with roundings left out it is five times as much.
    compare(row, np.float32, 1 / 8 / STEPS)


def test_musgd_of_a_flax_convolution_is_that_of_torch():
    random = np.random.default_rng(0)
    kernel, gradient = random.normal(size=(2, 3, 2, 4, 5)).astype(np.float32)  # each: window, inputs, outputs
    to_torch = (3, 2, 0, 1)
    updates = []
    for k, g, outputs in (
        (kernel, gradient, "last"),
        (kernel.transpose(to_torch), gradient.transpose(to_torch), "first"),
    ):
        tx = js.optimizers.musgd(lr=0.1, momentum=0.9, use_muon=True, outputs=outputs, ns_dtype="float32")
        updates.append(tx.update({"w": g}, tx.init({"w": k}), {"w": k})[0]["w"])
    np.testing.assert_allclose(updates[0].transpose(to_torch), updates[1], atol=1e-7)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_complex_parameters_are_pairs_of_real_ones(name):
    random = np.random.default_rng(0)
    gradients = random.normal(size=(10, 3)) + 1j * random.normal(size=(10, 3))
    p = torch.tensor(gradients[0], requires_grad=True)
    kwargs = dict(lr=0.1, weight_decay=0.05, **({"momentum": 0.9} if name == "sgd" else {}))
    theirs = dict(sgd=o.SGD, adamw=o.AdamW)[name]([p], **kwargs)
    with jax.enable_x64(True):
        tx = getattr(js.optimizers, name)(**kwargs)
        params = {"w": jnp.asarray(gradients[0])}
        state = tx.init(params)
        for g in gradients:
            p.grad = torch.tensor(g)
            theirs.step()
            updates, state = tx.update({"w": jnp.asarray(g)}, state, params)
            params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["w"], p.detach().numpy(), rtol=1e-14)
