"""Configs of RT-DETR, D-FINE and DEIM: their loops and equations in float64, their groups by the names of a model."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import rtdetr
from jaxsched.ports.rtdetr._groups import condition
from jaxsched.ports.shared import File
from jaxsched.verification import verify_run

BACKBONE, NORMS = "^(?=.*backbone)(?!.*norm|bn).*$", "^(?=.*(?:encoder|decoder))(?=.*(?:norm|bn)).*$"
MODEL_TEXT = """
    backbone.stem.conv.weight backbone.stem.bn.weight backbone.stem.bn.bias backbone.stages.0.norm.weight
    backbone.dinov3.blocks.0.norm1.bias backbone.dinov3.blocks.0.qkv.weight backbone.sta.bn1.weight backbone.sta.bias
    encoder.lateral_convs.0.conv.weight encoder.lateral_convs.0.norm.weight encoder.layers.0.self_attn.in_proj_bias
    decoder.layers.0.norm1.weight decoder.layers.0.linear1.weight decoder.layers.0.linear1.bias
    decoder.denoising_class_embed.weight head.weight bn.weight
"""
MODEL = MODEL_TEXT.split()
"""Names of torch's parameters."""
PUBLISHED = [
    ["backbone", "^(?=.*encoder(?=.*bias|.*norm.*weight)).*$", "^(?=.*decoder(?=.*bias|.*norm.*weight)).*$"],
    [
        "^(?=.*backbone)(?=.*norm).*$",
        "^(?=.*backbone)(?!.*norm).*$",
        "^(?=.*(?:encoder|decoder))(?=.*(?:norm|bias)).*$",
    ],
    ["^(?=.*backbone)(?!.*norm).*$", NORMS],
    ["^(?=.*backbone)(?!.*(?:norm|bn)).*$", "^(?=.*backbone)(?=.*(?:norm|bn)).*$"],
    [BACKBONE, "^(?=.*backbone)(?=.*norm|bn).*$", "^(?=.*(?:encoder|decoder))(?=.*(?:norm|bn|bias)).*$"],
    ["^(?=.*(?:norm|bn)).*$"],
    [
        "^(?=.*.dinov3)(?!.*(?:norm|bn|bias)).*$",
        "^(?=.*.dinov3)(?=.*(?:norm|bn|bias)).*$",
        "^(?=.*(?:sta|encoder|decoder))(?=.*(?:norm|bn|bias)).*$",
    ],
    [r"^(?=.*\.norm1?\.)(?!bn).*", "head|^bn"],
]
"""What the configs of the four repositories have, and one pattern of another form."""


def config(**changes):
    given = {
        "epoches": 6,
        "clip_max_norm": 0.1,
        "optimizer": {
            "type": "AdamW",
            "params": [{"params": BACKBONE, "lr": 2e-5}, {"params": NORMS, "weight_decay": 0.0}],
            "lr": 1e-4,
            "betas": [0.9, 0.99],
            "weight_decay": 1e-3,
        },
        "lr_scheduler": {"type": "MultiStepLR", "milestones": [1000], "gamma": 0.1},
    }
    return {**given, **changes}


def warmup(steps):
    return {"type": "LinearWarmup", "warmup_duration": steps}


def tree(names):
    """A tree with torch's names, and Flax's for weights: of norms, embeddings and others."""
    found = {}
    for name in names:
        *layers, leaf = name.split(".")
        kind = "scale" if re.search(r"norm|bn", layers[-1]) else "embedding" if "embed" in layers[-1] else "kernel"
        inside = found
        for layer in layers:
            inside = inside.setdefault(layer, {})
        inside[kind if leaf == "weight" else leaf] = name
    return found


@pytest.mark.parametrize("patterns", PUBLISHED)
def test_a_parameter_is_in_the_group_whose_pattern_is_found_in_its_name(patterns):
    given = config(optimizer={"type": "AdamW", "params": [{"params": pattern} for pattern in patterns]})
    rules = rtdetr.recipe(given, steps_per_epoch=2).rules
    rules = [js.groups.Rule(rule.match, rule.group, optional=True) for rule in rules]
    model = tree(MODEL)
    for parameter, group in zip(js.groups.parameters(model), js.groups.grouped(model, rules).groups, strict=True):
        name = model
        for part in parameter.path.split("/"):
            name = name[part]
        found = [f"group_{i}" for i, pattern in enumerate(patterns) if re.findall(pattern, name)]
        assert [group] == (found or ["rest"]), name


