"""InternImage's constructor: the layer, the learning rate and the decay of each parameter of a toy model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

DEPTHS = [2, 1, 2, 1]  # layers 1, 2 | 3 | 4, 5 | 6, and the top is num_layers + 1 = 7
RATE, TOP = 0.5, 7
W, V = jnp.ones((2, 2)), jnp.ones(2)
PARAMS = {
    "backbone": {
        "patch_embed": {"conv1": {"kernel": W}},
        "levels": {
            "0": {
                "blocks": {"0": {"dcn": {"kernel": W}}, "1": {"dcn": {"sampling_offsets": {"kernel": W}}}},
                "downsample": {"conv": {"kernel": W}},
            },
            "1": {"blocks": {"0": {"gamma": V}}, "norm": {"0": {"scale": V}}},
            "2": {"blocks": {"1": {"mlp": {"kernel": W, "bias": V}}}, "post_norms": {"0": {"kernel": W}}},
            "3": {"blocks": {"0": {"mlp": {"kernel": W}}}, "norm": {"0": {"scale": V}}},
        },
    },
    "bbox_head": {
        "level_embeds": W,
        "reference_points": {"kernel": W},
        "attn": {"sampling_offsets": {"kernel": W}},
        "fc": {"kernel": W},
    },
}
EXPECTED = {  # layer, factor beside the layer's, and whether it decays
    "backbone/patch_embed/conv1/kernel": (0, 1, True),
    "backbone/levels/0/blocks/0/dcn/kernel": (1, 1, True),
    "backbone/levels/0/blocks/1/dcn/sampling_offsets/kernel": (2, 0.01, False),
    "backbone/levels/0/downsample/conv/kernel": (3, 1, True),
    "backbone/levels/1/blocks/0/gamma": (3, 1, False),
    "backbone/levels/1/norm/0/scale": (4, 1, False),
    "backbone/levels/2/blocks/1/mlp/kernel": (5, 1, True),
    "backbone/levels/2/blocks/1/mlp/bias": (5, 1, False),
    "backbone/levels/2/post_norms/0/kernel": (4, 1, False),
    "backbone/levels/3/blocks/0/mlp/kernel": (6, 1, True),
    "backbone/levels/3/norm/0/scale": (6, 1, False),
    "bbox_head/level_embeds": (0, 1, True),
    "bbox_head/reference_points/kernel": (TOP, 0.01, True),
    "bbox_head/attn/sampling_offsets/kernel": (TOP, 0.01, False),
    "bbox_head/fc/kernel": (TOP, 1, True),
}


def config(**options):
    return {
        "optimizer": {
            "type": "AdamW", "lr": 1e-3, "weight_decay": 0.05, "constructor": "CustomLayerDecayOptimizerConstructor",
            "paramwise_cfg": {"num_layers": 6, "layer_decay_rate": RATE, "depths": DEPTHS, **options},
        },
        "lr_config": {"policy": "step", "step": [8]},
        "total_epochs": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "small", "head"),
    [
        ({"offset_lr_scale": 0.01}, 1, None),
        ({"offset_lr_scale": 0.01, "backbone_small_lr": True}, 0.1, None),
        ({"offset_lr_scale": 0.01, "dino_head": True}, 1, 0.1),
    ],
)
def test_each_parameter(options, small, head):
    recipe = js.ports.openmmlab.recipe(config(**options), steps_per_epoch=10)
    at_start = js.curves(recipe, [0])
    labels = js.groups.labels(PARAMS, recipe.rules)
    found = {
        "/".join(key.key for key in path): {name: float(at_start[group][name][0]) for name in ("lr", "weight_decay")}
        for path, group in jax.tree.leaves_with_path(labels)
    }
    for path, (layer, factor, decays) in EXPECTED.items():
        if head and layer == TOP and factor != 1:
            factor = head
        scale = RATE ** (TOP - layer) * (small if layer < TOP else 1) * factor
        np.testing.assert_allclose(found[path]["lr"], 1e-3 * scale, rtol=1e-6, err_msg=path)
        assert found[path]["weight_decay"] == pytest.approx(0.05 if decays else 0), path
    assert set(found) == set(EXPECTED)


def test_a_warm_up_of_two_and_a_half_epochs():
    """As in Video Swin's configs; mmcv 1.7.2 takes whole epochs only, earlier releases did not mind."""
    made = config()
    del made["optimizer"]["constructor"], made["optimizer"]["paramwise_cfg"]
    made["lr_config"] = dict(
        policy="CosineAnnealing",
        min_lr=0,
        by_epoch=False,
        warmup="linear",
        warmup_by_epoch=True,
        warmup_iters=2.5,
        warmup_ratio=0.1,
    )
    lr = js.curves(js.ports.openmmlab.recipe(made, steps_per_epoch=11))["weight"]["lr"]
    i = np.arange(132)
    cosine = 0.5 * 1e-3 * (1 + np.cos(np.pi * i / 132))
    expected = cosine * np.where(i < 27.5, 1 - (1 - i / 27.5) * 0.9, 1)
    np.testing.assert_allclose(lr, expected, rtol=2e-6, atol=1e-12)
    made["lr_config"]["by_epoch"] = True
    with pytest.raises(ValueError, match="warmup_iters must come to whole iterations"):
        js.ports.openmmlab.recipe(made, steps_per_epoch=11)
