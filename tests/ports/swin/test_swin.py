"""Configs of Swin-Transformer, against its loop and schedulers written again from their equations in float64."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxsched as js
from jaxsched.cli._app import app
from jaxsched.cli._source import recognise
from jaxsched.ports import swin
from jaxsched.ports.shared import File

CASES = Path(__file__).parents[2] / "recorded" / "cases"
LARGE = dict(DATA=dict(BATCH_SIZE=64))


def by_update(kind, t, train):
    """The lr of update number ``t``; lengths are in updates."""
    peak, start, floor, warm, total = (train[name] for name in ("peak", "start", "floor", "warm", "total"))
    if t < warm:
        return start + t * (peak - start) / warm
    if kind == "prefix":
        t, total = t - warm, total - warm
    if kind in ("cosine", "prefix"):
        return floor + 0.5 * (peak - floor) * (1 + np.cos(np.pi * t / total)) if t < total else floor
    if kind == "linear":
        return peak - peak * 0.99 * (t - warm) / (total - warm)
    if kind == "step":
        return peak * 0.5 ** (t // train["decay"])
    return peak * 0.1 ** sum(t >= milestone for milestone in train["milestones"])


def in_the_loop(kind, train, epochs, nb, every):
    """The lr at each batch, as main.py sets it: after an update, by the number of the batch."""
    lr, seen = by_update(kind, 0, train), []
    for epoch in range(epochs):
        for batch in range(nb):
            seen.append(lr)
            if (batch + 1) % every == 0:
                lr = by_update(kind, (epoch * nb + batch) // every, train)
    return np.array(seen)


KINDS = {
    "prefix": dict(NAME="cosine", WARMUP_PREFIX=True),
    "cosine": dict(NAME="cosine", WARMUP_PREFIX=False),
    "linear": dict(NAME="linear"),
    "step": dict(NAME="step", DECAY_EPOCHS=2.5, DECAY_RATE=0.5),
    "multistep": dict(NAME="multistep", MULTISTEPS=[3, 5]),
}


@pytest.mark.parametrize(("kind", "every"), [(k, n) for k in KINDS for n in (1, 3, 4) if (k, n) != ("linear", 4)])
def test_every_batch(kind, every):
    epochs, nb = 6, 12 if every != 4 else 14  # 14 batches are no multiple of 4: two of each epoch are dropped
    updates = nb // every
    scale = 64 * 2 * every / 512
    settings = dict(EPOCHS=epochs, WARMUP_EPOCHS=2, BASE_LR=4e-3, WARMUP_LR=1e-4, MIN_LR=2e-4, ACCUMULATION_STEPS=every)
    recipe = swin.recipe(
        {**LARGE, "TRAIN": {**settings, "LR_SCHEDULER": KINDS[kind]}}, steps_per_epoch=nb, world_size=2
    )
    train = dict(peak=4e-3 * scale, start=1e-4 * scale, floor=2e-4 * scale, warm=2 * updates, total=epochs * updates)
    train |= dict(decay=int(2.5 * updates), milestones=[3 * updates, 5 * updates])
    expected = in_the_loop(kind, train, epochs, nb, every)
    np.testing.assert_allclose(js.curves(recipe)["decay"]["lr"], expected, rtol=3e-6)
    due = np.flatnonzero(js.report.update_steps(recipe))
    assert due.tolist() == [s for s in range(epochs * nb) if (s % nb + 1) % every == 0]
    assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_the_case():
    recipe = swin.recipe(CASES / "swin.yaml", steps_per_epoch=1251, world_size=8)
    assert (recipe.optimizer, recipe.steps, recipe.batch_size, recipe.clip_norm) == ("adamw", 300 * 1251, 1024, 5.0)
    lr = js.curves(recipe, [0, 1, 10 * 1251 + 1, 20 * 1251 + 1, 160 * 1251 + 1])["decay"]["lr"]
    np.testing.assert_allclose(lr, [1e-6, 1e-6, 5.005e-4, 1e-3, 5.05e-4], rtol=1e-5)
    (note,) = recipe.notes
    assert note.startswith("caution version-open: ")
    assert "read as True, which it is since 2022; before, the cosine's clock ran during warm-up" in note


def test_which_parameters_decay():
    tree = {
        "embed": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        "absolute_pos_embed": jnp.ones((1, 4, 2)),
        "block": {"attn": {"relative_position_bias_table": jnp.ones((9, 3)), "logit_scale": jnp.ones((3, 1, 1))}},
        "norm": {"scale": jnp.ones(2), "bias": jnp.ones(2)},
    }

    def undecayed(kind):
        recipe = swin.recipe(dict(MODEL=dict(TYPE=kind)), steps_per_epoch=10)
        labels = js.groups.labels(tree, recipe.rules)
        return labels["block"]["attn"], labels["embed"]["kernel"], labels["embed"]["bias"], labels["absolute_pos_embed"]

    table = {"relative_position_bias_table": "no_decay"}
    assert undecayed("swin") == ({**table, "logit_scale": "decay"}, "decay", "no_decay", "no_decay")
    assert undecayed("swinv2")[0] == {**table, "logit_scale": "no_decay"}


def test_a_config_that_says_its_model_alone(tmp_path):
    """As the 14 configs of Swin-Transformer that leave TRAIN to its defaults."""
    (tmp_path / "a.yaml").write_text("MODEL: {TYPE: swin, NAME: a, SWIN: {EMBED_DIM: 128, DEPTHS: [2, 2, 18, 2]}}\n")
    assert recognise(File.read(tmp_path / "a.yaml")).name == "swin"
    assert swin.recipe(tmp_path / "a.yaml", steps_per_epoch=10).steps == 3000


def simmims_layer(name, depths):
    """The layer by a parameter's name, by SimMIM's rules for Swin (``depths`` a list) and ViT (a number)."""
    words = name.split("/")
    total = sum(depths) if isinstance(depths, list) else depths
    if words[0] == "patch_embed" or name in ("mask_token", "cls_token", "pos_embed"):
        return 0
    if words[0] == "blocks":
        return int(words[1]) + 1
    if words[0] != "layers":
        return total + 1
    stage = int(words[1])
    return sum(depths[: stage + 1]) if words[2] == "downsample" else sum(depths[:stage]) + int(words[3]) + 1


@pytest.mark.parametrize("kind", ["swin", "swinv2", "vit"])
def test_layer_decay_is_that_of_simmims_finetuning(kind):
    nb, depths = 4, 3 if kind == "vit" else [1, 2]
    names = ["blocks/0", "blocks/2"] if kind == "vit" else ["layers/0/blocks/0", "layers/1/blocks/1"]
    names = ["patch_embed/proj", *(f"{block}/attn/qkv" for block in names), "head"]
    names += ["layers/0/downsample/reduction"] if kind != "vit" else []
    tree, vectors = {}, ["norm/scale", "patch_embed/norm/scale"]
    for path in [f"{name}/{leaf}" for name in names for leaf in ("kernel", "bias")] + vectors:
        *way, leaf = path.split("/")
        inner = tree
        for word in way:
            inner = inner.setdefault(word, {})
        inner[leaf] = jnp.ones((2, 2) if leaf == "kernel" else 2)
    model = {"TYPE": kind, kind.upper(): {"DEPTH" if kind == "vit" else "DEPTHS": depths}}
    train = dict(EPOCHS=5, WARMUP_EPOCHS=2, BASE_LR=1e-3, WARMUP_LR=1e-5, MIN_LR=1e-6, LAYER_DECAY=0.65)
    recipe = swin.recipe(dict(MODEL=model, TRAIN=train, DATA=dict(BATCH_SIZE=512)), steps_per_epoch=nb)
    assert "LAYER_DECAY is read as main_simmim_ft.py does; main.py and pre-training ignore it" in recipe.notes
    assert any("version-open" in note for note in recipe.notes) == (kind != "vit")  # SimMIM's own code alone has ViTs
    labels = js.groups.labels(tree, recipe.rules)
    curves, decays = js.curves(recipe), recipe.by_group()
    for path in [f"{name}/{leaf}" for name in names for leaf in ("kernel", "bias")] + vectors:
        group = labels
        for word in path.split("/"):
            group = group[word]
        layer, top = simmims_layer(path, depths), 4
        decays_not = not path.endswith("kernel")
        assert group == f"layer_{layer}_{'no_decay' if decays_not else 'decay'}"
        assert decays[group]["weight_decay"] == (0.0 if decays_not else 0.05)
        peak = 1e-3 * 0.65 ** (top - layer)
        settings = dict(peak=peak, start=1e-5, floor=1e-6, warm=2 * nb, total=5 * nb)
        expected = in_the_loop("cosine" if kind == "vit" else "prefix", settings, 5, nb, 1)
        np.testing.assert_allclose(curves[group]["lr"], expected, rtol=3e-6)
    other = {"stages_0": {"kernel": jnp.ones((2, 2))}}
    with pytest.raises(ValueError, match=r"'(layers/0/blocks|blocks)/0/"):
        js.groups.labels(other, recipe.rules)
    with pytest.raises(ValueError, match="TYPE must be swin, swinv2 or vit, got 'swin_mlp'"):
        swin.recipe(dict(MODEL=dict(TYPE="swin_mlp"), TRAIN=dict(LAYER_DECAY=0.9)), steps_per_epoch=9)


def test_models_of_other_repositories_have_no_defaults():
    """FocalNet's and MetaFormer's code is Swin-Transformer's with another BASE_LR, WARMUP_EPOCHS and MIN_LR."""
    train = dict(EPOCHS=5, WARMUP_EPOCHS=2, BASE_LR=1e-3, WARMUP_LR=1e-5, MIN_LR=1e-6, WEIGHT_DECAY=0.1)
    cfg = dict(MODEL=dict(TYPE="focal"), DATA=dict(BATCH_SIZE=512), TRAIN=train)
    recipe = swin.recipe(cfg, steps_per_epoch=4)
    assert recipe.notes[0].startswith("caution other-model: cfg: MODEL.TYPE 'focal' is not of Swin-Transformer")
    for name in train:
        lacking = {**cfg, "TRAIN": {k: v for k, v in train.items() if k != name}}
        with pytest.raises(ValueError, match=f"TRAIN .*focal.*: '{name}' is missing"):
            swin.recipe(lacking, steps_per_epoch=4)
    with pytest.raises(
        ValueError, match=r"DATA \(of MODEL.TYPE 'focal', whose defaults are not known\): 'BATCH_SIZE' is missing"
    ):
        swin.recipe({**cfg, "DATA": {}}, steps_per_epoch=4)
    assert swin.recipe({**cfg, "DATA": {}}, steps_per_epoch=4, batch_size=512).batch_size == 512