@pytest.mark.parametrize(
    "pattern",
    ["^(?=.*?a).*$", "^(?=b|.*a)(?!.*[)|]x).*$", "(?=.*a).*", "^(?=.*a)b", "^(?=.*a", r"^(?=.*\(a).*$", "^(?=a$).*$"],
)
def test_a_pattern_means_the_same_in_its_parts(pattern):
    names = ["a", "b", "ba", "xa", "ab", "x)x", "a|x", "(a", "xb(a", ""]
    try:
        re.compile(pattern)
    except re.error:
        with pytest.raises(ValueError, match=r"params: regex: .* is not a regular expression"):
            condition("params", pattern)
        return
    match = condition("params", pattern)
    for name in names:
        parameter = js.groups.Parameter(name, "weight", (), None)
        assert match(parameter) == (re.search(pattern, name) is not None), name


def by_epoch(lr, at, gamma, warm, nb, epochs):
    """The solver of RT-DETRv2 and D-FINE: the warm-up counts batches, and the scheduler only epochs after it.

    Returns the lr of each batch, and that which is logged after it.
    """
    now, steps, values, logged = lr / max(warm, 1), 0, [], []
    for epoch in range(epochs):
        for step in range(epoch * nb, (epoch + 1) * nb):
            values.append(now)
            if step + 1 < warm:
                now = min(1.0, (step + 2) / warm) * lr
            logged.append(now)
        if not warm or (epoch + 1) * nb >= warm:
            steps += 1
            now *= gamma ** at.count(steps)
    return values, logged


def write_log(path, logged, nb):
    """The log.txt of a run, with the mean of what the meter has after each batch."""
    means = [sum(logged[i : i + nb]) / nb for i in range(0, len(logged), nb)]
    rows = [json.dumps({"train_lr": mean, "train_loss": 9.1, "epoch": e}) + "\n" for e, mean in enumerate(means)]
    path.write_text("".join(rows))


@pytest.mark.parametrize(("warm", "at"), [(0, [2, 4]), (1, [1, 1]), (4, [2]), (9, [2, 3]), (500, [1])])
def test_the_scheduler_waits_for_the_warmup_and_a_log_of_means_is_reproduced(warm, at, tmp_path, monkeypatch):
    scheduler = {"type": "MultiStepLR", "milestones": at, "gamma": 0.5}
    given = config(lr_scheduler=scheduler, lr_warmup_scheduler=warmup(warm))
    made = rtdetr.recipe(given, steps_per_epoch=4)
    curves = js.curves(made)
    assert made.steps == 24
    for group, lr in (("rest", 1e-4), ("group_1", 1e-4), ("group_0", 2e-5)):
        expected, logged = by_epoch(lr, at, 0.5, warm, 4, 6)
        np.testing.assert_allclose(curves[group]["lr"], expected, rtol=1e-6)
    assert js.Recipe.from_json(made.to_json()) == made
    write_log(tmp_path / "log.txt", logged, 4)
    verdict = js.verify(made, tmp_path / "log.txt")
    assert verdict.ok, verdict
    assert verdict.groups == {"train_lr": "group_0"}
    if warm == 9:
        rows = (tmp_path / "log.txt").read_text().splitlines()
        (tmp_path / "log.txt").write_text("\n".join([*rows, rows[0]]))  # the run was begun again
        monkeypatch.setattr("jaxsched.verification._lengths._LONGEST", 8)
        found = verify_run(rtdetr.KINDS[0], File(Path("run.yml"), json.dumps(given)), tmp_path / "log.txt", {})[1]
        assert found.ok
        assert "steps per epoch 4 is found by the mean of its first epoch" in found.found
        write_log(tmp_path / "log.txt", [*logged[:-1], logged[-1] * 1.0001], 4)
        assert js.verify(made, tmp_path / "log.txt").reproduced == 5


