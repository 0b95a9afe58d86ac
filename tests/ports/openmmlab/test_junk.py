"""Configs with junk in them: a TypeError or ValueError that says something, or a recipe that builds."""

import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxsched.ports import openmmlab

OLD = dict(
    optimizer=dict(
        type="SGD",
        lr=0.02,
        momentum=0.9,
        weight_decay=0.0001,
        paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1, decay_mult=1.0))),
    ),
    optimizer_config=dict(type="GradientCumulativeOptimizerHook", cumulative_iters=2, grad_clip=dict(max_norm=35)),
    lr_config=dict(policy="step", step=[8, 11], warmup="linear", warmup_iters=500, warmup_ratio=0.001),
    momentum_config=dict(policy="cyclic", target_ratio=(0.85, 1), cyclic_times=1, step_ratio_up=0.4),
    runner=dict(type="EpochBasedRunner", max_epochs=12),
    custom_hooks=[dict(type="ExpMomentumEMAHook", momentum=0.0001, priority=49)],
)
NEW = dict(
    optim_wrapper=dict(
        type="OptimWrapper",
        optimizer=dict(type="AdamW", lr=0.02, betas=(0.9, 0.999), weight_decay=0.0001),
        clip_grad=dict(max_norm=35, norm_type=2),
        accumulative_counts=3,
        paramwise_cfg=dict(bias_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1, weight_decay=1.0))),
    ),
    param_scheduler=[
        dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
        dict(type="CosineAnnealingLR", begin=1, end=12, eta_min=0.001, T_max=5, convert_to_iter_based=True),
        dict(type="OneCycleLR", eta_max=0.1, begin=5, end=40, by_epoch=False, pct_start=0.3),
        dict(type="CosineRestartMomentum", periods=[3, 4], restart_weights=[1, 0.5], eta_min=0.1),
    ],
    train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=12, val_interval=1),
    auto_scale_lr=dict(enable=False, base_batch_size=16),
    custom_hooks=[dict(type="EMAHook", ema_type="ExpMomentumEMA", momentum=0.0001, begin_iter=5)],
)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 30),
    st.sampled_from([2**31, 10**12, 10**400, -(10**20)]),
    st.floats(),
    st.sampled_from(["", "1e-3", "step", "SGD", "IterBasedRunner", "ReduceOnPlateauLR", "QuadraticWarmupLR", "exp"]),
    st.lists(st.one_of(st.integers(-2, 9), st.floats(0, 1), st.text(max_size=2)), max_size=3),
    st.builds(tuple, st.lists(st.floats(0, 2), max_size=3)),
    st.dictionaries(st.sampled_from(["type", "lr", "lr_mult", "a"]), st.integers(0, 2), max_size=2),
)
KEYS = st.sampled_from(["policy", "type", "min_lr", "gamma", "by_epoch", "periods", "milestones", "betas", "x"])


def places(value, path=()):
    """All places in a config where something can be put."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*path, key)
        yield from places(child, (*path, key))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_junk_is_an_error_or_a_recipe_that_builds(data):
    config = copy.deepcopy(data.draw(st.sampled_from([OLD, NEW])))
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(list(places(config))))
        node = config
        for key in path:
            node = node[key]
        how = data.draw(st.sampled_from(["put", "drop", "add"]))
        if how == "put":
            node[last] = data.draw(JUNK)
        elif how == "drop":
            del node[last]
        elif isinstance(node, dict):
            node[data.draw(KEYS)] = data.draw(JUNK)
        if not list(places(config)):
            return
    try:
        recipe = openmmlab.recipe(config, steps_per_epoch=10, batch_size=data.draw(st.sampled_from([None, 16])))
    except (TypeError, ValueError):
        return
    recipe.build()
