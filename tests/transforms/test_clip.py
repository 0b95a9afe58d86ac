"""Clipping the gradient of each parameter, against torch's formula for one array after the other."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

GRADIENTS = {"a": jnp.array([[3.0, 4.0]]), "b": jnp.array([0.3, -0.4]), "c": jnp.zeros(3), "d": jnp.array(-7.0)}


def test_each_gradient_by_its_own_norm():
    tx = js.transforms.clip_each_norm(1.0)
    clipped, _ = tx.update(GRADIENTS, tx.init(GRADIENTS))
    for name, gradient in GRADIENTS.items():
        norm = np.linalg.norm(np.asarray(gradient).ravel())
        np.testing.assert_allclose(clipped[name], np.asarray(gradient) * min(1.0, 1.0 / (norm + 1e-6)), rtol=1e-6)


def test_the_limit_may_be_a_schedule():
    tx = js.transforms.clip_each_norm(js.linear(2.0, 1.0, 2))
    state, norms = tx.init(GRADIENTS), []
    for _ in range(3):
        clipped, state = tx.update(GRADIENTS, state)
        norms.append(float(jnp.linalg.norm(clipped["a"])))
    np.testing.assert_allclose(norms, [2.0, 1.5, 1.0], rtol=1e-6)


def test_a_recipe_clips_by_value_then_each_then_all():
    recipe = js.Recipe("sgd", dict(lr=1.0), clip_value=2.0, clip_each_norm=1.0, clip_norm=0.5)
    tx = recipe.build()
    updates, _ = tx.update(GRADIENTS, tx.init(GRADIENTS), GRADIENTS)
    value = {name: np.clip(np.asarray(g, np.float64), -2, 2) for name, g in GRADIENTS.items()}
    each = {name: g * min(1, 1 / (np.linalg.norm(g.ravel()) + 1e-6)) for name, g in value.items()}
    total = np.sqrt(sum((g**2).sum() for g in each.values()))
    for name, g in each.items():
        np.testing.assert_allclose(updates[name], -g * min(1, 0.5 / (total + 1e-6)), rtol=2e-6, atol=1e-9)


def test_joined_arrays_are_refused():
    recipe = js.Recipe("sgd", dict(lr=1.0), clip_each_norm=1.0)
    with pytest.raises(ValueError, match="clip_each_norm: it needs single arrays, which flatten_groups joins"):
        recipe.build(flatten=True).init(GRADIENTS)


def test_it_is_read_from_a_chain():
    recipe = js.recipe.as_recipe(optax.chain(js.transforms.clip_each_norm(3.0), js.sgd(0.1)))
    assert recipe.clip_each_norm == 3.0
    assert next(iter(js.diff(recipe, recipe.replace(clip_each_norm=2.0)))).name == "clip_each_norm"
