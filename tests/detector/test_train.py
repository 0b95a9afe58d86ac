"""The training as a user meets it: it learns, it can be killed at any moment, it stops where it would do harm."""

import contextlib
import csv
import dataclasses
import io
import os
import random
import re
import struct
import subprocess
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

import jaxsched as js
from examples.detector import setup, train
from examples.detector.detector import Detector
from examples.detector.export import Export, export
from examples.detector.options import SCENES_HYP, read_hyp
from examples.detector.scenes import scenes
from examples.detector.setup import open_data
from examples.detector.sources import read_data
from examples.detector.validate import Validate, validate
from jaxsched.cli import main as jaxsched_command

from .tiny import STEPS_PER_EPOCH, command, final_state, log, options, weights

pytestmark = pytest.mark.usefixtures("compile_quickly")

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Few scenes, and compiled programs that all runs share."""
    folder = tmp_path_factory.mktemp("detector")
    scenes(folder / "scenes", {"train": 4 * STEPS_PER_EPOCH, "val": 4})
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """A run that nothing disturbs; what it printed is beside its files."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        evaluation = train.train(options(folder, "whole", log_ratios=True, tensorboard=True))
    (folder / "whole" / "printed.txt").write_text(printed.getvalue())
    return evaluation, folder / "whole"


def test_a_run_leaves_what_a_person_can_judge(whole):
    evaluation, out = whole
    assert 0 <= evaluation.map50 <= 1
    assert {path.name for path in out.iterdir()} >= {
        "log.csv", "results.csv", "checkpoints", "predictions.png", "losses.png", "hyperparameters.png", "labels.png",
        "training_batch.png", "confusion_matrix.png", "PR_curve.png", "P_curve.png", "R_curve.png", "F1_curve.png",
    }  # fmt: skip
    columns = log(out)
    assert columns["step"].tolist() == list(range(12))
    measured = np.isfinite(columns["metrics/mAP_0.5"])
    assert np.flatnonzero(measured).tolist() == [7, 11]
    assert np.isfinite(columns["val/box_loss"][measured]).all()
    recipe = js.ports.yolov5.recipe(SCENES_HYP, epochs=3, steps_per_epoch=4, batch_size=4)
    for group, curves in js.curves(recipe).items():
        applied = np.asarray(js.report.update_steps(recipe))
        np.testing.assert_allclose(columns[f"lr/{group}"][applied], curves["lr"][applied], rtol=1e-6)
        assert (columns[f"ratio/{group}"] >= 0).all()


def test_results_are_in_yolov5s_columns(whole):
    with (whole[1] / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "epoch", "train/box_loss", "train/obj_loss", "train/cls_loss", "metrics/precision", "metrics/recall",
        "metrics/mAP_0.5", "metrics/mAP_0.5:0.95", "val/box_loss", "val/obj_loss", "val/cls_loss", "x/lr0", "x/lr1",
        "x/lr2",
    ]  # fmt: skip
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    columns = log(whole[1])
    mean = columns["train/box_loss"][4:8].mean()
    assert float(rows[1]["train/box_loss"]) == pytest.approx(mean, rel=1e-6)
    recipe = js.ports.yolov5.recipe(SCENES_HYP, epochs=3, steps_per_epoch=4, batch_size=4)
    for k, group in enumerate(("bias", "weight", "norm")):
        want = js.curves(recipe)[group]["lr"][[3, 7, 11]]
        np.testing.assert_allclose([float(row[f"x/lr{k}"]) for row in rows], want, rtol=1e-6)


def test_the_run_passes_jaxsched_verify(whole, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["jaxsched", "verify", str(whole[1])])
    with pytest.raises(SystemExit) as ended:
        jaxsched_command()
    assert ended.value.code in (0, None)
    assert "3 of 3 epochs reproduced to the last printed digit" in capsys.readouterr().out


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
        (name.replace(":", "_"), int(step)): np.float32(value)  # tensorboardX allows no colon
        for name, values in columns.items()
        if name not in ("step", "epoch")
        for step, value in zip(columns["step"], values, strict=True)
        if np.isfinite(value)
    }
    assert {name.split("/")[0] for name, _ in want} >= {"train", "val", "metrics", "lr", "momentum", "ratio"}
    # TensorBoard holds float32; "waited" is rounded in both. The rest are the same floats.
    assert {key: np.float32(value) for key, value in board.items()} == want


def test_a_finished_run_that_is_resumed_is_evaluated_again(folder, whole):
    again = train.train(options(folder, "whole", log_ratios=True, resume=True))
    assert (again.map, again.losses) == (whole[0].map, whole[0].losses)


