"""The training loop as a user meets it: it learns, it can be killed at any moment, it says what is wrong."""

import csv
import dataclasses
import json
import math
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tensorboardX.proto import event_pb2

import jaxsched as js
from examples.detector.augment import Augmentation
from examples.detector.checkpoint import Checkpoints
from examples.detector.fine_tune import frozen, head_and_body, start_from
from examples.detector.from_torch import flat_state
from examples.detector.journal import Journal
from examples.detector.loss import Gains
from examples.detector.model import YOLOv5
from examples.detector.options import HYP, SCENES_HYP, Options, check_the_same, left_out, read_hyp
from examples.detector.pictures import read_log
from examples.detector.scenes import scenes
from examples.detector.train import Stopper, main, open_data, train

ROOT = Path(__file__).parents[2]
TINY = {"width": 0.125, "depth": 0.33, "image_size": 64, "batch_size": 8, "epochs": 3, "evaluate_every": 2,
        "hyp": SCENES_HYP}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Few scenes, and a folder for compiled programs that all runs share."""
    folder = tmp_path_factory.mktemp("detector")
    scenes(folder / "scenes", {"train": 40, "val": 8})
    return folder


def options(data, out, **changes):
    base = {**TINY, "data": data / "scenes", "out": data / out, "compilation_cache": data / "compiled"}
    return Options(**(base | changes))


def arguments(options):
    """The command line that means `options`."""
    words = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value != field.default:
            name = field.name.replace("_", "-")
            words += [f"--{name}", *(() if value is True else value if isinstance(value, tuple) else (str(value),))]
    return [sys.executable, "-m", "examples.detector.train", *words]


def log(out):
    """The columns of a log; empty fields are nan."""
    return read_log(out / "log.csv")


def final_state(out):
    """All arrays of the last checkpoint, by path."""
    checkpoints = Checkpoints(out / "checkpoints", read_only=True)
    step = checkpoints.last()
    arrays = checkpoints.manager.restore(step)["state"]
    checkpoints.close()
    return step, {name: np.asarray(value) for name, value in arrays.items()}


@pytest.fixture(scope="module")
def whole(data):
    """A run that nobody disturbs."""
    evaluation = train(options(data, "whole", log_ratios=True, tensorboard=True))
    return evaluation, data / "whole"


def test_a_run_leaves_what_a_person_can_judge(whole):
    evaluation, out = whole
    assert 0 <= evaluation.map50 <= 1
    names = {p.name for p in out.iterdir()}
    assert names >= {"log.csv", "checkpoints", "predictions.png", "losses.png", "hyperparameters.png",
    "training_batch.png",
                     "confusion.png", "precision_recall.png"}  # fmt: skip
    with (out / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == list(range(15))
    assert [bool(r["map50"]) for r in rows] == [i in (9, 14) for i in range(15)]
    recipe = js.ports.yolov5.recipe(SCENES_HYP, epochs=3, steps_per_epoch=5, batch_size=8)
    for group, curves in js.curves(recipe).items():
        applied = js.report.update_steps(recipe)
        logged = np.array([float(r[f"lr/{group}"]) for r in rows])
        np.testing.assert_allclose(logged[applied], curves["lr"][applied], rtol=1e-6)
        assert all(float(r[f"ratio/{group}"]) >= 0 for r in rows)


def events(out):
    """Every scalar in a folder's TensorBoard files: (name, step) to value."""
    found = {}
    for file in (out / "tensorboard").iterdir():
        content, place = file.read_bytes(), 0
        while place < len(content):  # a record is its length, a checksum, the data, a checksum
            (length,) = struct.unpack_from("<Q", content, place)
            event = event_pb2.Event.FromString(content[place + 12 : place + 12 + length])
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
            place += length + 16
    return found


def test_tensorboard_has_the_numbers_of_the_csv(whole):
    columns, board = log(whole[1]), events(whole[1])
    want = {
        (name, int(step)): np.float32(value)
        for name, values in columns.items()
        if name not in ("step", "epoch")
        for step, value in zip(columns["step"], values, strict=True)
        if np.isfinite(value)
    }
    assert {name.split("/")[0] for name, _ in want} >= {"loss", "box", "lr", "momentum", "ratio", "map50", "map"}
    # TensorBoard holds float32; "waited" is rounded in both. The rest are the same floats.
    assert {key: np.float32(value) for key, value in board.items()} == want


