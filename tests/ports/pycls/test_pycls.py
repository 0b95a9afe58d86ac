"""Configs of pycls, against its equations in float64."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import pycls

CASES = Path(__file__).parents[2] / "recorded" / "cases"

POLICIES = {
    "cos": lambda e: (1 - 0.1) * 0.5 * (1 + np.cos(np.pi * e / 20)) + 0.1,
    "lin": lambda e: (1 - 0.1) * (1 - e / 20) + 0.1,
    "exp": lambda e: 0.1 ** (e / 20),
    "steps": lambda e: 0.5 ** (sum(e >= s for s in (0, 8, 15)) - 1),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("warm", [0, 5, 2.5])
def test_every_epoch(policy, warm):
    optim = dict(LR_POLICY=policy, BASE_LR=0.8, MIN_LR=0.1, MAX_EPOCH=20, STEPS=[0, 8, 15], LR_MULT=0.5)
    recipe = pycls.recipe(dict(OPTIM={**optim, "WARMUP_EPOCHS": warm, "WARMUP_FACTOR": 0.2}), steps_per_epoch=7)
    assert recipe.steps == 140
    expected = []
    for epoch in range(20):
        alpha = min(epoch / warm, 1.0) if warm else 1.0
        expected += 7 * [0.8 * POLICIES[policy](epoch) * (0.2 * (1 - alpha) + alpha)]
    np.testing.assert_allclose(js.curves(recipe)["weight"]["lr"], expected, rtol=2e-6)
    assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_the_case():
    recipe = pycls.recipe(CASES / "pycls.yaml", images=1281167)
    assert (recipe.optimizer, recipe.steps, recipe.batch_size) == ("sgd", 100 * 1251, 1024)
    lr = js.curves(recipe, [0, 1250, 1251, 5 * 1251, 50 * 1251])["weight"]["lr"]
    warm = 0.8 * 0.5 * (1 + np.cos(np.pi / 100)) * 0.28
    np.testing.assert_allclose(lr, [0.08, 0.08, warm, 0.795075, 0.4], rtol=1e-5)


def test_decays_of_norms_and_biases():
    tree = {
        "bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)},
        "ln_1": {"scale": jnp.ones(2)},
        "fc": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    }
    optim = dict(WEIGHT_DECAY=1e-3, BIAS_USE_CUSTOM_WEIGHT_DECAY=True)
    custom = dict(USE_CUSTOM_WEIGHT_DECAY=True, CUSTOM_WEIGHT_DECAY=0.0)
    recipe = pycls.recipe(dict(OPTIM=optim, BN=custom), steps_per_epoch=3)
    labels = js.groups.labels(tree, recipe.rules)
    assert labels == {
        "bn": {"scale": "norm", "bias": "norm"},
        "ln_1": {"scale": "ln"},
        "fc": {"kernel": "weight", "bias": "bias"},
    }
    decays = {name: own["weight_decay"] for name, own in recipe.by_group().items()}
    assert decays == {"norm": 0.0, "ln": 1e-3, "bias": 0.0, "weight": 1e-3}
    assert "ln" not in pycls.recipe(dict(OPTIM=optim), steps_per_epoch=3).groups


@pytest.mark.parametrize(
    ("optim", "message"),
    [
        (dict(LR_POLICY="poly"), "LR_POLICY must be one of 'cos'"),
        (dict(LR_POLICY="exp"), "MIN_LR must be positive"),
        (dict(LR_POLICY="steps", STEPS=[3, 5]), "STEPS must ascend from 0"),
        (dict(OPTIMIZER="lion"), "OPTIMIZER must be one of"),
        (dict(WARMUP_ITERS=5), "'WARMUP_ITERS' is not known"),
        (dict(MAX_EPOCHS=5), "did you mean 'MAX_EPOCH'"),
    ],
)
def test_what_is_refused(optim, message):
    with pytest.raises(ValueError, match=message):
        pycls.recipe(dict(OPTIM=optim), steps_per_epoch=10)


def test_a_config_of_pymetric_warms_up_by_default():
    cfg = dict(OPTIM=dict(BASE_LR=0.1, MAX_EPOCH=20), MODEL=dict(HEADS=dict(NAME="LinearHead")))
    own = pycls.recipe(cfg, steps_per_epoch=3)
    assert own.notes == ("MODEL.HEADS is pymetric's, whose WARMUP_EPOCHS is 5 where a config says nothing",)
    optim = {**cfg["OPTIM"], "WARMUP_EPOCHS": 5}
    assert own.hyperparameters["lr"] == pycls.recipe(dict(OPTIM=optim), steps_per_epoch=3).hyperparameters["lr"]
    assert own.hyperparameters["lr"] != pycls.recipe(dict(OPTIM=cfg["OPTIM"]), steps_per_epoch=3).hyperparameters["lr"]
