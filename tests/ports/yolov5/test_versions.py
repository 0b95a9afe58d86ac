"""YOLOv5's releases and forks: each against a plain loop of its rules; which files are of which; what is left open."""

from pathlib import Path

import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import yolov5
from jaxsched.recipe import cautions

CASES = Path(__file__).parents[2] / "recorded" / "cases"
HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)


def cosine(e, epochs, lrf):
    return (1 - np.cos(e * np.pi / epochs)) / 2 * (lrf - 1) + 1


def line(e, epochs, lrf):
    return (1 - e / epochs) * (1 - lrf) + lrf


def short_line(e, epochs, lrf):
    return line(e, epochs - 1, lrf)


def flat_cosine(e, epochs, lrf):
    half = epochs // 2
    return 1.0 if e <= half else (1 - np.cos((e - half) * np.pi / half)) / 2 * (lrf - 1) + 1


# The version, options, its curve, fewest iterations of warm-up, whether ni % accumulate == 0 is an update, clipping.
RULES = [
    ("3.0", {}, cosine, 1000, True, None),
    ("3.1", {}, cosine, 1000, True, None),
    ("4.0", {}, cosine, 1000, True, None),
    ("5.0", {}, cosine, 1000, True, None),
    ("5.0", {"linear_lr": True}, short_line, 1000, True, None),
    ("6.0", {}, cosine, 1000, False, None),
    ("6.0", {"linear_lr": True}, short_line, 1000, False, None),
    ("6.1", {}, line, 1000, False, None),
    ("6.1", {"cos_lr": True}, cosine, 1000, False, None),
    ("6.2", {}, line, 100, False, 10.0),
    ("7.0", {"cos_lr": True}, cosine, 100, False, 10.0),
    ("yolov7", {}, cosine, 1000, True, None),
    ("yolov7", {"linear_lr": True}, short_line, 1000, True, None),
    ("yolor", {}, cosine, 1000, True, None),
    ("yolov5-face", {}, cosine, 1000, True, None),
    ("yolov5_obb", {}, cosine, 1000, False, None),
    ("yolov9", {}, line, 100, False, 10.0),
    ("yolov9", {"cos_lr": True}, cosine, 100, False, 10.0),
    ("yolov9", {"flat_cos_lr": True}, flat_cosine, 100, False, 10.0),
    ("yolov9", {"fixed_lr": True}, lambda e, epochs, lrf: 1.0, 100, False, 10.0),
]


def run_loop(curve, shortest, multiples, epochs, nb, batch, hyp):
    """What the loop of train.py does, iteration by iteration: lr of weights and biases, momentum, updates."""
    nw = max(round(hyp["warmup_epochs"] * nb), shortest)
    lf = [hyp["lr0"] * curve(e, epochs, hyp["lrf"]) for e in range(epochs)]
    accumulate, last = max(round(64 / batch), 1), -1
    weight = bias = lf[0]
    momentum = hyp["momentum"]
    seen, updates = [], []
    for e in range(epochs):
        for ni in range(e * nb, (e + 1) * nb):
            if ni <= nw:
                accumulate = max(1, np.interp(ni, [0, nw], [1, 64 / batch]).round())
                weight, bias = (np.interp(ni, [0, nw], [s, lf[e]]) for s in (0.0, hyp["warmup_bias_lr"]))
                momentum = np.interp(ni, [0, nw], [hyp["warmup_momentum"], hyp["momentum"]])
            seen.append((weight, bias, momentum))
            if ni % accumulate == 0 if multiples else ni - last >= accumulate:
                updates.append(ni)
                last = ni
        weight = bias = lf[e]
    return np.transpose(seen), updates


@pytest.mark.parametrize(("epochs", "nb", "batch"), [(13, 23, 16), (6, 400, 10)], ids=["small", "large"])
@pytest.mark.parametrize(
    ("version", "options", "curve", "shortest", "multiples", "clip"),
    RULES,
    ids=[" ".join([rule[0], *rule[1]]) for rule in RULES],
)
def test_every_iteration(version, options, curve, shortest, multiples, clip, epochs, nb, batch):
    file = {"hyp": HYP, "epochs": epochs, "batch_size": batch, **options}
    hyp = HYP
    if version == "3.0":
        hyp = {**HYP, "lrf": 0.2, "warmup_momentum": 0.9}
        file["hyp"] = dict(lr0=0.01, momentum=0.937, weight_decay=5e-4, giou=0.05)
    recipe = yolov5.recipe(file, steps_per_epoch=nb, version=version)
    (weight, bias, momentum), updates = run_loop(curve, shortest, multiples, epochs, nb, batch, hyp)
    ours = js.curves(recipe)
    # float32: a few roundings of 6e-8 of the largest number in the sum
    np.testing.assert_allclose(ours["weight"]["lr"], weight, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours["norm"]["lr"], weight, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours["bias"]["lr"], bias, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours["weight"]["momentum"], momentum, rtol=1e-6)
    decay = 5e-4 * batch * round(64 / batch) / 64
    np.testing.assert_allclose(ours["weight"]["weight_decay"], decay, rtol=1e-6)
    assert np.flatnonzero(js.report.update_steps(recipe)).tolist() == updates
    assert recipe.clip_norm == clip
    assert "version-open" not in dict(cautions(recipe.notes))


