"""Optimizers against torch's own, step by step: every option, several gradient scales, lr and momentum that change.

The same gradients go to both: noise plus a pull towards 0, so that each step depends on those before. Parameters start
at 0 (but for rules that look at their norm), so that what is compared is the distance travelled, to the last digit.
"""

import functools
import importlib.util
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

torch = pytest.importorskip("torch")

STEPS = 64
SCALES = (1.0, 1e-4, 1e-8, 1e-11)  # at the last ones epsilon is most of a denominator
VECTORS = {"a": (3, 4), "b": (5,)}
MATRICES = {"a": (4, 6), "b": (6, 3)}
LR = np.where(np.arange(STEPS) < 20, 1.0, np.where(np.arange(STEPS) < 45, 0.3, 0.7)) * (1 - np.arange(STEPS) / 200)
MOMENTUM = 0.8 + 0.15 * np.arange(STEPS) / STEPS


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


def case(name, theirs, *, lr=0.1, change=None, shapes=VECTORS, start=0.0, sparse=False, ours=None, **kwargs):
    """One row: our name, torch's class, what changes with the step beside lr, and the arguments of both."""
    label = "-".join([name, *(f"{k}={v}" for k, v in kwargs.items()), *(["changing"] if change else [])])
    row = (name, theirs, lr, change, shapes, start, sparse, ours or {}, kwargs)
    return pytest.param(row, id=label.replace(" ", ""))


o = torch.optim
DECAY = dict(weight_decay=0.05)
CASES = [
    case("sgd", o.SGD),
    case("sgd", o.SGD, momentum=0.9),
    case("sgd", o.SGD, momentum=0.9, dampening=0.3, **DECAY),
    case("sgd", o.SGD, momentum=0.9, nesterov=True, maximize=True, **DECAY),
    case("sgd", o.SGD, change="momentum", momentum=0.9, nesterov=True),
    case("adagrad", o.Adagrad),
    case("adagrad", o.Adagrad, lr_decay=0.1, initial_accumulator_value=0.01, eps=1e-3, maximize=True, **DECAY),
    case("rmsprop", o.RMSprop, lr=0.01),
    case("rmsprop", o.RMSprop, lr=0.01, centered=True, alpha=0.9, **DECAY),
    case("rmsprop", o.RMSprop, lr=0.01, change="momentum", momentum=0.9, maximize=True, **DECAY),
    case("rmsprop", o.RMSprop, lr=0.01, centered=True, momentum=0.5, eps=1e-4),
    case("adadelta", o.Adadelta, lr=1.0),
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
    case("adafactor", o.Adafactor, lr=0.05, start=0.1, eps=(1e-4, 1e-2), d=2.0, beta2_decay=-0.5, maximize=True, **DECAY),
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


def at_step(theirs, key, value, old):
    return (value, old[1]) if key == "betas" else value


def follow_torch(theirs, lr, change, shapes, start, sparse, kwargs, scale, dtype=torch.float64):
    """The parameters after each step; ``b`` is a second group with half the lr and no decay."""
    params = {name: torch.tensor(p, dtype=dtype, requires_grad=True) for name, p in starts(shapes, start).items()}
    second = {"lr": 0.5 * lr, **({"weight_decay": 0.0} if "weight_decay" in kwargs else {})}
    optimizer = theirs([{"params": [params["a"]]}, {"params": [params["b"]], **second}], lr=lr, **kwargs)
    seen = {name: [] for name in params}
    for i in range(STEPS):
        for group, factor in zip(optimizer.param_groups, (1.0, 0.5), strict=True):
            group["lr"] = lr * factor * LR[i]
            if change:
                group[change] = at_step(theirs, change, MOMENTUM[i], group[change])
        for name, (values, present) in noise(tuple(shapes.items()), sparse).items():
            p = params[name]
            p.grad = scale * (torch.tensor(values[i], dtype=dtype) + p.detach()) * torch.tensor(present[i], dtype=dtype)
            if sparse:
                rows = torch.tensor(np.flatnonzero(present[i]))
                p.grad = torch.sparse_coo_tensor(rows[None], p.grad[rows], p.shape)
        optimizer.step()
        for name, p in params.items():
            seen[name].append(p.detach().to(torch.float64).numpy().copy())
    return {name: np.stack(values) for name, values in seen.items()}


def follow_ours(name, lr, change, shapes, start, sparse, ours, kwargs, dtype):
    """The parameters after each step, for each of the scales, in one compilation."""
    kwargs = dict(kwargs)
    if change:
        kwargs[change] = at_step(None, change, js.table(MOMENTUM), kwargs.get(change, 0))
    second = {"lr": js.table(0.5 * lr * LR), **({"weight_decay": 0.0} if "weight_decay" in kwargs else {})}
    tx = getattr(js, name)(
        lr=js.table(lr * LR), **kwargs, **ours, rules=[("a", "first"), ("b", "second")], groups={"second": second}
    )
    given = {k: tuple(jnp.asarray(x, dtype) for x in v) for k, v in noise(tuple(shapes.items()), sparse).items()}

    @jax.jit
    @jax.vmap
    def run(scale):
        params = {k: jnp.asarray(p, dtype) for k, p in starts(shapes, start).items()}

        def step(carry, now):
            params, state = carry
            gradients = {k: scale * (now[k][0] + params[k]) * now[k][1] for k in params}
            updates, state = tx.update(gradients, state, params)
            params = {k: params[k] + updates[k] for k in params}
            return (params, state), params

        return jax.lax.scan(step, (params, tx.init(params)), given)[1]

    return run(jnp.asarray(SCALES, dtype))


def compare(row, dtype, tolerance):
    name, theirs, lr, change, shapes, start, sparse, ours, kwargs = row
    with jax.enable_x64(dtype == np.float64):
        mine = follow_ours(name, lr, change, shapes, start, sparse, ours, kwargs, dtype)
    for i, scale in enumerate(SCALES):
        reference = follow_torch(theirs, lr, change, shapes, start, sparse, kwargs, scale)
        for k, values in reference.items():
            travelled = np.abs(values - starts(shapes, start)[k]).max()
            assert travelled > 0
            worst = np.abs(np.asarray(mine[k][i], np.float64) - values).max() / travelled
            assert worst < tolerance, f"{k} at scale {scale}: off by {worst:.1e} of the distance travelled"


@pytest.fixture(autouse=True)
def in_float64(monkeypatch):
    """torch's scalars in float64 (ASGD's live in the default dtype), and its Newton-Schulz iterations too."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())
    yield
    torch.set_default_dtype(torch.float32)


def in_full(row, dtype):
    """The row with Newton-Schulz iterations in the parameters' precision."""
    extra = {"ns_dtype": dtype.__name__} if row[0] in ("muon", "musgd") else {}
    return (*row[:7], extra, row[8])


@pytest.mark.parametrize("row", CASES)
def test_float32(row):
    compare(in_full(row, np.float32), np.float32, 1e-5)


@pytest.mark.parametrize("row", CASES)
def test_float64(row):
    compare(in_full(row, np.float64), np.float64, 1e-12)
