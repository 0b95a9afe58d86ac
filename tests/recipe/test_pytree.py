"""A recipe is a lawful pytree: its structure follows from how it was made, whatever its leaves are."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxsched as js
from jaxsched.ports import torch

LEAVES = [None, True, "a string", np.ones(3), 0, object()]
lrs = st.sampled_from(
    [0.1, js.cosine(0.1, 100), js.warmup(js.step_decay(0.1, 9.5), 10, shape="sqrt"), optax.linear_schedule(1.0, 0.0, 9)]
)
sgd = st.fixed_dictionaries(
    dict(lr=lrs), optional=dict(momentum=st.sampled_from([0.5, js.linear(0.8, 0.9, 10)]), nesterov=st.booleans())
)
adamw = st.fixed_dictionaries(
    dict(lr=lrs), optional=dict(betas=st.just([0.9, js.constant(0.99)]), amsgrad=st.booleans())
)
prodigy = st.fixed_dictionaries(
    dict(learning_rate=lrs), optional=dict(betas=st.just([0.9, js.constant(0.99)]), safeguard_warmup=st.booleans())
)
overrides = st.one_of(st.none(), st.fixed_dictionaries(dict(lr=lrs), optional=dict(maximize=st.booleans())))
fields = st.fixed_dictionaries(
    {},
    optional=dict(
        groups=st.dictionaries(st.sampled_from(["bias", "norm"]), overrides),
        clip_norm=st.one_of(st.none(), st.just(1.0), st.just(js.constant(2.0))),
        accumulate=st.builds(js.Accumulation, st.integers(1, 4), st.booleans()),
        ema=st.just(0.99),
        steps=st.integers(1, 100),
        notes=st.just(("a note",)),
    ),
)
recipes = st.one_of(
    st.builds(lambda a, f: js.Recipe("sgd", a, **f), sgd, fields),
    st.builds(lambda a, f: js.Recipe("adamw", a, **f), adamw, fields),
    st.builds(lambda a, f: js.Recipe("optax.contrib.prodigy", a, **{**f, "groups": {"norm": None}}), prodigy, fields),
)


def is_none(value):
    return value is None


def structure(tree):
    return jax.tree.structure(tree, is_leaf=is_none)


@settings(max_examples=60, deadline=None)
@given(recipes, st.sampled_from(LEAVES))
def test_other_leaves_keep_the_structure(recipe, leaf):
    leaves, tree = jax.tree.flatten(recipe)
    assert jax.tree.unflatten(tree, leaves) == recipe
    other = jax.tree.map(lambda _: leaf, recipe)
    assert structure(other) == structure(recipe)
    assert jax.tree.map(lambda _, x: x, other, recipe, is_leaf=is_none) == recipe


def test_it_goes_through_jit_and_builds_the_same_run():
    lr = js.linear(0.1, 0.0, 9.5)
    groups = {"bias": None, "weight": dict(nesterov=False, lr=optax.constant_schedule(0.2))}
    recipe = js.Recipe("sgd", dict(lr=lr, momentum=0.9, nesterov=True), groups, clip_norm=optax.constant_schedule(1.0))
    again = jax.jit(lambda recipe: recipe)(recipe)
    assert structure(again) == structure(recipe)
    params = {"kernel": jnp.ones(2), "bias": jnp.ones(1)}
    moved = []
    for one in (recipe, again):
        tx = one.build()
        moved.append(tx.update(params, tx.init(params), params)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *moved)


def test_a_sweep_of_one_number_by_an_in_axes_tree():
    recipe = js.Recipe("sgd", dict(lr=js.cosine(0.1, 10), momentum=0.9))
    swept = recipe.replace(hyperparameters={**recipe.hyperparameters, "momentum": jnp.asarray([0.5, 0.9])})
    axes = jax.tree_util.tree_map_with_path(
        lambda path, _: 0 if jax.tree_util.keystr(path).endswith("['momentum']") else None, recipe
    )
    found = jax.vmap(lambda recipe: recipe.hyperparameters["momentum"] * 2, in_axes=(axes,))(swept)
    assert found.tolist() == pytest.approx([1.0, 1.8])


def test_a_scheduler_that_was_not_called_is_an_error_where_the_recipe_is_made():
    with pytest.raises(TypeError, match=r"lr must be a schedule, and this makes one, .*StepLR\(30\)\(0.1\)"):
        js.Recipe("sgd", dict(lr=torch.StepLR(30)))
    with pytest.raises(TypeError, match="lr is a stateful schedule"):
        js.Recipe("sgd", dict(lr=Stateful()))
    with pytest.raises(ValueError, match=r"lr must give one number for a step, but gives an array of shape \(2,\)"):
        js.Recipe("sgd", dict(lr=lambda step: jnp.ones(2)))


class Stateful(optax.schedules.StatefulSchedule):
    """Optax's protocol, which asks for a state where a step is given."""