def test_what_is_printed_counts_epochs_from_1(whole):
    lines = (whole[1] / "printed.txt").read_text().splitlines()
    assert f"3 epochs at 32 pixels with the hyperparameters of {SCENES_HYP}" in lines
    compiling = lines.index("compiling the training step ...")
    assert re.match(r"compiled in \d+ s", lines[compiling + 1])
    assert lines[compiling + 2].split() == ["epoch", "box", "obj", "cls", "P", "R", "mAP50", "mAP50-95", "lr"]
    first = lines[compiling + 3].split()
    assert (first[0], len(first)) == ("1/3", 5)  # not evaluated
    second = lines[compiling + 4].split()
    assert (second[0], len(second)) == ("2/3", 9)
    assert re.match(r"mAP@0.5 \d.\d{4}, mAP@0.5:0.95 \d.\d{4}, \d+ s in all", lines[-2])


@pytest.mark.slow
def test_bfloat16_computes_and_float32_remembers(folder, whole):
    train.train(options(folder, "bf16", bf16=True, epochs=1))
    arrays = final_state(folder / "bf16")[1]
    assert {a.dtype for a in arrays.values() if a.dtype.kind == "f"} == {np.dtype(np.float32)}
    ours, single = log(folder / "bf16"), log(whole[1])
    # Each of some 60 layers in a row rounds to within 2^-8; errors of either sign add up as their root: 2^-8 sqrt(60).
    # Over the first steps the parameters hardly move (warm-up), so that this holds for all of them.
    difference = np.abs(ours["train/loss"] / single["train/loss"][:4] - 1)
    assert difference.max() < 2**-8 * 60**0.5
    assert difference.max() > 2**-20  # float32's would be below


@pytest.mark.slow
def test_multi_scale(folder, whole):
    """Batches of 32 and of 64 pixels, each size compiled once; the recipe is the same."""
    chosen = options(folder, "scaled", log_ratios=True, multi_scale=True)
    batches, _ = setup.open_batches(chosen, read_hyp(chosen.hyp), *open_data(chosen))
    assert {batch["image"].shape for batch in batches} == {(4, 32, 32, 3), (4, 64, 64, 3)}
    train.train(chosen)
    assert np.isfinite(log(chosen.out)["train/loss"]).all()
    assert js.verify(js.ports.yolov5.recipe(chosen.out / "opt.yaml", steps_per_epoch=4), chosen.out / "results.csv").ok


@pytest.mark.slow
def test_fine_tuning(folder, whole):
    chosen = options(folder, "tuned", weights=whole[1], body_rate=0.1, freeze=("backbone/**",), log_ratios=True)
    train.train(chosen)
    before, after = weights(whole[1]).arrays, final_state(chosen.out)[1]
    kept = {path: np.array_equal(after[f"state/params/{path}"], value) for path, value in before.items()
            if f"state/params/{path}" in after}  # fmt: skip
    same = {path for path, equal in kept.items() if equal}
    frozen = {path for path in kept if path.startswith("backbone/")}
    assert same >= frozen
    # In 12 steps of warm-up the scale of a norm, which is 1, may move by less than float32 can tell from 1.
    assert not [path for path in same - frozen if not path.endswith("bn/scale")]
    # YOLOv5 freezes by requires_grad alone: batch norm stays in training mode, and its statistics move.
    moved = [not np.array_equal(after[f"state/stats/{path}"], value) for path, value in before.items()
             if f"state/stats/{path}" in after and path.startswith("backbone/")]  # fmt: skip
    assert moved
    assert all(moved)
    columns = log(chosen.out)
    for group in ("weight", "bias"):
        np.testing.assert_allclose(columns[f"lr/body_{group}"], 0.1 * columns[f"lr/{group}"], rtol=1e-6)
    assert not columns["ratio/frozen"].any()


def test_a_run_that_diverges_stops_and_keeps_the_good_checkpoint(folder, whole, tmp_path, monkeypatch):
    """Both of its signs: a loss that is NaN, and parameters that are, after the last step of an epoch."""
    for diverged, said in (
        ("loss", r"the loss is nan at step 6 \(epoch 2\)"),
        ("params", "arrays of the state are not"),
    ):
        set_up = setup.set_up

        def diverging(chosen, diverged=diverged, set_up=set_up):
            run = set_up(chosen)
            step = run.step

            def bad(state, batch):
                state, metrics = step(state, batch)
                bad.steps += 1
                if diverged == "loss" and bad.steps > 6:
                    metrics["loss"] = metrics["loss"] * jnp.nan
                if diverged == "params" and bad.steps == 8:
                    state = state._replace(params=jax.tree.map(lambda x: x * jnp.nan, state.params))
                return state, metrics

            bad.steps = 0
            run.step = bad
            return run

        monkeypatch.setattr(train, "set_up", diverging)
        out = tmp_path / diverged
        with pytest.raises(FloatingPointError, match=f"{said}.* lower lr0 .*; the checkpoint of step 4 is good"):
            train.train(options(folder, out, log_ratios=True))
        # All steps that were taken are in the log, with the one that was not finite.
        assert log(out)["step"].tolist() == list(range(8))
        assert np.isfinite(log(out)["train/loss"][:6]).all()
        (path,) = (out / "checkpoints").glob("*.npz")
        with np.load(path) as file:
            assert all(np.isfinite(file[name]).all() for name in file.files if name.startswith("state/"))
        monkeypatch.undo()


