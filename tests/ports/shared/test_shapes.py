"""Schedules that ports define behave as the core's do: under jit and vmap, in gradients, far past the end, in JSON."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import detectron2, huggingface, timm
from jaxsched.ports.shared import _by_update

D2 = [
    detectron2.LinearParamScheduler(0.0, 1.0),
    detectron2.CosineParamScheduler(1.0, 0.0),
    detectron2.PolynomialDecayParamScheduler(1.0, 0.9),
    detectron2.ExponentialParamScheduler(1.0, 0.1),
]
SHARES = [1 / 3, 1 / 7, 1 / 3, 1 - 1 / 3 - 1 / 7 - 1 / 3]  # of 64 iterations: none begins at a whole one
SCHEDULES = {
    "unequal cycles": timm.CosineLRScheduler(t_initial=7, cycle_mul=1.31, cycle_limit=4, k_decay=0.7, warmup_t=3)(0.1),
    "equal cycles": timm.CosineLRScheduler(t_initial=7, cycle_decay=0.5, cycle_limit=4)(0.1),
    "tanh": timm.TanhLRScheduler(t_initial=20, warmup_t=4)(0.1),
    "poly": timm.PolyLRScheduler(t_initial=20)(0.1),
    "ending by power": timm.WSDLRScheduler(40, 20, decay_fn="power", warmup_t=4)(0.1),
    "ending by exp": timm.WSDLRScheduler(40, 20, decay_fn="exp", warmup_t=4)(0.1),
    "restarts": huggingface.get_scheduler("cosine_with_restarts", 3, 50, {"num_cycles": 3})(0.1),
    "fractions of iterations": detectron2.CompositeParamScheduler(D2, SHARES, ["rescaled"] * 4).over(64),
    "by update": _by_update.by_update(js.linear(1.0, 0.0, 50), 3, 10),
    "batches per update": _by_update.batches_to_an_update(3, 10),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_is_a_schedule_like_any_other(name):
    schedule, at = SCHEDULES[name], jnp.asarray([*range(128), 2**30, 2**31 - 1])
    eager = schedule(at)
    np.testing.assert_allclose(jax.jit(lambda s, step: s(step))(schedule, at), eager, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(lambda s: s(5)))(js.stack([schedule, schedule])), [eager[5]] * 2, rtol=1e-6
    )
    assert np.all(np.isfinite(eager))
    slopes = jax.tree.leaves(jax.jit(jax.grad(lambda s: s(9), allow_int=True))(schedule))
    assert all(np.all(np.isfinite(g)) for g in slopes if g.dtype != jax.dtypes.float0)
    recipe = js.Recipe("sgd", {"lr": schedule})
    assert js.Recipe.from_json(recipe.to_json()) == recipe