def flat_cosine(lr, gamma, warm, rise, flat, plain, nb, epochs):
    """DEIM sets the lr after each batch ``i`` to a function of ``i``, and logs that."""
    now, values, logged, total = lr / max(warm, 1), [], [], nb * epochs
    flat, plain = int(nb * flat), int(nb * plain)
    for i in range(total):
        values.append(now)
        if i <= rise:
            now = lr * (i / rise) ** 2 if rise else lr
        elif i <= flat:
            now = lr
        elif i >= total - plain:
            now = gamma * lr
        else:
            wave = 1 + math.cos(math.pi * (i - flat) / (total - flat - plain))
            now = gamma * lr + (1 - gamma) * lr * wave / 2
        logged.append(now)
    return values, logged


@pytest.mark.parametrize(
    ("gamma", "warm", "rise", "flat", "plain"),
    [(0.5, 5, 3, 2, 1), (0.0, 0, 9, 1.5, 0.5), (1.0, 500, 4, 7800, 1), (0.1, 2, 0, 4, 3)],
)
def test_deims_schedule_by_batches(gamma, warm, rise, flat, plain, tmp_path):
    own = dict(lrsheduler="flatcosine", lr_gamma=gamma, warmup_iter=rise, flat_epoch=flat, no_aug_epoch=plain)
    made = rtdetr.recipe(config(**own, lr_warmup_scheduler=warmup(warm)), steps_per_epoch=4)
    for group, lr in (("group_0", 2e-5), ("rest", 1e-4)):
        expected, _ = flat_cosine(lr, gamma, warm, rise, flat, plain, 4, 6)
        np.testing.assert_allclose(js.curves(made)[group]["lr"], expected, rtol=1e-6, atol=lr * 2.0**-24)
    _, logged = flat_cosine(2e-5, gamma, warm, rise, flat, plain, 4, 6)
    write_log(tmp_path / "log.txt", logged, 4)
    assert js.verify(made, tmp_path / "log.txt").ok
    assert ("divides by 0" in " ".join(made.notes)) == (rise == 0)
    assert any("lr_scheduler has no effect beside lrsheduler" in note for note in made.notes)


@pytest.mark.parametrize(("warmups", "start"), [(20, 3), (20, 0), (0, 0)])
def test_the_average(warmups, start):
    ema = {"type": "ModelEMA", "decay": 0.9, "warmups": warmups, "start": start}
    decay = rtdetr.recipe(config(use_ema=True, ema=ema), steps_per_epoch=4).ema
    updates = np.arange(1, 31)
    expected = 0.9 * (1 - np.exp(-updates / warmups)) if warmups else np.full(30, 0.9)
    expected = [*np.ones(start), *expected][:30]
    ours = decay(updates - 1) if callable(decay) else np.full(30, decay)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    assert rtdetr.recipe(config(ema=ema), steps_per_epoch=4).ema is None


def test_what_each_group_has():
    made = rtdetr.recipe(config(), steps_per_epoch=4)
    by_group = made.by_group()
    assert (made.optimizer, made.clip_norm) == ("adamw", 0.1)
    assert {name: values["weight_decay"] for name, values in by_group.items()} == {
        "group_0": 1e-3,
        "group_1": 0.0,
        "rest": 1e-3,
    }
    assert all(values["betas"] == (0.9, 0.99) for values in by_group.values())
    assert rtdetr.recipe(config(clip_max_norm=0), steps_per_epoch=4).clip_norm is None
    cosine = rtdetr.recipe(
        config(lr_scheduler=dict(type="CosineAnnealingLR", T_max=4, eta_min=1e-5)), steps_per_epoch=1
    )
    waves = 1e-5 + (1e-4 - 1e-5) * (1 + np.cos(np.pi * np.arange(6) / 4)) / 2  # beyond T_max it rises again
    np.testing.assert_allclose(js.curves(cosine)["rest"]["lr"], waves, rtol=1e-6)
    alone = rtdetr.recipe(config(optimizer={"type": "SGD", "lr": "1e-2", "momentum": 0.9}), steps_per_epoch=1)
    assert (alone.optimizer, *alone.by_group()) == ("sgd", "rest")