def test_bfloat16_computes_and_float32_remembers(data, whole):
    evaluation = train(options(data, "bf16", bf16=True))
    assert 0 <= evaluation.map50 <= 1
    arrays = final_state(data / "bf16")[1]
    assert {a.dtype for a in arrays.values() if a.dtype.kind == "f"} == {np.dtype(np.float32)}
    assert not [name for name, a in arrays.items() if a.dtype.kind not in "fiub"]
    ours, single = log(data / "bf16"), log(whole[1])
    # Each of some 60 layers in a row rounds to within 2^-8; errors of either sign add up as their root: 2^-8 sqrt(60).
    # Over the first epoch the parameters hardly move (warm-up), so that this holds for all of it.
    difference = np.abs(ours["loss"] / single["loss"] - 1)[:5]
    assert difference.max() < 2**-8 * 60**0.5
    assert difference.max() > 2**-20  # float32's would be below


def test_fine_tuning_from_the_command_line(data, whole, monkeypatch):
    chosen = options(data, "tuned", weights=whole[1], body_rate=0.1, freeze=("backbone/**",), log_ratios=True,
                     tensorboard=True)  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments(chosen)[2:])
    main()
    checkpoints = Checkpoints(whole[1] / "checkpoints", read_only=True)
    before, after = checkpoints.weights(), final_state(chosen.out)[1]
    checkpoints.close()
    kept = {path: np.array_equal(after[f"params/{path}"], value) for path, value in before.items()
            if f"params/{path}" in after}  # fmt: skip
    assert {path for path, same in kept.items() if same} == {path for path in kept if path.startswith("backbone/")}
    # YOLOv5 freezes by requires_grad alone: batch norm stays in training mode, and its statistics move.
    moved = [not np.array_equal(after[f"stats/{path}"], value) for path, value in before.items()
             if f"stats/{path}" in after and path.startswith("backbone/")]  # fmt: skip
    assert moved
    assert all(moved)

    columns = log(chosen.out)
    for group in ("weight", "bias"):
        np.testing.assert_allclose(columns[f"lr/body_{group}"], 0.1 * columns[f"lr/{group}"], rtol=1e-6)
    assert "lr/body_norm" in columns
    assert not columns["ratio/frozen"].any()
    ratio_names = {f"ratio/{g}" for g in ("frozen", "weight", "bias", "body_weight", "body_bias", "body_norm")}
    assert {name for name in columns if name.startswith("ratio/")} == ratio_names
    assert {name for name, _ in events(chosen.out)} >= ratio_names
    assert all(columns[name].any() for name in ratio_names - {"ratio/frozen"})


