"""Every optimizer of optax in `grouped`: the run is that of optax, and what optax's own tests ask of it holds."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import jaxsched as js
from jaxsched.optimizers.internal import definition_of_factory, optax_factory

PARAMS = {"kernel": jnp.array([[-1.0, 1.0, 0.4], [0.5, 2.0, -0.7]]), "bias": jnp.array([0.3, -0.2])}
RULES = [("**", "all")]  # some look at all parameters together
NAMES = [
    f"{package}.{name}"
    for package, module in (("optax", optax), ("optax.contrib", optax.contrib))
    for name in sorted(vars(module))
    if optax_factory(f"{package}.{name}")
]
OTHERS = {
    "optax.adafactor": dict(min_dim_size_to_factor=2),
    "optax.noisy_sgd": dict(key=0),
    "optax.polyak_sgd": dict(max_learning_rate=0.1),
    "optax.contrib.dpsgd": dict(l2_norm_clip=1.0, noise_multiplier=0.0, seed=0),
    "optax.contrib.schedule_free": dict(base_optimizer=optax.sgd(0.1), learning_rate=0.1),
}
PER_EXAMPLE = ("optax.contrib.dpsgd",)  # gradients have a leading axis


def loss(params):
    return sum(jnp.sum(jnp.square(p - 0.5)) for p in jax.tree.leaves(params))


def follow(tx, params, name):
    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        extra = dict(obj_fn=loss) if "sophia" in name else dict(value=value, grad=grads, value_fn=loss)
        given = jax.tree.map(lambda g: g[None], grads) if name in PER_EXAMPLE else grads
        updates, state = tx.update(given, state, params, **extra)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optax.with_extra_args_support(tx).init(params)), length=2)[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_run_is_that_of_optax(name):
    factory, arguments = optax_factory(name), OTHERS.get(name, {})
    if "learning_rate" in definition_of_factory(factory).arguments:
        arguments = {"learning_rate": 0.1, **arguments}
    own = js.optimizers.grouped(factory, **arguments, rules=RULES)
    plain = optax.with_extra_args_support(factory(**arguments))
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)

    @jax.jit
    def run():
        return follow(own, PARAMS, name), follow(plain, PARAMS, name)[0]

    (mine, state), theirs = run()
    chex.assert_trees_all_close(mine, theirs, rtol=1e-6)
    chex.assert_tree_all_finite(mine)
    assert any(jnp.any(mine[key] != PARAMS[key]) for key in PARAMS)
    assert int(state.count) == 2
    updates = jax.eval_shape(lambda: follow(own, half, name)[0])  # which keep the dtype through a scan
    chex.assert_trees_all_equal_dtypes(updates, half)