@pytest.mark.parametrize(
    ("hyp", "options", "expected"),
    [
        (dict(lr0=0.01, momentum=0.9, weight_decay=0, giou=0.05), {}, ["3.0"]),
        ({**HYP, "paste_in": 0.1, "loss_ota": 1}, {}, ["yolov7"]),
        ({**HYP, "landmark": 0.1}, {}, ["yolov5-face"]),
        ({**HYP, "theta": 0.5, "csl_radius": 2}, {}, ["yolov5_obb"]),
        ({**HYP, "dfl": 1.5}, {"flat_cos_lr": False, "cos_lr": False}, ["yolov9"]),
        (HYP, {"linear_lr": False, "adam": False}, ["5.0", "6.0"]),
        (HYP, {"linear_lr": False, "adam": False, "noval": False}, ["6.0"]),
        (HYP, {"adam": False, "notest": False, "quad": False}, ["4.0", "5.0"]),
        (HYP, {"optimizer": "SGD", "cos_lr": False}, ["6.1", "6.2", "7.0"]),
        (HYP, {"optimizer": "SGD", "cos_lr": False, "seed": 0}, ["6.2", "7.0"]),
        (HYP, {}, ["3.1", "4.0", "5.0", "6.0", "6.1", "6.2", "7.0"]),
    ],
)
def test_the_keys_tell_the_version(hyp, options, expected):
    from jaxsched.ports.yolov5._versions import candidates

    assert candidates(hyp, options, ()) == expected


def test_a_whole_opt_tells_by_what_is_absent_too():
    from jaxsched.ports.yolov5._versions import candidates

    always = ["weights", "cfg", "data", "rect", "resume", "nosave", "multi_scale", "single_cls", "sync_bn", "workers"]
    of_61 = [*always, "patience", "freeze", "noval", "cos_lr", "optimizer", "project", "linear", "entity", "quad"]
    assert candidates(HYP, of_61, ()) == ["6.1"]
    assert candidates(HYP, always, ()) == ["3.1"]


def test_an_open_version_that_matters_is_said():
    recipe = yolov5.recipe(HYP, epochs=100, steps_per_epoch=50, batch_size=16)
    code, text = next(pair for pair in cautions(recipe.notes) if pair[0] == "version-open")
    assert code == "version-open"
    assert "read as 7.0" in text
    assert "with 6.1 lr differs at 1,049 of 5,000 steps" in text
    assert "updates instead of" in text
    assert "version-open" in {finding.code for finding in js.lint(recipe)}


def test_small_data_with_cos_lr_leaves_fewer_open():
    recipe = yolov5.recipe(HYP, epochs=100, steps_per_epoch=400, batch_size=16, cos_lr=True)
    text = dict(cautions(recipe.notes))["version-open"]
    assert "with 6.1 nothing is clipped" in text  # warm-up is longer than either floor
    told = cautions(yolov5.recipe(HYP, epochs=9, steps_per_epoch=9, batch_size=8, version="v6.1").notes)
    assert told[0][0] == "warmup-floor"
    assert "takes 1000 iterations, which are 111 epochs: warmup_epochs 3 asks for 27" in told[0][1]


@pytest.mark.parametrize("version", ["8.0", "yolov6", ""])
def test_unknown_versions(version):
    with pytest.raises(ValueError, match=r"version must be one of 3\.0, .* got"):
        yolov5.recipe(HYP, epochs=9, steps_per_epoch=9, batch_size=8, version=version)


def test_options_of_other_versions_are_refused():
    with pytest.raises(ValueError, match=r"cos_lr has no meaning in 5\.0"):
        yolov5.recipe(HYP, epochs=9, steps_per_epoch=9, batch_size=8, cos_lr=True, version="5.0")
    with pytest.raises(ValueError, match="linear_lr divides by epochs - 1"):
        yolov5.recipe({"hyp": HYP, "epochs": 1, "batch_size": 8, "linear_lr": True}, steps_per_epoch=9)


def write(folder, **files):
    for name, content in files.items():
        lines = [f"{key}: {value}" for key, value in content.items()]
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")


