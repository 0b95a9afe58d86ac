"""torch's own table of optimizers and their arguments, each run beside torch."""

import sys
import types
import unittest

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

torch = pytest.importorskip("torch")

START = np.array([[0.7, -0.2, 0.4], [-0.5, 0.3, 0.9]])
NOISE = np.random.default_rng(0).normal(size=(3, 2, 3))
NAMES = {"SparseAdam": "sparse_adam"}
# torch keeps scalars of the first three in float32; Muon's matrices are bfloat16, with a few roundings of 2**-8
TOLERANCES = {"ASGD": 2.0**-23, "NAdam": 2.0**-23, "SparseAdam": 2.0**-23, "Muon": 4e-2}


@pytest.fixture(scope="module")
def table():
    """By name of the class the arguments of each of torch's test inputs."""
    absent = "expecttest" not in sys.modules
    if absent:  # torch's test utilities import it; nothing of it is used
        sys.modules["expecttest"] = types.ModuleType("expecttest")
        sys.modules["expecttest"].TestCase = unittest.TestCase
    try:
        from torch.testing._internal.common_optimizers import optim_db

        # its import freezes the flags of torch's backends, which Ultralytics' trainer sets in another test
        torch.backends.disable_global_flags.__globals__["__allow_nonbracketed_mutation_flag"] = True
    finally:
        if absent:
            del sys.modules["expecttest"]
    return {
        info.optim_cls.__name__: (info.optim_cls, [one.kwargs for one in info.optim_inputs_func(device="cpu")])
        for info in optim_db
    }


def follow_torch(make, kwargs):
    param = torch.tensor(START, requires_grad=True)
    optimizer = make([param], **kwargs)
    for noise in NOISE:

        def closure(noise=noise):
            loss = (torch.tensor(noise) * param).sum() + 0.5 * (param**2).sum()
            (grad,) = torch.autograd.grad(loss, [param])
            param.grad = grad.to_sparse() if make is torch.optim.SparseAdam else grad
            return loss

        optimizer.step(closure)
    return param.detach().numpy()


def follow(tx):
    def step(carry, noise):
        param, state = carry

        def value_fn(p):
            return (noise * p).sum() + 0.5 * (p**2).sum()

        value, grad = jax.value_and_grad(value_fn)(param)
        updates, state = tx.update(grad, state, param, value=value, grad=grad, value_fn=value_fn)
        return (optax.apply_updates(param, updates), state), None

    start = jnp.asarray(START)
    return jax.lax.scan(step, (start, tx.init(start)), NOISE)[0][0]


CLASSES = [
    "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "LBFGS", "Muon", "NAdam", "RAdam", "RMSprop",
    "Rprop", "SGD", "SparseAdam",
]  # fmt: skip


def test_the_table_is_this(table):
    assert sorted(table) == sorted(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_each_input_of_the_table(table, name):
    make, inputs = table[name]
    assert len(inputs) > 3
    own = [{key: x.item() if isinstance(x, torch.Tensor) else x for key, x in kwargs.items()} for kwargs in inputs]
    optimizer = getattr(js, NAMES.get(name, name.lower()))
    with jax.enable_x64(True):
        mine = jax.device_get(jax.jit(lambda: [follow(optimizer(**kwargs)) for kwargs in own])())
    for kwargs, one in zip(inputs, mine, strict=True):
        theirs = follow_torch(make, kwargs)
        moved = np.abs(theirs - START).max()
        assert moved > 0
        distances = [(end - START) / moved for end in (one, theirs)]
        np.testing.assert_allclose(*distances, rtol=0, atol=TOLERANCES.get(name, 1e-9), err_msg=f"{kwargs}")
