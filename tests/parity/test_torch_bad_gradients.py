"""One gradient that is not finite, huge or tiny, then ordinary ones: parameters end where they do in torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

torch = pytest.importorskip("torch")
o = torch.optim

OPTIMIZERS = {
    "adadelta": (o.Adadelta, {}),
    "adafactor": (o.Adafactor, {}),
    "adagrad": (o.Adagrad, {}),
    "adam": (o.Adam, {}),
    "adamax": (o.Adamax, {}),
    "adamw": (o.AdamW, {}),
    "asgd": (o.ASGD, {}),
    "nadam": (o.NAdam, {}),
    "radam": (o.RAdam, {}),
    "rmsprop": (o.RMSprop, dict(momentum=0.9)),
    "rprop": (o.Rprop, {}),
    "sgd": (o.SGD, dict(momentum=0.9, nesterov=True)),
}
BAD = {"inf": np.inf, "-inf": -np.inf, "NaN": np.nan, "huge": 3e19, "denormal": 1e-42, "zero": 0.0}
GRADIENTS = np.random.default_rng(0).normal(size=(6, len(BAD))).astype(np.float32)
GRADIENTS[2] = list(BAD.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_bad_gradient_does_what_it_does_in_torch(name):
    """Each kind of gradient has a parameter of its own, so that one does not hide another."""
    kind, options = OPTIMIZERS[name]
    theirs = [torch.zeros(1, requires_grad=True) for _ in BAD]
    optimizer = kind(theirs, lr=0.1, **options)
    tx = getattr(js.optimizers, name)(lr=0.1, **options)
    params = {bad: jnp.zeros(1) for bad in BAD}
    state, update = tx.init(params), jax.jit(tx.update)
    for row in GRADIENTS:
        for p, gradient in zip(theirs, row, strict=True):
            p.grad = torch.tensor([gradient])
        optimizer.step()
        updates, state = update({bad: jnp.array([g]) for bad, g in zip(BAD, row, strict=True)}, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    for bad, p in zip(BAD, theirs, strict=True):
        found, expected = float(params[bad][0]), p.item()
        if (name, bad) == ("rprop", "denormal"):
            continue  # XLA takes denormal numbers as 0 on a CPU, and Rprop looks at the sign alone
        if name == "asgd" and np.isinf(expected):
            assert not np.isfinite(found), bad  # an update that decays an infinite parameter is infinite itself
            continue
        np.testing.assert_allclose(found, expected, rtol=2e-5, err_msg=bad)
