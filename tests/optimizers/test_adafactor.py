"""What Adafactor has beyond torch's: big_vision's form, of which an independent one is written here with optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js


def test_a_relative_step_is_at_most_one_over_the_root_of_the_count():
    tx, params, size = js.adafactor(lr=0.6), jnp.full(3, 2.0), []
    state = tx.init(params)
    for _ in range(4):
        update, state = tx.update(jnp.ones(3), state, params)
        size.append(float(-update[0]))
    np.testing.assert_allclose(size, [1.2, 1.2, 2 / 3**0.5, 1.0], rtol=1e-6)  # 2, the rms of the parameters, times it


PARAMS = {"conv": (2, 3, 5, 4), "bias": (5,), "narrow": (9, 2), "square": (4, 4)}


def reference(gradients, cap, momentum, limit, least=3, lr=0.01):
    """The sum of the updates of one array, in float64."""
    axes = np.argsort(gradients[0].shape, kind="stable")
    factored = gradients[0].ndim > 1 and gradients[0].shape[axes[-2]] >= least
    full = rows = cols = mean = moved = 0.0
    for t, g in enumerate(gradients, 1):
        beta = min(cap, 1 - t**-0.8)
        square = g**2 + 1e-30
        if factored:
            rows = beta * rows + (1 - beta) * square.mean(axes[-1], keepdims=True)
            cols = beta * cols + (1 - beta) * square.mean(axes[-2], keepdims=True)
            full = rows * cols / rows.mean(axes[-2], keepdims=True)
        else:
            full = beta * full + (1 - beta) * square
        u = g / np.sqrt(full)
        u = u / max(1, np.sqrt((u**2).mean()) / limit)
        mean = momentum * mean + (1 - momentum) * u
        moved = moved - lr * mean
    return moved


@pytest.mark.parametrize(("cap", "momentum", "limit"), [(0.999, 0.9, None), (0.5, 0.0, 1.0)])
def test_longest_axes_a_cap_and_momentum_follow_the_formula(cap, momentum, limit):
    draw = np.random.default_rng(0)
    gradients = {name: [draw.normal(size=shape) for _ in range(8)] for name, shape in PARAMS.items()}
    options = dict(scale_parameter=False, relative_step=False, eps_in_square=True, min_dim_size_to_factor=3)
    tx = js.adafactor(lr=0.01, eps=(1e-30, 0.0), d=limit, beta2_cap=cap, momentum=momentum, **options)
    params = {name: jnp.zeros(shape) for name, shape in PARAMS.items()}
    state, update = tx.init(params), jax.jit(tx.update)
    for t in range(8):
        updates, state = update({name: jnp.asarray(g[t], jnp.float32) for name, g in gradients.items()}, state, params)
        params = optax.apply_updates(params, updates)
    for name, found in params.items():
        expected = reference(gradients[name], cap, momentum, limit or np.inf)
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max(), err_msg=name)


def test_the_limit_may_be_none_in_one_group():
    shared = dict(lr=0.1, scale_parameter=False, relative_step=False)
    tx = js.adafactor(**shared, groups={"bias": dict(d=None), "weight": dict(d=1.1)})
    params = {"kernel": jnp.zeros(4), "bias": jnp.zeros(4)}
    state, update = tx.init(params), jax.jit(tx.update)
    for gradient in (jnp.full(4, 1e-3), jnp.ones(4)):
        updates, state = update({"kernel": gradient, "bias": gradient}, state, params)
    rms = 2**0.4  # of the second gradient over the root of its average, whose new weight is 2**-0.8
    np.testing.assert_allclose(updates["bias"], -0.1 * rms * np.ones(4), rtol=1e-5)
    np.testing.assert_allclose(updates["kernel"], -0.1 * 1.1 * np.ones(4), rtol=1e-5)