def test_strings_are_what_they_spell_as_in_yacs():
    train = dict(CLIP_GRAD="None", OPTIMIZER=dict(BETAS="(0.9, 0.95)"), BASE_LR="1e-3")
    recipe = swin.recipe(dict(TRAIN=train), steps_per_epoch=9)
    assert (recipe.clip_norm, recipe.by_group()["decay"]["betas"]) == (None, (0.9, 0.95))


def test_files_inherit_and_a_run_says_its_release(tmp_path):
    (tmp_path / "base.yaml").write_text("TRAIN: {BASE_LR: 1e-3, OPTIMIZER: {NAME: sgd}}\nDATA: {BATCH_SIZE: 512}\n")
    (tmp_path / "a.yaml").write_text("BASE: [base.yaml]\nTRAIN: {MIN_LR: 0.0, OPTIMIZER: {MOMENTUM: 0.8}}\n")
    recipe = swin.recipe(tmp_path / "a.yaml", steps_per_epoch=10)
    assert (recipe.optimizer, recipe.by_group()["decay"]["momentum"]) == ("sgd", 0.8)
    dumped = dict(EPOCHS=10, WARMUP_EPOCHS=5, AUTO_RESUME=True, START_EPOCH=3, USE_CHECKPOINT=False)
    early = swin.recipe(dict(TRAIN=dumped), steps_per_epoch=10)  # warm-up ends half-way down the cosine
    assert early.notes == (
        "cfg is saved by a run: its rates have been multiplied by the batch over 512",
        "not part of a recipe: AUTO_RESUME, START_EPOCH",
    )
    np.testing.assert_allclose(js.curves(early, [51])["decay"]["lr"], [0.5 * (5e-4 + 5e-6)], rtol=1e-5)