def killed(data, out, at, **changes):
    """Start the run in another process and send SIGKILL when `at` returns."""
    chosen = options(data, out, log_ratios=True, **changes)
    process = subprocess.Popen(arguments(chosen), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    at(process, chosen.out)
    process.kill()
    process.wait()
    return chosen


def after_checkpoint(number, wait):
    def at(process, out):
        deadline = time.time() + 240
        while process.poll() is None and time.time() < deadline:
            if (out / "checkpoints" / str(number)).exists():
                time.sleep(wait)
                return
            time.sleep(0.01)

    return at


@pytest.mark.slow
@pytest.mark.parametrize(("number", "wait"), [(5, 0.0), (5, random.Random(0).uniform(0.1, 0.6))])
def test_a_killed_run_resumes_to_the_same_bits(data, whole, number, wait):
    chosen = killed(data, f"killed_{number}_{wait:.2f}", after_checkpoint(number, wait))
    train(dataclasses.replace(chosen, resume=True))
    (step, got), (want_step, want) = final_state(chosen.out), final_state(whole[1])
    assert step == want_step
    assert got.keys() == want.keys()
    assert [name for name in got if not np.array_equal(got[name], want[name])] == []
    logs = [list(csv.DictReader((out / "log.csv").open(newline=""))) for out in (chosen.out, whole[1])]
    assert [{k: v for k, v in r.items() if k != "waited"} for r in logs[0]] == [
        {k: v for k, v in r.items() if k != "waited"} for r in logs[1]
    ]


@pytest.mark.slow
def test_sigterm_to_all_its_processes_saves_in_the_middle_of_an_epoch(data, whole):
    chosen = options(data, "asked", log_ratios=True, workers=1)
    process = subprocess.Popen(
        arguments(chosen), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0
    )
    after_checkpoint(5, 0.0)(process, chosen.out)
    os.killpg(process.pid, signal.SIGTERM)  # as schedulers do
    words = process.communicate(timeout=120)[0]
    assert "go on with --resume" in words
    assert process.returncode == 0
    train(dataclasses.replace(chosen, resume=True))
    got, want = final_state(chosen.out)[1], final_state(whole[1])[1]
    assert [name for name in want if not np.array_equal(got[name], want[name])] == []


def test_a_run_is_not_written_over(data, whole):
    with pytest.raises(ValueError, match=r"holds a run already. Go on with it .--resume., or choose another --out"):
        train(options(data, "whole"))


def test_a_checkpoint_of_another_network_is_refused_and_kept(data, whole):
    before = final_state(whole[1])[1]
    with pytest.raises(ValueError, match=r"is of another network or recipe: .* Resume with the options of that run"):
        train(options(data, "whole", width=0.25, resume=True))
    after = final_state(whole[1])[1]
    assert all(np.array_equal(before[k], after[k]) for k in before)


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_checkpoint_before_is_whole(data, whole):
    chosen = dataclasses.replace(killed(data, "full", after_checkpoint(5, 0.0)), resume=True)
    at, before = final_state(chosen.out)
    words = ["sh", "-c", 'ulimit -f 200; exec "$@"', "sh", *arguments(chosen)]  # no file may grow beyond some 100 kB
    process = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert process.returncode == 1
    said = rf"^error: a checkpoint could not be written to .*Make room on the disk; that of step {at} is whole"
    assert re.search(said, process.stderr, re.MULTILINE), process.stderr
    step, after = final_state(chosen.out)
    assert step == at
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert train(chosen) is not None
    assert final_state(chosen.out)[0] == final_state(whole[1])[0]


def test_a_run_goes_on_only_with_the_options_it_began_with(data, whole):
    before = (whole[1] / "log.csv").read_bytes()
    with pytest.raises(ValueError, match=r"the run began with --seed 0 .now 1.\. Go on with the options it began with"):
        train(options(data, "whole", log_ratios=True, seed=1, resume=True))
    assert (whole[1] / "log.csv").read_bytes() == before


def test_every_option_that_decides_a_run_is_compared(tmp_path):
    base = Options()
    (tmp_path / "hyp.yaml").write_text(SCENES_HYP.read_text().replace("lr0: 0.02", "lr0: 0.03"))
    (tmp_path / "same.yaml").write_text(SCENES_HYP.read_text())
    for changes, said in (
        ({"epochs": 40}, "--epochs 36 .now 40."), ({"bf16": True}, "--bf16 False .now True."),
        ({"freeze": ("backbone/**",)}, "--freeze"), ({"size": "s"}, "--width 0.25 .now 0.5."),
        ({"hyp": tmp_path / "hyp.yaml"}, "--hyp: lr0 0.02 .now 0.03."),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            check_the_same(Options(**changes).decisive(), base.decisive())
    free = {"workers": 3, "out": tmp_path, "tensorboard": True, "patience": 5, "hyp": tmp_path / "same.yaml"}
    check_the_same(Options(**free).decisive(), base.decisive())


def test_a_log_takes_columns_that_come_later(tmp_path):
    said = {"loss": jnp.ones(()), "parts": jnp.ones(3), "hyper": {"weight": {"lr": jnp.ones(()), "momentum": 0.9}}}
    for start, more in ((0, {}), (1, {"ratio": {"weight": jnp.ones(())}}), (2, {})):
        journal = Journal(tmp_path, start=start, steps=3, steps_per_epoch=1, tensorboard=False, quiet=True)
        journal.quiet = False
        journal.step(start, said | more, 0.0)
        journal.close()
    np.testing.assert_array_equal(log(tmp_path)["ratio/weight"], [np.nan, 1, np.nan])


def test_resuming_nothing_is_refused(data):
    with pytest.raises(ValueError, match=r"holds no checkpoint. Start without --resume"):
        train(options(data, "nothing", resume=True))


def test_weights_start_another_run(whole):
    model = YOLOv5(10, 0.33, 0.125, rngs=nnx.Rngs(5))
    assert start_from(model, whole[1]) == []
    checkpoints = Checkpoints(whole[1] / "checkpoints", read_only=True)
    want = checkpoints.weights()
    checkpoints.close()
    assert all(np.array_equal(value, want[path]) for path, value in flat_state(model).items())

    other = YOLOv5(3, 0.33, 0.125, rngs=nnx.Rngs(5))
    head = np.asarray(other.head.levels[0].kernel[...])
    assert "the head starts anew" in start_from(other, whole[1])[0]
    np.testing.assert_array_equal(other.head.levels[0].kernel[...], head)
    np.testing.assert_array_equal(other.backbone[0].conv.kernel[...], want["backbone/0/conv/kernel"])

    with pytest.raises(ValueError, match=r"these weights are of another network"):
        start_from(YOLOv5(10, 1.0, 0.125, rngs=nnx.Rngs(5)), whole[1])
    with pytest.raises(ValueError, match=r"there is no such folder or file"):
        start_from(model, Path("nowhere"))


def test_weights_of_another_kind_are_refused_with_the_way_to_make_them(tmp_path):
    (tmp_path / "yolov5n.pt").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"yolov5n.pt is no .npz; from_torch.py says how"):
        start_from(YOLOv5(10, 0.33, 0.125, rngs=nnx.Rngs(5)), tmp_path / "yolov5n.pt")


def test_training_images_without_any_box_are_refused(tmp_path):
    folder = scenes(tmp_path / "scenes", {"train": 4, "val": 2})
    file = folder / "annotations" / "instances_train.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"annotations": []}))
    with pytest.raises(ValueError, match=r"none of the 4 training images has a box. Are the labels in place"):
        open_data(Options(data=folder))


def test_the_body_learns_slower_and_what_is_frozen_stays():
    recipe = js.ports.yolov5.recipe(HYP, epochs=2, steps_per_epoch=200, batch_size=64)
    tuned = frozen(head_and_body(recipe, 0.1), ("backbone/**",))
    params = {
        part: {"conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}} for part in ("backbone", "neck", "head")
    }
    params["neck"]["bn"] = {"scale": jnp.ones(2), "bias": jnp.ones(2)}
    tx = tuned.build(flatten=True)
    state, update = tx.init(params), jax.jit(tx.update)
    for _ in range(3):
        updates, state = update(jax.tree.map(jnp.ones_like, params), state, params)
    assert not np.any(updates["backbone"]["conv"]["kernel"])
    used = js.hyperparams(state)
    assert "frozen" not in used
    for group in ("weight", "bias"):
        np.testing.assert_allclose(used[f"body_{group}"]["lr"], 0.1 * used[group]["lr"], rtol=1e-6)
        assert used[f"body_{group}"]["weight_decay"] == used[group]["weight_decay"]
    np.testing.assert_allclose(
        updates["neck"]["conv"]["bias"], 0.1 * np.asarray(updates["head"]["conv"]["bias"]), rtol=1e-5
    )
    labels = js.groups.labels(params, tuned.rules)
    assert labels["neck"]["bn"] == {"scale": "body_norm", "bias": "body_bias"}


def test_early_stopping_is_yolov5s():
    stopper = Stopper(patience=3)
    fitness = [0.1, 0.2, 0.2, 0.1, 0.15, 0.3]
    assert [stopper(epoch, f) for epoch, f in enumerate(fitness)] == [False, False, False, False, True, False]
    constant = Stopper(patience=100)
    assert [constant(epoch, 0.0) for epoch in range(130)].index(True) == 100
    assert Stopper(3, **stopper.progress()).stops is False  # 0.3 was better
    assert Stopper(100, **constant.progress()).stops  # a run that is resumed after it stopped has stopped
    assert not any(Stopper(patience=0)(epoch, 0.0) for epoch in range(1000))


@pytest.mark.parametrize(
    ("line", "words"),
    [("lr0: abc", "lr0 is 'abc'; it must be a number"), ("- 1", "must hold lines such as 'lr0: 0.01'")],
)
def test_a_wrong_hyp_is_refused(tmp_path, line, words):
    (tmp_path / "hyp.yaml").write_text(line)
    with pytest.raises(ValueError, match=words):
        read_hyp(tmp_path / "hyp.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [("box", math.nan), ("fl_gamma", -1), ("anchor_t", 0), ("label_smoothing", 1), ("mosaic", 7), ("fliplr", -1),
     ("scale", 2), ("degrees", math.inf), ("hsv_h", -3)],
)  # fmt: skip
def test_a_number_of_the_hyp_out_of_its_range_is_refused(name, value):
    hyp = read_hyp(HYP) | {name: value}
    with pytest.raises(ValueError, match=f"hyp: {name} is {value:g}; it must be from"):
        Gains.from_hyp(hyp, classes=10, image_size=64), Augmentation.from_hyp(hyp)


def test_what_of_a_hyp_is_left_out_is_said():
    assert left_out(read_hyp(HYP)) == []
    assert "copy_paste 0.1 is left out: it needs outlines" in left_out({"copy_paste": 0.1, "anchors": 3.4})[0]
    assert "anchors 3.4 is left out" in left_out({"copy_paste": 0.1, "anchors": 3.4})[1]


def test_numbers_that_yaml_takes_for_words_are_numbers(tmp_path):
    (tmp_path / "hyp.yaml").write_text("weight_decay: 5e-4")
    assert read_hyp(tmp_path / "hyp.yaml") == {"weight_decay": 5e-4}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process": 0}, "--process: of use with --distributed only"),
        ({"distributed": True, "coordinator": "a:1", "processes": 2}, "only --coordinator --processes given"),
        (
            {"distributed": True, "coordinator": "a:1", "processes": 2, "process": 2},
            "--process is 2; it must be from 0",
        ),
    ],
)
def test_a_wrong_cluster_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Options(**changes)


@pytest.mark.parametrize(
    ("field", "value"), [("image_size", 100), ("epochs", 0), ("batch_size", -1), ("body_rate", 0.0)]
)
def test_wrong_options_are_refused(field, value):
    with pytest.raises(ValueError, match=f"--{field.replace('_', '-')} is {value}"):
        Options(**{field: value})