def test_batches():
    def lengths(loader, **options):
        made = rtdetr.recipe(config(train_dataloader=loader), **options)
        return made.steps_per_epoch, made.batch_size

    total = {"total_batch_size": 32, "drop_last": True}
    assert lengths(total, images=1000, world_size=4) == (31, 32)  # 250 images and batches of 8 to each process
    assert lengths({"total_batch_size": 32}, images=1000, world_size=4) == (32, 32)
    assert lengths({"batch_size": 4, "drop_last": True}, images=1000, world_size=4) == (62, 16)
    with pytest.raises(
        ValueError, match="train_dataloader: total_batch_size must be divisible by world_size=3, got 32"
    ):
        lengths(total, images=1000, world_size=3)
    with pytest.raises(ValueError, match="it has no batch size; give steps_per_epoch="):
        lengths({}, images=1000)


@pytest.fixture
def folder(tmp_path):
    """A folder of configs as in the repositories, and a function that reads its last one."""
    files = {
        "runtime.yml": "epoches: 72\nuse_ema: False\nema: {type: ModelEMA, decay: 0.9999, warmups: 1000}\n",
        "empty.yml": "# nothing\n",
        "include/optimizer.yml": "use_ema: True\nclip_max_norm: 0.1\noptimizer:\n  type: AdamW\n  params:\n"
        "  - {params: backbone, lr: 1.0e-5}\n  lr: 1.0e-4\n  weight_decay: 1.0e-4\n"
        "lr_scheduler: {type: MultiStepLR, milestones: [60]}\n",
        "base.yml": "__include__: [runtime.yml, './include/optimizer.yml']\nema: {warmups: 2000}\n",
        "run.yml": "__include__: [base.yml, empty.yml]\nepoches: 12\nPResNet: {depth: 18}\nmodel: RTDETR\n"
        "RTDETR: {backbone: PResNet}\noptimizer:\n  params:\n  - {params: norm, weight_decay: 0.0}\n",
    }
    (tmp_path / "configs" / "include").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "configs" / name).write_text(text)
    return tmp_path / "configs"


def test_included_files_are_merged_in_their_order(folder):
    made = rtdetr.recipe(folder / "run.yml", steps_per_epoch=10)
    assert (made.steps, made.clip_norm) == (120, 0.1)
    assert [rule.group for rule in made.rules] == ["group_0", "rest"]  # a list replaces the list of the included file
    assert made.groups == {"group_0": {"weight_decay": 0.0}}
    np.testing.assert_allclose(js.curves(made, [0])["rest"]["lr"], 1e-4, rtol=1e-6)
    np.testing.assert_allclose(made.ema(1999), 0.9999 * (1 - math.exp(-1)), rtol=1e-6)
    assert any("PResNet: freeze_norm: True: it has frozen" in note for note in made.notes)
    changed = rtdetr.recipe(
        folder / "run.yml", steps_per_epoch=10, update={"optimizer.lr": 1e-3, "PResNet.freeze_norm": False}
    )
    np.testing.assert_allclose(js.curves(changed, [0])["rest"]["lr"], 1e-3, rtol=1e-6)
    assert not any("frozen parameters" in note for note in changed.notes)
    (folder / "run.yml").write_text("__include__:\n  ./base.yml:\n")  # a list to Python, which takes its keys
    assert rtdetr.recipe(folder / "run.yml", steps_per_epoch=10).steps == 720
    (folder / "run.yml").write_text("__include__: [./other.yml]\n")
    with pytest.raises(OSError, match=r"other\.yml"):
        rtdetr.recipe(folder / "run.yml", steps_per_epoch=10)
    (folder / "run.yml").write_text("__include__: ./base.yml\n")
    with pytest.raises(TypeError, match=r"__include__ must be a list of files, got '\./base.yml'"):
        rtdetr.recipe(folder / "run.yml", steps_per_epoch=10)


def test_the_second_stage_is_left_out_with_a_caution():
    def notes(**collate):
        made = rtdetr.recipe(config(train_dataloader={"collate_fn": collate}), steps_per_epoch=10)
        return [note for note in made.notes if "collate_fn" in note]

    first, second = notes(base_size=640, stop_epoch=4, ema_restart_decay=0.9999)
    assert first.startswith(
        "caution left-out: config: train_dataloader: collate_fn: from epoch 4 on D-FINE and DEIM go"
    )
    assert "ema_restart_decay has no effect" in second
    assert not notes(base_size=640, stop_epoch=6)
    assert not notes(scales=[640], stop_epoch=4)  # RT-DETRv2 only stops to change the size