def test_a_folder_says_it_all(tmp_path):
    options = dict(hyp="data/hyps/hyp.yaml", epochs=12, batch_size=8, optimizer="Adam", cos_lr="true", seed=0)
    write(tmp_path, hyp={**HYP, "box": 0.05}, opt=options)
    expected = yolov5.recipe(
        HYP, epochs=12, batch_size=8, optimizer="Adam", cos_lr=True, steps_per_epoch=7, version="7.0"
    )
    for source in (tmp_path, str(tmp_path), tmp_path / "opt.yaml"):
        assert not js.diff(yolov5.recipe(source, steps_per_epoch=7), expected)
    changed = yolov5.recipe(tmp_path, steps_per_epoch=7, epochs=20, batch_size=16)
    assert (changed.steps, changed.batch_size) == (140, 16)


def test_a_folder_without_its_hyp(tmp_path):
    write(tmp_path, opt=dict(hyp="data/hyp.yaml", epochs=12, batch_size=8))
    with pytest.raises(ValueError, match=r"opt\.yaml: hyp is 'data/hyp\.yaml', a file that is not beside it"):
        yolov5.recipe(tmp_path, steps_per_epoch=7)


def test_batches_of_several_devices():
    file = {"hyp": HYP, "epochs": 5, "batch_size": 16, "total_batch_size": 64, "adam": False}
    assert yolov5.recipe(file, steps_per_epoch=7).batch_size == 64
    with pytest.raises(ValueError, match="batch_size=-1 leaves it to YOLOv5; give batch_size="):
        yolov5.recipe({"hyp": HYP, "epochs": 5, "batch_size": -1}, steps_per_epoch=7)


def test_adam_of_old_files():
    file = {"hyp": HYP, "epochs": 5, "batch_size": 16, "adam": True}
    assert yolov5.recipe(file, steps_per_epoch=7).optimizer == "adam"


@pytest.mark.parametrize(("freeze", "said"), [([0], None), ([10], "first 10 layers"), ([3, 5], "layers [3, 5]")])
def test_freeze_is_said(freeze, said):
    recipe = yolov5.recipe({"hyp": HYP, "epochs": 5, "batch_size": 16, "seed": 0, "freeze": freeze}, steps_per_epoch=7)
    found = [text for code, text in cautions(recipe.notes) if code == "freeze"]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_implicit_knowledge_does_not_decay():
    tree = {"head": {"im": {"implicit": np.ones((1, 8, 1, 1))}, "conv": {"kernel": np.ones((1, 1, 2, 2))}}}
    length = dict(epochs=10, steps_per_epoch=100, batch_size=16)
    for version, group in (("yolor", "norm"), ("yolov7", "norm"), ("yolov9", "norm"), ("7.0", "weight")):
        labels = js.groups.labels(tree, yolov5.recipe(HYP, version=version, **length).rules)
        assert labels["head"] == {"im": {"implicit": group}, "conv": {"kernel": "weight"}}, version


def test_optimizers_of_yolov9():
    """Its AdamW is AMSGrad's, and it has Lion; both have momentum as their first beta."""
    length = dict(epochs=10, steps_per_epoch=100, batch_size=16)
    adamw = yolov5.recipe(HYP, optimizer="AdamW", version="yolov9", **length)
    assert adamw.by_group()["weight"]["amsgrad"] is True
    assert yolov5.recipe(HYP, optimizer="AdamW", version="7.0", **length).by_group()["weight"]["amsgrad"] is False
    lion = yolov5.recipe(HYP, optimizer="LION", version="yolov9", **length)
    assert (lion.optimizer, lion.by_group()["weight"]["betas"]) == ("lion", (0.937, 0.99))
    assert lion.by_group()["bias"]["weight_decay"] == 0
    lion.build()
    with pytest.raises(ValueError, match="optimizer must be one of SGD, Adam, AdamW, got 'LION'"):
        yolov5.recipe(HYP, optimizer="LION", version="7.0", **length)


def test_recorded_cases():
    recipe = yolov5.recipe(CASES / "opt.yaml", steps_per_epoch=100)
    assert (recipe.steps, recipe.batch_size, recipe.optimizer) == (2500, 16, "sgd")
    np.testing.assert_allclose(js.curves(recipe, [2000])["weight"]["lr"], 0.01 * cosine(19, 25, 0.01), rtol=1e-6)
    seven = yolov5.recipe(CASES / "yolov7_hyp.yaml", epochs=10, steps_per_epoch=100, batch_size=16)
    assert (seven.clip_norm, [code for code, _ in cautions(seven.notes)]) == (None, ["warmup-floor"])
    np.testing.assert_allclose(js.curves(seven, [500])["weight"]["lr"], 0.005 * cosine(5, 10, 0.1), rtol=1e-6)
