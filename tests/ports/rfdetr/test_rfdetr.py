"""Arguments of RF-DETR's train: its schedule and the groups of its parameters, written again."""

import json
import math

import numpy as np
import pytest

import jaxsched as js
from jaxsched.cli._source import recognise
from jaxsched.ports import rfdetr
from jaxsched.ports.shared import File

NAMES_TEXT = """
    backbone/0/encoder/encoder/embeddings/cls_token backbone/0/encoder/encoder/embeddings/patch_embeddings/kernel
    backbone/0/encoder/encoder/encoder/layer/0/attention/query/kernel
    backbone/0/encoder/encoder/encoder/layer/0/norm1/scale
    backbone/0/encoder/encoder/encoder/layer/1/mlp/fc1/bias backbone/0/encoder/encoder/encoder/layer/11/mlp/fc1/kernel
    backbone/0/encoder/encoder/encoder/layer/11/layer_scale1/lambda1 backbone/0/encoder/encoder/layernorm/scale
    backbone/0/projector/stages/0/kernel transformer/decoder/layers/0/norm1/bias transformer/enc_output/kernel
    class_embed/bias
"""
NAMES = NAMES_TEXT.split()
BASE = {"epochs": 3, "batch_size": 2, "grad_accum_steps": 2}


def lr_and_decay(name, layers, lr=1e-4, encoder=1.5e-4, layer_decay=0.8, component=0.7, decay=1e-4):
    """The rules of get_param_dict and get_named_param_lr_pairs."""
    if "backbone/0/encoder" in name:
        layer = layers + 1
        if "embeddings" in name:
            layer = 0
        elif "/layer/" in name:
            layer = int(name.split("/layer/")[1].split("/")[0]) + 1
        bare = any(word in name for word in ("gamma", "pos_embed", "rel_pos", "bias", "norm", "embeddings"))
        return encoder * layer_decay ** (layers + 1 - layer) * component**2, 0.0 if bare else decay
    return (lr * component if "transformer/decoder" in name else lr), decay


@pytest.mark.parametrize(("model", "layers"), [("base", 12), ("nano", 13)])
def test_each_parameter_has_its_lr_and_decay(model, layers):
    made = rfdetr.recipe(BASE, images=40, model=model)
    by_group, params = made.by_group(), dict.fromkeys(NAMES, 1.0)
    rates = js.curves(made, [0])
    for name, group in zip(sorted(NAMES), js.groups.grouped(params, made.rules).groups, strict=True):
        lr, decay = lr_and_decay(name, layers)
        np.testing.assert_allclose(rates[group]["lr"][0], lr, rtol=1e-6, err_msg=name)
        assert by_group[group]["weight_decay"] == decay, name


def multiplier(step, length, epochs, warm, scheduler="step", drop=100, least=0.0):
    """The lambda of main.py."""
    if step < length * warm:
        return step / max(1, length * warm)
    if scheduler == "step":
        return 1.0 if step < drop * length else 0.1
    progress = (step - length * warm) / max(1, length * (epochs - warm))
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * progress))


@pytest.mark.parametrize(
    ("images", "world", "options"),
    [
        (43, 1, dict(lr_drop=2, warmup_epochs=0.5, world_size=1)),
        (43, 2, dict(lr_scheduler="cosine", lr_min_factor=0.1, warmup_epochs=1)),
        (10, 1, dict(lr_scheduler="cosine")),  # five batches to an epoch, and a schedule of three
    ],
)
def test_the_schedule_counts_the_updates_that_its_own_length_gives(images, world, options, tmp_path):
    made = rfdetr.recipe({**BASE, **options}, images=images, world_size=world, model="base")
    nb = 5 if images < 20 else -(-images // world) // 4
    assert (made.steps_per_epoch, made.steps, made.batch_size) == (nb, 3 * nb, 4 * world)
    settings = dict(warm=options.get("warmup_epochs", 0), scheduler=options.get("lr_scheduler", "step"))
    settings |= dict(drop=options.get("lr_drop", 100), least=options.get("lr_min_factor", 0.0))
    expected = [1e-4 * multiplier(step, -(-images // (4 * world)), 3, **settings) for step in range(3 * nb + 1)]
    np.testing.assert_allclose(js.curves(made)["other"]["lr"], expected[:-1], rtol=2e-6, atol=1e-4 * 2.0**-24)
    rows = [{"train_lr": float(np.mean(expected[e * nb + 1 : e * nb + nb + 1])), "epoch": e} for e in range(3)]
    (tmp_path / "log.txt").write_text("\n".join(map(json.dumps, rows)))
    verdict = js.verify(made, tmp_path / "log.txt")
    assert verdict.ok, verdict
    assert js.Recipe.from_json(made.to_json()) == made


def test_the_average_and_what_is_frozen():
    made = rfdetr.recipe({**BASE, "freeze_encoder": True, "clip_max_norm": 0}, images=40)
    np.testing.assert_allclose(made.ema(99), 0.993 * (1 - math.exp(-1)), rtol=1e-6)
    assert made.groups["encoder_0_below_decay"] is None
    assert made.clip_norm is None
    assert rfdetr.recipe({**BASE, "ema_tau": 0}, images=40, model="seg").ema == 0.993
    assert rfdetr.recipe({**BASE, "use_ema": False}, images=40, model="seg").ema is None
    lora = rfdetr.recipe({**BASE, "backbone_lora": True}, images=40, model="seg")
    assert any("backbone_lora: only adapters" in note for note in lora.notes)


def test_it_is_recognised(tmp_path):
    path = tmp_path / "config.yaml"  # as Weights & Biases saves it
    path.write_text("wandb_version: 1\nlr_encoder: {value: 1.0e-4}\ngrad_accum_steps: {value: 2}\nepochs: {value: 7}\n")
    assert recognise(File.read(path)).name == "rfdetr"
    assert rfdetr.recipe(path, images=80, model="small").steps == 7 * 10


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ({}, {}, "args: the length of its schedule follows from the images; give images="),
        ({}, dict(images=40), "args: its learning rates depend on the layers of the encoder .* give model="),
        ({}, dict(images=40, model="huge"), "model must be one of base, large_deprecated, nano.* got 'huge'"),
        (dict(lr="fast"), dict(images=40, model="base"), "args: lr must be a number, got the string 'fast'"),
        (dict(lr_scheduler="poly"), dict(images=40, model="base"), "lr_scheduler must be one of 'step', 'cosine'"),
        (dict(lr_head=1), dict(images=40, model="base"), "'lr_head' is not known, and its name says that it changes"),
        (dict(batch_size=64), dict(images=4000, world_size=99, model="base"), "larger than the share of a process"),
        (
            dict(lr_scheduler="cosine", warmup_epochs=0.3),
            dict(images=100, model="base"),
            "warmup_epochs must be a whole number of updates with cosine, got 2.1",
        ),
    ],
)
def test_bad_values_are_named(args, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        rfdetr.recipe(args, **options)