def test_a_pattern_that_is_found_in_no_path_is_an_error():
    made = rtdetr.recipe(config(), steps_per_epoch=10)
    with pytest.raises(ValueError, match="1 rule matches no parameter that earlier rules left"):
        made.build().init({"backbone": {"conv": {"kernel": np.ones(2)}}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(optimizer=dict(type="AdamWW")), "config: optimizer: type must be one of torch's .* did you mean 'AdamW'"),
        (dict(optimizer=dict(lr=0.1)), "config: optimizer: 'type' is missing; add it"),
        (
            dict(optimizer=dict(type="AdamW", lr="fast")),
            "config: optimizer: lr must be a number, got the string 'fast'",
        ),
        (dict(optimizer=dict(type="AdamW", betas=["a", 0.9])), r"optimizer: betas\[0\] must be a number, got the str"),
        (dict(optimizer=dict(type="AdamW", lr=-1)), r"config: optimizer: lr must be in \[0.0, inf\], got -1"),
        (dict(optimizer=dict(type="AdamW", params={})), "optimizer: params must be a list of at most 100 groups"),
        (dict(optimizer=dict(type="AdamW", params=["a"])), r"params\[0\] must hold names and values, got 'a'"),
        (dict(optimizer=dict(type="AdamW", params=[{"lr": 1}])), r"optimizer: params\[0\]: 'params' is missing"),
        (dict(optimizer=dict(type="AdamW", params=[{"params": "(a"}])), r"params\[0\]: params: regex: .* is not a reg"),
        (dict(optimizer=dict(type="AdamW", params=[{"params": "a", "wd": 0}])), r"params\[0\]: 'wd' is not known"),
        (
            dict(lr_scheduler=dict(type="OneCycleLR")),
            "lr_scheduler: type must be one of MultiStepLR, CosineAnnealingLR",
        ),
        (dict(lr_scheduler=dict(type="MultiStepLR")), "lr_scheduler: 'milestones' is missing"),
        (dict(lr_scheduler=dict(type="MultiStepLR", milestones=9)), "milestones must be a list of numbers, got 9"),
        (dict(lr_scheduler=dict(type="MultiStepLR", milestones=[1], step=2)), "lr_scheduler: 'step' is not known"),
        (dict(lr_warmup_scheduler=dict(type="Linear")), "lr_warmup_scheduler: type must be one of 'LinearWarmup'"),
        (dict(lr_warmup_scheduler=warmup(-1)), "warmup_duration must be a whole number >= 0, got -1"),
        (dict(lrsheduler="flatcosine"), "config: 'lr_gamma' is missing; add it"),
        (dict(epochs=7), "epochs is 7 and epoches 6, and releases read one of them; remove one"),
        (dict(epoches="many"), "config: epoches must be a number, got the string 'many'"),
        (dict(use_ema=True, ema={"type": "ModelEMA"}), "ema: warmups is missing; add it: it is 2000 in RT-DETR"),
        (dict(use_ema=True, ema={"type": "SWA"}), "ema: type must be one of 'ModelEMA', got 'SWA'"),
        (dict(use_ema=1), "config: use_ema must be true or false, got 1"),
        (dict(lr_drop=3), "'lr_drop' is not known, and its name says that it changes the schedule"),
        (dict(train_dataloader=dict(batch_size=1, total_batch_size=2)), "total_batch_size and batch_size are both"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises((TypeError, ValueError), match=message) as error:
        rtdetr.recipe(config(**changes), steps_per_epoch=10)
    assert "\n" not in str(error.value)


def test_it_is_recognised_and_read_from_a_command_line(tmp_path):
    from jaxsched.cli._source import Given, read, recognise

    path = Path(tmp_path, "rtdetrv2.yml")
    path.write_text(
        "__include__: []\nepoches: 3\noptimizer: {type: AdamW, lr: 0.1}\n"
        "lr_scheduler: {type: MultiStepLR, milestones: [2]}\n"
    )
    assert recognise(File.read(path)).name == "rtdetr"
    made = read([str(path)], Given({"steps_per_epoch": 5, "update": {"epoches": 4}}, None))
    assert made.steps == 20
