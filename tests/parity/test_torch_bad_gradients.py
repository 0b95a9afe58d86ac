"""One gradient that is not finite, huge or tiny, then ordinary ones: parameters end where they do in the original."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_torch_optimizers as originals

import jaxsched as js
from jaxsched.optimizers.internal import definition_of

torch = pytest.importorskip("torch")
o = torch.optim

VECTOR, MATRIX = (1,), (2, 3)
OPTIMIZERS = {
    "adadelta": (o.Adadelta, VECTOR, {}),
    "adafactor": (o.Adafactor, VECTOR, {}),
    "adagrad": (o.Adagrad, VECTOR, {}),
    "adam": (o.Adam, VECTOR, {}),
    "adamax": (o.Adamax, VECTOR, {}),
    "adamw": (o.AdamW, VECTOR, {}),
    "asgd": (o.ASGD, VECTOR, {}),
    "lamb": (originals.lamb, MATRIX, dict(weight_decay=0.01, max_grad_norm=None)),
    "lars": (originals.lars, MATRIX, dict(momentum=0.9, weight_decay=0.01)),
    "lion": (originals.lion, VECTOR, {}),
    "muon": (o.Muon, MATRIX, {}),
    "musgd": (originals.musgd, MATRIX, dict(momentum=0.9, use_muon=True)),
    "nadam": (o.NAdam, VECTOR, {}),
    "radam": (o.RAdam, VECTOR, {}),
    "rmsprop": (o.RMSprop, VECTOR, dict(momentum=0.9)),
    "rprop": (o.Rprop, VECTOR, {}),
    "sgd": (o.SGD, VECTOR, dict(momentum=0.9, nesterov=True)),
    "sparse_adam": (o.SparseAdam, VECTOR, {}),
}
BAD = {"inf": np.inf, "-inf": -np.inf, "NaN": np.nan, "huge": 3e19, "denormal": 1e-42, "zero": 0.0}
UPDATES, AT = 6, 2


def test_every_optimizer_is_in_the_table():
    assert set(OPTIMIZERS) == {name for name in dir(js.optimizers) if definition_of(getattr(js.optimizers, name, None))}


def gradients(shape):
    """For each update and each kind of bad gradient an array; at the update ``AT`` its first entry is bad."""
    drawn = np.random.default_rng(0).normal(size=(UPDATES, len(BAD), *shape)).astype(np.float32)
    drawn[(AT, slice(None), *(0 for _ in shape))] = list(BAD.values())
    return drawn


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_bad_gradient_does_what_it_does_in_torch(name):
    """Each kind of gradient has a parameter of its own, so that one does not hide another."""
    kind, shape, options = OPTIMIZERS[name]
    start = 0.0 if shape == VECTOR else 0.1
    theirs = [torch.full(shape, start, requires_grad=True) for _ in BAD]
    optimizer = kind(theirs, lr=0.1, **options)
    more = {"ns_dtype": "bfloat16"} if name in ("muon", "musgd") else {}
    tx = getattr(js.optimizers, name)(lr=0.1, **options, **more)
    params = {bad: jnp.full(shape, start) for bad in BAD}
    state, update = tx.init(params), jax.jit(tx.update)
    for row in gradients(shape):
        for p, gradient in zip(theirs, row, strict=True):
            p.grad = torch.tensor(gradient).to_sparse() if name == "sparse_adam" else torch.tensor(gradient)
        optimizer.step()
        updates, state = update(dict(zip(BAD, map(jnp.asarray, row), strict=True)), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    for bad, p in zip(BAD, theirs, strict=True):
        found, expected = np.asarray(params[bad]), p.detach().numpy()
        if name in ("lion", "rprop", "sparse_adam") and bad == "denormal":
            continue  # XLA takes denormal numbers as 0 on a CPU; these look at the sign alone, and at what is not 0
        if name == "asgd" and np.isinf(expected).all():
            assert not np.isfinite(found).any(), bad  # an update that decays an infinite parameter is infinite itself
            continue
        # Newton-Schulz iterations run in bfloat16, each rounding of which is 4e-3.
        tolerance = dict(atol=2e-2) if name in ("muon", "musgd") else dict(rtol=2e-5)
        np.testing.assert_allclose(found, expected, err_msg=bad, **tolerance)
