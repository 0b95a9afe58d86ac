"""Whatever stands in a source's settings, a port gives a Recipe that builds, or an error that a user can read."""

import jax.numpy as jnp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxsched as js
from jaxsched.ports import darknet, deepspeed, detectron2, huggingface, tfod, timm, torch, ultralytics, yolox

PARAMS = {"conv": {"kernel": jnp.ones((1, 1, 2, 2)), "bias": jnp.ones(2)}, "bn": {"scale": jnp.ones(2)}}
SECTIONS = ["train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"]
PARAMS = ["lr", "betas", "eps", "weight_decay", "adam_w_mode", "torch_adam", "momentum"]
CYCLE = ["cycle_min_lr", "cycle_max_lr", "cycle_first_step_size", "cycle_first_stair_count", "decay_step_size"]


def deepspeed_config(args):
    """The arguments, each in the section that it belongs to."""
    parts = [{key: value for key, value in args.items() if key in names} for names in (SECTIONS, PARAMS, CYCLE)]
    scheduler = dict(type="OneCycle", params={"cycle_min_lr": 0.1, "cycle_max_lr": 0.2, **parts[2]})
    return {"train_batch_size": 8, **parts[0], "optimizer": dict(type="Adam", params=parts[1]), "scheduler": scheduler}


TRAINER = ["max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"]
SCHEDULER = ["schedulers", "milestones", "interval", "frequency"]


def lightning_config(args):
    """The arguments, each in the section that it belongs to."""
    parts = [{key: value for key, value in args.items() if key in names} for names in (TRAINER, PARAMS, SCHEDULER)]
    warm = {"_target_": "torch.optim.lr_scheduler.LinearLR"}
    scheduler = {"_target_": "torch.optim.lr_scheduler.SequentialLR", "schedulers": [warm], "milestones": []}
    optimizer = {"_target_": "torch.optim.AdamW", **parts[1]}
    return {"trainer": parts[0], "optimizer": optimizer, "lr_scheduler": {**scheduler, **parts[2]}}


PIPELINE = ["num_steps", "batch_size", "gradient_clipping_by_norm", "freeze_variables", "update_trainable_variables"]
RATE = ["initial_learning_rate", "schedule", "warmup"]


def pipeline(args):
    """The arguments, each in the message that it belongs to; the others in the optimizer."""
    train, rate = ({key: value for key, value in args.items() if key in names} for names in (PIPELINE, RATE))
    rest = {key: value for key, value in args.items() if key not in PIPELINE + RATE}
    rate = {"manual_step_learning_rate": {"schedule": {"step": 9}, **rate}}
    return {"train_config": {"num_steps": 9, "optimizer": {"adam_optimizer": {"learning_rate": rate, **rest}}, **train}}


PORTS = {
    "darknet": (
        {**darknet.DEFAULTS, "steps": "", "scales": ""},
        lambda args: darknet.recipe({"max_batches": 9, **args}),
    ),
    "torch": (
        TRAINER + PARAMS + SCHEDULER,
        lambda args: torch.read(lightning_config(args), steps_per_epoch=7, epochs=3),
    ),
    "deepspeed": (SECTIONS + PARAMS + CYCLE, lambda args: deepspeed.recipe(deepspeed_config(args), steps=70)),
    "detectron2": (detectron2.DEFAULTS, detectron2.recipe),
    "huggingface": (huggingface.DEFAULTS, lambda args: huggingface.recipe(args, steps_per_epoch=7)),
    "tfod": (PIPELINE + RATE + ["epsilon", "momentum"], lambda args: tfod.recipe(pipeline(args), steps=7)),
    "timm": (timm.DEFAULTS, lambda args: timm.recipe(args, steps_per_epoch=7, layers=["conv/**", "bn/**"])),
    "yolox": (yolox.DEFAULTS, lambda args: yolox.recipe(args, batch_size=8, steps_per_epoch=7)),
    "ultralytics": (
        ultralytics.DEFAULTS,
        lambda args: ultralytics.recipe(args, steps_per_epoch=7, images=100, classes=2, outputs="last"),
    ),
}
TEXT = """SGD adamw lamb auto cosine wsd rsqrt plateau poly multistep constant linear polynomial warmup_stable_decay
WarmupCosineLR norm value 1e-3 (3,5) __import__('os') nan"""
WORDS = st.sampled_from(TEXT.split())
NUMBERS = st.sampled_from([0, 1, 2, 3, 7, 100, -1, 0.5, 1e-9, 1e308, 10**30, float("inf"), float("nan"), 1.5, 2**31])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.sampled_from(["ENABLED"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("port", PORTS)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_junk_is_an_error_or_a_recipe(port, data):
    defaults, read = PORTS[port]
    names = st.sampled_from(sorted(defaults))
    args = data.draw(st.dictionaries(names, VALUES, max_size=3))
    try:
        recipe = read(args)
    except (ValueError, TypeError):
        return
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    recipe.build()
    assert recipe.steps >= 1
