"""The logs: what an interrupted run left is continued, what is damaged is one line, and a NaN stops the run."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from examples.detector.journal import Journal
from examples.detector.options import SCENES_HYP, Options
from examples.detector.pictures import read_log
from examples.detector.setup import rates, run_recipe


def metrics(loss=1.0, **more):
    return {"loss": jnp.asarray(loss), "parts": jnp.ones(3),
            "hyper": {"weight": {"lr": jnp.ones(()), "momentum": 0.9}}} | more  # fmt: skip


def journal(folder, start=0, **options):
    return Journal(folder, start=start, steps_per_epoch=2, rates={"weight": np.arange(10.0)}, **options)


def test_a_log_takes_columns_that_come_later(tmp_path):
    for start, more in ((0, {}), (1, {"ratio": {"weight": jnp.ones(())}}), (2, {})):
        written = journal(tmp_path, start)
        written.step(start, metrics(**more), 0.0)
        written.close()
    np.testing.assert_array_equal(read_log(tmp_path / "log.csv")["ratio/weight"], [np.nan, 1, np.nan])


def test_rows_after_the_checkpoint_are_dropped_and_written_anew(tmp_path):
    for start, loss in ((0, 1.0), (2, 2.0)):
        written = journal(tmp_path, start)
        for step in range(start, 4):
            written.step(step, metrics(loss), 0.0)
            if step % 2:
                written.epoch(None)
        written.close()
    columns = read_log(tmp_path / "log.csv")
    assert columns["step"].tolist() == [0, 1, 2, 3]
    assert columns["train/loss"].tolist() == [1, 1, 2, 2]
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], float(row["x/lr0"])) for row in rows] == [("0", 1), ("1", 3)]


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path):
    written = journal(tmp_path)
    written.step(0, metrics(), 0.0)
    written.step(1, metrics(float("nan")), 0.0)
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 1 \(epoch 1\)"):
        written.flush()
    written.close()
    np.testing.assert_array_equal(read_log(tmp_path / "log.csv")["train/loss"], [1, np.nan])


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("\n1,", "\nx,"), lambda text: text[: text.rindex("\n", 0, -1) - 30],
        lambda text: "something else", lambda text: text + "9\n", lambda text: text.replace("step", "stop"),
        lambda text: text.replace("0,0,", "\0"),
    ],
)  # fmt: skip
def test_a_damaged_log_is_one_line(tmp_path, damage):
    written = journal(tmp_path)
    for step in range(4):
        written.step(step, metrics(), 0.0)
    written.close()
    file = tmp_path / "log.csv"
    file.write_text(damage(file.read_text()))
    with pytest.raises(ValueError, match=r"log.csv is damaged .*Move it away") as caught:
        journal(tmp_path, start=10 if file.read_text().endswith("9\n") else 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "chosen",
    [
        {}, {"epochs": 5, "hyp": SCENES_HYP}, {"optimizer": "AdamW"}, {"cos_lr": True}, {"batch_size": 128},
        {"freeze": ("backbone/**",)}, {"body_rate": 0.1}, {"multi_scale": True},
    ],
)  # fmt: skip
def test_results_pass_jaxsched_verify_whatever_the_options(tmp_path, chosen):
    """Also with groups that YOLOv5 does not have, whose rates are in log.csv alone."""
    options = Options(data=tmp_path, out=tmp_path, **({"epochs": 40} | chosen))
    steps_per_epoch = 7
    recipe = run_recipe(options, steps_per_epoch)
    written = Journal(tmp_path, start=0, steps_per_epoch=steps_per_epoch, rates=rates(recipe))
    for step in range(options.epochs * steps_per_epoch):
        written.step(step, metrics(), 0.0)
        if (step + 1) % steps_per_epoch == 0:
            written.epoch(None)
    written.close()
    (tmp_path / "opt.yaml").write_text(options.as_opt_yaml())
    recipe = js.ports.yolov5.recipe(tmp_path / "opt.yaml", steps_per_epoch=steps_per_epoch)
    assert js.verify(recipe, tmp_path / "results.csv").ok
    wrong = js.ports.yolov5.recipe(tmp_path / "opt.yaml", steps_per_epoch=steps_per_epoch + 1)
    assert not js.verify(wrong, tmp_path / "results.csv").ok