@pytest.mark.parametrize(("kind", "every"), [("prefix", 1), ("cosine", 3)])
def test_the_folder_of_a_run(kind, every, tmp_path):
    """main.py multiplies the rates, saves them in config.json, and prints the lr after the update of a batch."""
    epochs, nb, frequency = 6, 12, 5
    train = dict(peak=1e-3, start=2e-6, floor=1e-5, warm=2 * nb // every, total=epochs * nb // every)
    lr = [*in_the_loop(kind, train, epochs, nb, every), train["floor"]]
    lines = [
        f"[2022-07-01 09:00:00 tiny] (main.py 221): INFO Train: [{epoch}/{epochs}][{i}/{nb}]\t"
        f"eta 1 day, 0:01:41 lr {lr[epoch * nb + i + 1]:.6f}\t wd 0.0500\ttime 0.4726 (0.4765)\tloss 6.9 (6.9)"
        for epoch in range(epochs)
        for i in range(0, nb, frequency)
    ]
    (tmp_path / "log_rank0.txt").write_text("INFO Full config saved to config.json\n" + "\n".join(lines))
    prefix = "" if kind == "cosine" else "WARMUP_PREFIX: true"
    saved = f"""AMP_ENABLE: true
BASE: ['']
DATA: {{BATCH_SIZE: 64}}
TRAIN:
  AUTO_RESUME: true
  START_EPOCH: 0
  USE_CHECKPOINT: false
  ACCUMULATION_STEPS: {every}
  EPOCHS: {epochs}
  WARMUP_EPOCHS: 2
  BASE_LR: 0.001
  WARMUP_LR: 2.0e-06
  MIN_LR: 1.0e-05
  LR_SCHEDULER: {{NAME: cosine, {prefix}}}
"""
    (tmp_path / "config.json").write_text(saved)
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "18 of 18 rows reproduced to the last printed digit" in result.stdout
    assert f"steps per epoch {nb}, as the log prints" in result.stdout


@pytest.mark.parametrize("model", [dict(TYPE="vit"), dict(TYPE="swin", NAME="simmim_pretrain")])
def test_simmim_counts_batches_where_it_accumulates(model):
    """Its scheduler is given the number of the batch, and each batch is clipped."""
    with pytest.raises(ValueError, match=r"ACCUMULATION_STEPS 2: SimMIM accumulates by other rules than main\.py"):
        swin.recipe(dict(MODEL=model, TRAIN=dict(ACCUMULATION_STEPS=2)), steps_per_epoch=10)


@pytest.mark.parametrize(
    "model", [dict(TYPE="vit", VIT=dict(DEPTH=10**8)), dict(TYPE="swin", SWIN=dict(DEPTHS=[10**8]))]
)
def test_a_model_of_very_many_layers_does_not_fill_memory(model):
    with pytest.raises(ValueError, match=r"LAYER_DECAY 0\.8: layer decay is for models of at most 1000 layers"):
        swin.recipe(dict(MODEL=model, TRAIN=dict(LAYER_DECAY=0.8)), steps_per_epoch=10)


def misspelt(recipe):
    """What the notes say of settings that are not known, as an error."""
    raise ValueError("; ".join(recipe.notes))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (dict(LR_SCHEDULER=dict(NAME="linear"), ACCUMULATION_STEPS=4), "goes below 0"),
        (dict(LAYER_DECAY=0.8, ACCUMULATION_STEPS=2), "LAYER_DECAY 0.8: SimMIM accumulates by other rules"),
        (dict(CLIP_GRAD=0.0), "TRAIN: CLIP_GRAD must be positive, or null for none, got 0.0"),
        (dict(LR_SCHEDULER=dict(NAME="multistep", MULTISTEPS=[40, 30])), r"MULTISTEPS must ascend, got \[40, 30\]"),
        (dict(OPTIMIZER=dict(NAME="lion")), "NAME must be one of sgd, adamw"),
        (dict(LR_SCHEDULER=dict(NAME="poly")), "NAME must be one of 'cosine'"),
        (dict(LR_SCHEDULER=dict(NAME="multistep")), "MULTISTEPS must follow WARMUP_EPOCHS"),
        (dict(LR_SCHEDULER=dict(NAMES="cosine")), "did you mean 'NAME'"),
        (dict(EPOCHS=10), "WARMUP_EPOCHS must be below EPOCHS"),
        (dict(EPOCH=10), "did you mean 'EPOCHS'"),
        (dict(BASE_LR=None), "BASE_LR must be a number"),
    ],
)
def test_what_is_refused(train, message):
    with pytest.raises((TypeError, ValueError), match=message):
        misspelt(swin.recipe(dict(TRAIN=train), steps_per_epoch=10))
