"""A schedule is a lawful pytree: its structure follows from how it was made, whatever its leaves are."""

import operator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

import jaxsched as js
from jaxsched.numerics import FieldKey

LR = js.warmup(js.cosine(0.1, 100, k=1.5), 9.5, shape="cosine")
LINE = jax.tree.map(jnp.asarray, js.linear(1.0, 0.25, 4))
STEPS = jnp.arange(8)


def is_none(value):
    return value is None


def structure(tree):
    return jax.tree.structure(tree, is_leaf=is_none)


numbers = st.floats(1e-3, 10.0)
lengths = st.one_of(st.integers(1, 10**6), st.floats(1.5, 1e4))
simple = st.one_of(
    st.builds(js.constant, numbers),
    st.builds(js.cosine, numbers, lengths, numbers, st.one_of(st.none(), numbers)),
    st.builds(js.exponential, numbers, numbers, lengths, st.booleans()),
    st.builds(js.multi_step, numbers, st.lists(st.integers(0, 99), max_size=3).map(sorted)),
    st.builds(js.table, st.lists(numbers, min_size=1, max_size=3)),
    st.builds(js.plateau, numbers, maximize=st.booleans(), until=st.one_of(st.none(), st.integers(0, 9))),
    st.builds(js.metric.greedy, numbers, window=st.one_of(st.none(), st.integers(1, 5))),
    st.just(js.from_function(operator.neg)),
)
schedules = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(js.warmup, inner, lengths, shape=st.sampled_from(["linear", "sqrt"])),
        st.builds(operator.mul, inner, numbers),
        st.builds(js.product, inner, inner, inner),
        st.builds(lambda a, b, at: js.sequential([a, b], [at]), inner, inner, st.integers(1, 99)),
        st.builds(lambda a, b, at: js.piecewise([a, b], [at]), numbers, inner, st.integers(1, 99)),
        st.builds(js.per_epoch, inner, st.integers(1, 99)),
    ),
    max_leaves=4,
)
LEAVES = [None, True, "a string", np.ones(3), 0, object()]


@settings(max_examples=60, deadline=None)
@given(schedules, st.sampled_from(LEAVES))
def test_other_leaves_keep_the_structure(schedule, leaf):
    leaves, tree = jax.tree.flatten(schedule)
    assert jax.tree.unflatten(tree, leaves) == schedule
    other = jax.tree.map(lambda _: leaf, schedule)
    assert structure(other) == structure(schedule)
    assert jax.tree.map(lambda _, x: x, other, schedule, is_leaf=is_none) == schedule
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(schedule)[0]]
    assert len(set(paths)) == len(leaves)


def test_equinox_takes_it_apart_and_together():
    arrays, rest = eqx.partition(LINE, eqx.is_array)
    assert eqx.combine(arrays, rest) == LINE
    assert jax.tree.leaves(rest) == []
    assert eqx.filter(LR, lambda leaf: isinstance(leaf, int)).arguments["schedule"].arguments["peak"] is None
    grads = eqx.filter_grad(lambda lr: lr(2))(LINE)
    assert jax.tree.structure(grads) == jax.tree.structure(eqx.filter(LINE, eqx.is_inexact_array))
    assert [float(grads.arguments[name]) for name in ("start", "end")] == [0.5, 0.5]
    batch = js.stack([LINE, LINE.replace(start=0.5)])
    assert eqx.filter_vmap(lambda lr: lr(2))(batch).tolist() == [0.625, 0.375]


class Model(eqx.Module):
    weight: jax.Array
    lr: js.Schedule


def test_an_equinox_module_holds_it():
    model = Model(jnp.ones(2), LINE)
    assert eqx.filter_jit(lambda model, step: model.weight * model.lr(step))(model, 2).tolist() == [0.625, 0.625]
    grads = eqx.filter_grad(lambda model: (model.weight * model.lr(2)).sum())(model)
    assert (grads.weight.tolist(), float(grads.lr.arguments["start"])) == ([0.625, 0.625], 1.0)


def test_a_sweep_of_the_peak_alone():
    peaks = jnp.asarray([0.1, 0.2, 0.4])
    lr = js.linear(0.1, 0.0, 10)
    axes = jax.tree_util.tree_map_with_path(lambda path, _: 0 if path[-1].name == "start" else None, lr)
    swept = jax.tree.map(lambda axis, leaf: leaf if axis is None else peaks, axes, lr, is_leaf=is_none)
    found = jax.vmap(lambda lr, step: lr(step), in_axes=(axes, None))(swept, 5)
    np.testing.assert_allclose(found, peaks / 2, rtol=1e-6)


def test_a_tree_of_shardings():
    sharding = NamedSharding(jax.make_mesh((1,), ("x",)), PartitionSpec())
    shardings = jax.tree.map(lambda _: sharding, LINE)
    assert float(jax.jit(lambda lr: lr(2), in_shardings=(shardings,))(LINE)) == 0.625


def test_optax_labels_and_masks_over_its_numbers():
    """Given as functions of the parameters: optax calls a label tree that is callable, as a schedule is."""
    lr = js.schedules.add(jnp.float32(0.5), js.constant(jnp.float32(0.25)))
    train = jax.tree_util.tree_map_with_path(lambda path, _: path[-1] == FieldKey("value"), lr)
    labels = jax.tree.map(lambda trained: "train" if trained else "keep", train)
    tx = optax.partition({"train": optax.sgd(1.0), "keep": optax.set_to_zero()}, lambda _: labels)
    masked = optax.masked(optax.set_to_zero(), lambda _: jax.tree.map(lambda trained: not trained, train))
    grads = jax.grad(lambda lr: lr(0))(lr)
    for one in (tx, optax.chain(masked, optax.sgd(1.0))):
        moved = optax.apply_updates(lr, one.update(grads, one.init(lr), lr)[0])
        assert [float(leaf) for leaf in jax.tree.leaves(moved)] == [0.5, -0.75]


def test_optimistix_fits_its_numbers_to_values():
    free, fixed = eqx.partition(LINE, eqx.is_inexact_array)
    fit = optimistix.minimise(
        lambda free, _: jnp.sum((eqx.combine(free, fixed)(STEPS) - js.linear(0.5, 0.125, 4)(STEPS)) ** 2),
        optimistix.BFGS(1e-6, 1e-6),
        free,
    )
    found = eqx.combine(fit.value, fixed).arguments
    assert [float(found[name]) for name in ("start", "end")] == pytest.approx([0.5, 0.125], abs=1e-3)


def test_jax_says_where_two_of_them_differ():
    """Its report of different structures needs keys with the attributes of its own."""
    with pytest.raises(TypeError, match=r"\.schedule\.steps"):
        jax.lax.cond(True, lambda: LR, lambda: LR.replace(schedule=js.cosine(0.1, 9.5, k=1.5)))
    recipe = js.Recipe("sgd", dict(lr=LR))
    with pytest.raises(ValueError, match=r"clip_norm|flatten-up-to"):  # older ones name no key
        jax.tree.map(lambda a, b: a, recipe, recipe.replace(clip_norm=1.0))
    with pytest.raises(ValueError, match="non-None"):
        jax.vmap(lambda lr: lr(3), in_axes=(jax.tree.map(lambda _: None, LR),))(LR)
