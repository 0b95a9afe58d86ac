"""L-BFGS against torch's, update by update: with and without a line search, each way that an update ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

torch = pytest.importorskip("torch")

MIX = np.random.default_rng(0).normal(size=(12, 7))
TARGET = np.random.default_rng(1).normal(size=12)


def parabola(p, xp):
    return ((p["a"].reshape(-1) - 1) ** 2 * xp.asarray([1.0, 3.0, 9.0, 0.5])).sum() + (2 * p["b"] ** 2).sum()


def logistic(p, xp):
    flat = xp.concatenate([p["a"].reshape(-1), p["b"]])
    x = xp.asarray(MIX) @ flat
    return xp.log(1 + xp.exp(-x * xp.asarray(TARGET))).mean() + 0.01 * (flat**2).sum()


def rosenbrock(p, xp):
    a = p["a"].reshape(-1)
    return ((1 - a[:-1]) ** 2 + 100 * (a[1:] - a[:-1] ** 2) ** 2).sum() + (p["b"] ** 4).sum()


START = {"a": np.array([[-1.2, 1.0], [0.8, -0.3]]), "b": np.array([0.4, -0.7, 0.2])}
WOLFE = dict(line_search_fn="strong_wolfe")
CASES = [
    (parabola, dict(lr=0.3)),
    (parabola, dict(max_iter=1, lr=0.1)),
    (parabola, dict(**WOLFE)),
    (logistic, dict(max_iter=4)),
    (logistic, dict(max_iter=3, history_size=2, lr=0.7)),
    (logistic, dict(max_iter=5, **WOLFE)),
    (logistic, dict(max_iter=5, max_eval=3, **WOLFE)),
    (logistic, dict(max_iter=50, tolerance_change=1e-4)),
    (logistic, dict(max_iter=50, tolerance_grad=1e-2, **WOLFE)),
    (rosenbrock, dict(max_iter=2, lr=1e-3, history_size=5)),
    (rosenbrock, dict(max_iter=2, max_eval=25, **WOLFE)),
    (rosenbrock, dict(max_iter=1, **WOLFE)),  # torch's max_eval is then 1: no search at all
    (rosenbrock, dict(max_iter=1, max_eval=26, lr=10.0, **WOLFE)),
]
STEPS = 8


class TorchAsNumpy:
    asarray = staticmethod(torch.tensor)
    log, exp = torch.log, torch.exp
    concatenate = staticmethod(torch.cat)


def follow_torch(f, kwargs):
    params = {k: torch.tensor(v, requires_grad=True) for k, v in START.items()}
    optimizer = torch.optim.LBFGS(list(params.values()), **kwargs)
    calls, seen = 0, []

    def closure():
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = f(params, TorchAsNumpy)
        loss.backward()
        return loss

    for _ in range(STEPS):
        loss = optimizer.step(closure)
        seen.append((float(loss.detach()), {k: p.detach().numpy().copy() for k, p in params.items()}))
    return seen, optimizer.state[params["a"]]["n_iter"]


@pytest.mark.parametrize(("f", "kwargs"), CASES)
def test_torch(f, kwargs):
    theirs, iterations = follow_torch(f, kwargs)
    with jax.enable_x64(True):
        tx = js.lbfgs(**kwargs)

        def fn(p):
            return f(p, jnp)

        @jax.jit
        def step(params, state):
            value, grad = jax.value_and_grad(fn)(params)
            updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=fn)
            return jax.tree.map(jnp.add, params, updates), state, value

        params = {k: jnp.asarray(v) for k, v in START.items()}
        state = tx.init(params)
        for value, expected in theirs:
            params, state, mine = step(params, state)
            # not the last digits: a line search divides differences of values that are nearly equal
            np.testing.assert_allclose(mine, value, rtol=1e-10, atol=1e-14)
            for k in params:
                travelled = np.abs(expected[k] - START[k]).max() or 1.0
                np.testing.assert_allclose(params[k], expected[k], atol=1e-10 * travelled, rtol=0)
    assert int(state.slots["iterations"]) == iterations


def test_its_arguments_are_asked_for():
    params = {"w": jnp.ones(2)}
    tx = js.lbfgs()
    with pytest.raises(ValueError, match="value_fn"):
        tx.update(params, tx.init(params), params)
    with pytest.raises(ValueError, match="line_search_fn must be one of None, 'strong_wolfe'"):
        js.lbfgs(line_search_fn="zoom")
    with pytest.raises(ValueError, match="max_iter must be a whole number"):
        js.lbfgs(max_iter=0)


@pytest.mark.parametrize("kwargs", [dict(lr=0.3, max_iter=4), dict(max_iter=4, **WOLFE)])
def test_complex_parameters(kwargs):
    start = {"a": np.array([[-1.2 + 0.5j, 1.0 - 2j], [0.8j, -0.3]]), "b": np.array([0.4, -0.7, 0.2])}

    def value(p, absolute):
        return (absolute(p["a"] - (1 + 2j)) ** 2).sum() + (absolute(p["a"]) ** 4).sum() + (p["b"] ** 2).sum()

    theirs = {k: torch.tensor(v, requires_grad=True) for k, v in start.items()}
    optimizer = torch.optim.LBFGS(list(theirs.values()), **kwargs)

    def closure():
        optimizer.zero_grad()
        loss = value(theirs, torch.abs)
        loss.backward()
        return loss

    def value_fn(p):
        return value(p, jnp.abs)

    with jax.enable_x64(True):
        tx, params = js.lbfgs(**kwargs), jax.tree.map(jnp.asarray, start)
        state = tx.init(params)

        @jax.jit
        def step(params, state):
            loss, grads = jax.value_and_grad(value_fn)(params)
            grads = jax.tree.map(jnp.conj, grads)
            updates, state = tx.update(grads, state, params, value=loss, grad=grads, value_fn=value_fn)
            return jax.tree.map(jnp.add, params, updates), state

        for _ in range(3):
            optimizer.step(closure)
            params, state = step(params, state)
            for key, own in theirs.items():
                np.testing.assert_allclose(params[key], own.detach().numpy(), rtol=1e-9, atol=1e-12)