def in_yolos_layout(coco, folder):
    """The data.yaml of a copy in YOLO's layout."""
    for split in ("train", "val"):
        data = read_data(coco, split)
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for image, boxes, classes in zip(data.images, data.boxes, data.classes, strict=True):
            os.link(image, folder / "images" / split / image.name)
            lines = [f"{c} {' '.join(map(str, box.tolist()))}\n" for c, box in zip(classes, boxes, strict=True)]
            (folder / "labels" / split / image.name).with_suffix(".txt").write_text("".join(lines))
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {[*data.names]}\n")
    return folder / "data.yaml"


def test_the_last_good_checkpoint_is_used(folder, whole, tmp_path):
    """Each of a bit flipped in an array, a file cut short, and a file of something else.

    The run has the same images in YOLO's layout, with a data.yaml: it is the same run.
    """
    chosen = options(folder, tmp_path / "out", log_ratios=True, data=in_yolos_layout(folder / "scenes", tmp_path))
    train.train(chosen)
    last = chosen.out / "checkpoints" / "step-0000012.npz"
    good = last.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for content in (bytes(flipped), good[: len(good) // 2], b"something else"):
        last.write_bytes(content)
        run = setup.set_up(dataclasses.replace(chosen, resume=True))
        assert run.start == 8
        assert any("is damaged" in note for note in run.notes)
        assert "resumed from step 8" in " ".join(run.notes)
    train.train(dataclasses.replace(chosen, resume=True))
    (step, got), (want_step, want) = final_state(chosen.out), final_state(whole[1])
    assert step == want_step
    assert [name for name in want if not np.array_equal(got[name], want[name])] == []
    recipe = js.ports.yolov5.recipe(chosen.out / "opt.yaml", steps_per_epoch=4)
    assert js.verify(recipe, chosen.out / "results.csv").ok


def killed(folder, out, number, wait=0.0, **changes):
    """Start a run in another process and kill it after the checkpoint of step `number`."""
    chosen = options(folder, out, log_ratios=True, **changes)
    process = subprocess.Popen(
        command(chosen), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    after_checkpoint(process, chosen.out, number, wait)
    process.kill()
    process.wait()
    return chosen


def after_checkpoint(process, out, number, wait=0.0):
    deadline = time.time() + 240
    while process.poll() is None and time.time() < deadline:
        if (out / "checkpoints" / f"step-{number:07d}.npz").exists():
            time.sleep(wait)
            return
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.0, random.Random(0).uniform(0.05, 0.3)])
def test_a_killed_run_resumes_to_the_same_bits(folder, whole, wait):
    chosen = killed(folder, f"killed_{wait:.2f}", 4, wait)
    train.train(dataclasses.replace(chosen, resume=True))
    (step, got), (want_step, want) = final_state(chosen.out), final_state(whole[1])
    assert step == want_step
    assert got.keys() == want.keys()
    assert [name for name in got if not np.array_equal(got[name], want[name])] == []
    for name in ("log.csv", "results.csv"):
        ours, theirs = (list(csv.DictReader((out / name).open(newline=""))) for out in (chosen.out, whole[1]))
        for row in (*ours, *theirs):
            row.pop("waited", None)
        assert [{k: float(v) for k, v in row.items() if v} for row in ours] == [
            {k: float(v) for k, v in row.items() if v} for row in theirs
        ]


@pytest.mark.slow
@pytest.mark.parametrize("step", [6, 8], ids=["in the middle of an epoch", "at the end of an evaluated epoch"])
def test_sigterm_to_all_its_processes_saves_and_the_run_goes_on(folder, whole, step):
    chosen = options(folder, f"asked_{step}", log_ratios=True, workers=1)
    script = Path(__file__).with_name("signalled_script.py")
    ended = subprocess.run(
        command(chosen, script, str(step)),
        cwd=ROOT,
        env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
        process_group=0,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert f"asked to end after step {step}; continue with --resume" in ended.stdout
    assert final_state(chosen.out)[0] == step
    train.train(dataclasses.replace(chosen, resume=True))
    got, want = final_state(chosen.out)[1], final_state(whole[1])[1]
    assert [name for name in want if not np.array_equal(got[name], want[name])] == []


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_checkpoint_before_is_whole(folder, whole):
    chosen = dataclasses.replace(killed(folder, "full", 4), resume=True)
    at, before = final_state(chosen.out)
    words = ["sh", "-c", 'ulimit -f 2000; exec "$@"', "sh", *command(chosen)]  # no file may grow beyond some 1 MB
    process = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=400)
    assert process.returncode == 1
    lines = [line for line in process.stderr.splitlines() if line.strip()]
    assert re.match(rf"error: a checkpoint could not be written to .*; step {at} is saved: go on with", lines[-1]), (
        lines
    )
    assert len(lines) == 1
    step, after = final_state(chosen.out)
    assert step == at
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_run_is_not_written_over(folder, whole):
    with pytest.raises(ValueError, match=r"holds a run already. Continue it .--resume., or choose another --out"):
        train.train(options(folder, "whole"))


def test_two_runs_in_a_folder_are_refused(folder, tmp_path):
    from examples.detector.lock import locked

    with (
        locked(tmp_path / "out"),
        pytest.raises(
            ValueError, match=rf"in use by another run .process {os.getpid()}.. Wait for it, or choose another --out"
        ),
    ):
        train.train(options(folder, tmp_path / "out"))


def test_a_checkpoint_of_another_network_is_refused_and_kept(folder, whole):
    before = final_state(whole[1])[1]
    with pytest.raises(ValueError, match=r"is of another network or recipe: .* Resume with the options of that run"):
        train.train(options(folder, "whole", width=0.0625, resume=True))
    after = final_state(whole[1])[1]
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_a_run_goes_on_only_with_the_options_it_began_with(folder, whole):
    before = (whole[1] / "log.csv").read_bytes()
    with pytest.raises(ValueError, match=r"the run began with --seed 0 .now 1.\. Resume with the options it began"):
        train.train(options(folder, "whole", log_ratios=True, seed=1, resume=True))
    assert (whole[1] / "log.csv").read_bytes() == before


def test_resuming_nothing_is_refused(folder):
    with pytest.raises(ValueError, match=r"holds no checkpoint. Start without --resume"):
        train.train(options(folder, "nothing", resume=True))


def test_training_images_without_any_box_are_refused(folder, tmp_path):
    data = tmp_path / "data"
    for split in ("train", "val"):
        (data / "images" / split).mkdir(parents=True)
        os.link(next((folder / "scenes" / split).glob("*.png")), data / "images" / split / "a.png")
        (data / "labels" / split).mkdir(parents=True)
        (data / "labels" / split / "a.txt").write_text("")
    (data / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a]\n")
    with pytest.raises(ValueError, match=r"none of the 1 training images has a box. Are the labels in place"):
        open_data(options(folder, "none", data=data))


def test_validate_gives_the_numbers_of_the_training(folder, whole, tmp_path, capsys):
    """The best checkpoint is evaluated; of equal ones the first, so that its mAP is the largest of the log."""
    out = tmp_path / "validated"
    evaluation = validate(Validate(weights=whole[1], data=folder / "scenes", out=out, batch_size=4))
    columns = log(whole[1])
    fitness = 0.1 * columns["metrics/mAP_0.5"] + 0.9 * columns["metrics/mAP_0.5:0.95"]
    assert evaluation.fitness == pytest.approx(np.nanmax(fitness), rel=1e-5)
    assert {p.name for p in out.iterdir()} >= {"predictions.json", "ground_truth.json", "PR_curve.png"}
    printed = capsys.readouterr().out
    assert "mAP50-95" in printed
    assert re.search(r"^\d+\.\d ms an image; files are in", printed, re.M)


def test_the_exported_file_finds_what_the_detector_finds(folder, whole, capsys):
    from jax import export as jax_export

    path = export(Export(weights=whole[1]))
    assert "boxes differ by at most" in capsys.readouterr().out
    detector = Detector.load(whole[1], confidence=1e-5)
    image = detector.size
    pixels = np.random.default_rng(0).integers(0, 256, (3, image, image, 3), np.uint8)
    program = jax_export.deserialize(bytearray(path.read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    _, scores, classes = program.call(pixels, np.float32(1e-5), np.float32(0.45))
    for row, numbers, boxes in zip(scores, classes, detector.each(pixels, 3), strict=True):
        count = int((row > 0).sum())
        assert count == len(boxes)
        np.testing.assert_allclose(row[:count], [box.score for box in boxes], rtol=1e-4)
        assert numbers[:count].tolist() == [box.number for box in boxes]
