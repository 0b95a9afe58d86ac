"""Logs of each kind: what is read of them, what is tried, what differs, and the command."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxsched as js
from jaxsched.cli._app import app
from jaxsched.cli._source import naming_options
from jaxsched.ports.shared import MissingError
from jaxsched.verification import read_log

RECIPE = js.Recipe(
    "sgd",
    dict(lr=js.per_epoch(js.cosine(0.1, 10), 20), momentum=0.9, weight_decay=0.05),
    groups={"bias": {"lr": js.per_epoch(js.linear(0.2, 0.0, 10), 20), "weight_decay": 0.0}},
    steps=200,
    steps_per_epoch=20,
)
LR = np.asarray(js.curves(RECIPE)["weight"]["lr"])
BIAS = np.asarray(js.curves(RECIPE)["bias"]["lr"])


def lines(rows):
    return "\n".join(json.dumps(row) for row in rows)


LOGS = {
    "results.csv": "   epoch,  x/lr0,  x/lr1\n"
    + "\n".join(f"{e}, {BIAS[20 * e + 19]:.5g}, {LR[20 * e + 19]:.5g}" for e in range(10)),
    "summary.csv": "epoch,train_loss,lr\n" + "\n".join(f"{e},1.0,{LR[20 * e]!s}" for e in range(10)),
    "metrics.json": lines([{"iteration": i, "lr": float(LR[i]), "loss": 1.0} for i in range(0, 200, 20)]),
    "scalars.json": lines([{"lr": float(LR[s - 1]), "epoch": 1, "iter": s, "step": s} for s in range(10, 201, 10)]),
    "20.log.json": lines(
        [{"env_info": "x", "seed": 0}]
        + [{"mode": "train", "epoch": s // 20 + 1, "iter": s % 20 + 1, "lr": float(LR[s])} for s in range(9, 200, 10)]
        + [{"mode": "val", "epoch": 1, "iter": 500, "lr": 9.0}]
    ),
    "trainer_state.json": json.dumps(
        {"log_history": [{"step": s, "epoch": s / 20, "learning_rate": float(LR[s])} for s in range(10, 200, 10)]
         + [{"step": 199, "train_loss": 1.0}]}
    ),
    "train_log.txt": "2024-01-01 | INFO - epoch 1\n" + "\n".join(
        f"2024-01-01 | INFO | epoch: {(s - 1) // 20 + 1}/10, iter: {(s - 1) % 20 + 1}/20, mem: 1Mb, "
        f"lr: {LR[s]:.3e}, size: 640"
        for s in range(10, 200, 10)
    ),
    "log_rank0.txt": "\n".join(
        f"INFO Train: [{(s - 1) // 20}/10][{(s - 1) % 20}/20]\teta 1 day, 0:10:52 lr {LR[s]:.6f}\t wd 0.0500"
        for s in range(1, 200, 10)
    ),
    "stdout.log": "\n".join(
        f'json_stats: {{"_type": "train_iter", "epoch": "{s // 20 + 1}/10", "eta": "0 days", '
        f'"iter": "{s % 20 + 1}/20", "loss": 6.9, "lr": {LR[s]:.4f}, "mem": 9}}'
        for s in range(0, 200, 10)
    ),
    "paddle.log": "\n".join(
        f"ppdet.engine INFO: Epoch: [{s // 20}] [{s % 20:2d}/20] learning_rate: {LR[s]:.6f} loss: 2.9 eta: 1 day, 0:1:1"
        for s in range(0, 200, 10)
    ),
    "tfod.log": "\n".join(
        f"Step {s} per-step time 0.5s\nI0316 Step {s} per-step time 0.5s\n"
        f"{{'Loss/total_loss': 1.5,\n 'learning_rate': {LR[s]!s}}}\nI0316 {{'learning_rate': {LR[s]!s}}}"
        for s in range(0, 200, 10)
    ),
    "modelgarden.log": "\n".join(
        f"train | step: {s:6d} | until {s + 10}\ntrain | step: {s + 10:6d} | steps/sec:    2.3 | output:\n"
        f"    {{'learning_rate': {LR[s + 10]!s},\n     'training_loss': 4.1}}"
        for s in range(0, 180, 10)
    ),
    "darknet.log": "Loaded: 0.1 seconds\n" + "\n".join(
        f"\n {s + 1}: 93.1, 95.2 avg loss, {LR[s]:.6f} rate, 1.5 seconds, 64 images" for s in range(0, 200, 9)
    ),
    "torchvision.log": "Not using distributed mode\n" + "\n".join(
        f"Epoch: [{s // 20}]  [{s % 20:2d}/20]  eta: 0:00:03  lr: {float(LR[s])!r}  img/s: 512.1  loss: 0.69  time: 0.1"
        for s in range(0, 200, 10)
    ),
    "deit.log": "\n".join(
        f"Epoch: [{s // 20}]  [{s % 20:2d}/20]  eta: 0:00:03  lr: {LR[s]:.6f}  loss: 6.9 (6.9)  time: 0.1  data: 0.1"
        for s in range(0, 200, 10)
    ),
    "dfine.log": "\n".join(
        f"Epoch: [{s // 20}/10]  [{s % 20:2d}/20]  eta: 0:00:03  lr: {LR[s]:.6f}  loss: 6.9 (6.9)  time: 0.1  data: 0.1"
        for s in range(0, 200, 10)
    ),
    "log.txt": lines([{"train_lr": float(LR[20 * e : 20 * e + 20].mean(dtype=float)), "epoch": e} for e in range(10)]),
    "big_vision_metrics.txt": lines(
        [{"step": s, "global_schedule": float(LR[s - 1] / 0.2), "training_loss": 1.0} for s in range(10, 200, 10)]
        + [{"step": 200, "val/acc": 0.5}]
    ),
    "deepspeed.log": "\n".join(
        f"[INFO] [Rank 0] step={s}, skipped=0, lr=[{float(LR[s])!r}, {float(BIAS[s])!r}], mom=[0.9, 0.9]"
        for s in range(10, 200, 10)
    ),
    "metrics.csv": "epoch,step,lr-SGD/pg1,lr-SGD/pg2,loss\n"
    + "\n".join(f"{s // 20},{s},{LR[s]:.9g},{BIAS[s]:.9g},\n{s // 20},{s},,,0.5" for s in range(0, 200, 7)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_each_kind_of_log_is_reproduced(name, tmp_path):
    (tmp_path / name).write_text(LOGS[name])
    verdict = js.verify(RECIPE, tmp_path / name)
    assert verdict.ok, verdict
    assert verdict.rows >= 10
    assert set(verdict.groups.values()) <= {"weight", "norm or weight", "bias", "bias or norm or weight"} | {
        group for group in verdict.groups.values() if "weight" in group or group == "bias"
    }


def test_another_recipe_is_not(tmp_path):
    (tmp_path / "results.csv").write_text(LOGS["results.csv"])
    other = RECIPE.replace(hyperparameters=dict(lr=js.per_epoch(js.cosine(0.05, 10), 20)))
    verdict = js.verify(other, tmp_path / "results.csv")
    assert not verdict.ok
    assert verdict.first.column == "x/lr1"
    assert "the recipe's (" in str(verdict)


def test_a_tenth_of_the_lr_is_told(tmp_path):
    text = "step,lr\n" + "\n".join(f"{s},{LR[s] / 10:.6g}" for s in range(200))
    (tmp_path / "log.csv").write_text(text)
    verdict = js.verify(RECIPE, tmp_path / "log.csv")
    assert verdict.reproduced == 0
    assert verdict.reason == "the lr that was logged is 0.1 times the recipe's: another base lr or batch size"


CYCLE = js.Recipe(
    "adamw",
    dict(lr=js.one_cycle(0.1, 60), betas=(js.linear(0.95, 0.85, 30), 0.999), weight_decay=js.linear(0.04, 0.4, 60)),
    groups={"bias": {"weight_decay": 0.0}},
    steps=60,
)


@pytest.mark.parametrize("off", [None, "lr-AdamW/pg1-momentum", "lr-AdamW/pg2-weight_decay"])
def test_momentum_and_weight_decay_are_compared_where_they_are_logged(off, tmp_path):
    curves = js.curves(CYCLE)
    columns = {"step": np.arange(60), "lr-AdamW/pg1": curves["weight"]["lr"]}
    columns["lr-AdamW/pg1-momentum"] = curves["weight"]["momentum"]
    for k, group in enumerate(("weight", "bias"), 1):
        columns[f"lr-AdamW/pg{k}-weight_decay"] = curves[group]["weight_decay"]
    columns["ema_momentum"] = np.full(60, 0.123)
    if off is not None:
        columns[off] = columns[off] + 0.001 * (columns["step"] == 40)
    rows = [",".join(f"{value:.9g}" for value in row) for row in zip(*columns.values(), strict=True)]
    (tmp_path / "metrics.csv").write_text("\n".join([",".join(columns), *rows]))
    verdict = js.verify(CYCLE, tmp_path / "metrics.csv")
    if off is None:
        assert verdict.ok, verdict
        assert verdict.groups["lr-AdamW/pg2-weight_decay"] == "bias"
        assert list(verdict.groups) == [name for name in columns if name.startswith("lr")]
    else:
        assert (verdict.reproduced, verdict.first.column, verdict.first.clock) == (59, off, "step 40")


def test_where_the_lr_fits_in_each_way_the_other_columns_decide(tmp_path):
    """The log counts steps from 1, which a constant lr does not show."""
    recipe = js.Recipe("adamw", dict(lr=0.1, weight_decay=js.linear(0.04, 0.4, 60)), steps=60)
    decay = js.curves(recipe)["weight"]["weight_decay"]
    rows = [f"{s + 1},0.1,{decay[s]:.9g}" for s in range(60)]
    (tmp_path / "log.csv").write_text("\n".join(["step,lr,weight_decay", *rows]))
    verdict = js.verify(recipe, tmp_path / "log.csv")
    assert verdict.ok, verdict
    assert "lr of the step before" in str(verdict)


def test_groups_that_no_column_shows_are_named(tmp_path):
    (tmp_path / "log.csv").write_text("step,lr\n" + "\n".join(f"{s},{LR[s]:.6g}" for s in range(200)))
    verdict = js.verify(RECIPE, tmp_path / "log.csv")
    assert verdict.ok
    assert verdict.unseen == ("bias",)
    assert "not in the log: the lr of bias" in str(verdict)
    (tmp_path / "metrics.json").write_text(LOGS["deepspeed.log"])
    assert js.verify(RECIPE, tmp_path / "metrics.json").unseen == ()


def test_one_digit_off_is_found(tmp_path):
    rows = [f"{LR[20 * e + 19]:.5g}" for e in range(10)]
    rows[6] = f"{float(rows[6]) * (1 + 3e-5):.5g}"
    (tmp_path / "log.csv").write_text("epoch,lr\n" + "\n".join(f"{e},{lr}" for e, lr in enumerate(rows)))
    verdict = js.verify(RECIPE, tmp_path / "log.csv")
    assert (verdict.reproduced, verdict.first.row, verdict.first.clock) == (9, 6, "epoch 6")


def test_damaged_and_repeated_rows_are_said(tmp_path):
    text = LOGS["results.csv"].splitlines()
    text = [*text[:4], "3, nan, nan", *text[4:6], text[5], *text[6:]]
    (tmp_path / "results.csv").write_text("\n".join(text))
    verdict = js.verify(RECIPE, tmp_path / "results.csv")
    assert verdict.ok
    assert verdict.found[:2] == (
        "1 damaged row passed over",
        "1 row logged again later, after a stop; the last one counts",
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "epoch,loss\n1,2\n", "no column has a learning rate"),
        ("a.csv", "lr\n0.1\n", "no column has step"),
        ("a.csv", "", "no column has a learning rate"),
        ("a.json", "[1, 2]", "neither rows of JSON nor a log_history"),
        ("a.csv", "epoch,lr\nx,y\n", "no column has a learning rate"),
    ],
)
def test_what_is_no_log(name, text, said, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        read_log(tmp_path / name)


HYP = dict(
    lr0=0.01, lrf=0.1, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)


@pytest.fixture
def run(tmp_path):
    """The folder of a run of YOLOv5 6.1, small enough for its floor of 1000 iterations to matter."""
    options = {"hyp": HYP, "epochs": 40, "batch_size": 16, "optimizer": "SGD", "cos_lr": False}
    recipe = js.ports.yolov5.recipe(options, steps_per_epoch=41, version="6.1")
    curves = js.curves(recipe, np.arange(40, 40 * 41, 41))
    rows = [
        f"{e},{b:.5g},{w:.5g}"
        for e, (b, w) in enumerate(zip(curves["bias"]["lr"], curves["weight"]["lr"], strict=True))
    ]
    (tmp_path / "opt.yaml").write_text(json.dumps(options))
    (tmp_path / "results.csv").write_text("\n".join(["epoch,x/lr0,x/lr1", *rows]))
    return tmp_path


def call(*words):
    return CliRunner().invoke(app, ["verify", *map(str, words)])


def test_the_command_solves_for_what_is_not_said(run):
    result = call(run)
    assert result.exit_code == 0, result.output
    assert "40 of 40 epochs reproduced to the last printed digit" in result.stdout
    assert "steps per epoch 41 (40 and 42 do not fit)" in result.stdout
    assert "version 6.1" in result.stdout
    assert "x/lr0 is bias, x/lr1 is norm or weight" in result.stdout


def test_the_command_says_what_differs(run):
    text = (run / "results.csv").read_text().splitlines()
    text[20] = "19,0.05,0.05"
    (run / "results.csv").write_text("\n".join(text))
    result = call(run, "--json", "--log", run / "results.csv")
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert (content["ok"], content["reproduced"], content["first"]["clock"]) == (False, 39, "epoch 19")


def test_the_command_on_what_it_cannot_read(run):
    (run / "results.csv").unlink()
    result = call(run)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the folder has no known log" in result.stderr


def test_the_picture_has_the_points_of_the_log(run):
    pytest.importorskip("matplotlib")
    assert call(run, "--out", run / "verdict.png").exit_code == 0
    assert (run / "verdict.png").read_bytes().startswith(b"\x89PNG")


def test_the_points_of_the_log_are_those_of_the_picture_and_of_the_page(run):
    recipe = js.Recipe("sgd", dict(lr=js.linear(0.1, 0.0, 40)), steps=40, steps_per_epoch=10)
    steps = np.array([9, 19, 29, 39])
    values = [0.1 - 0.0025 * step for step in steps]
    (run / "metrics.csv").write_text("epoch,lr\n" + "".join(f"{e},{v:.6g}\n" for e, v in enumerate(values)))
    points = js.verification.points(recipe, run / "metrics.csv")
    assert list(points) == ["lr"]
    np.testing.assert_array_equal(points["lr"][0], steps)
    np.testing.assert_allclose(points["lr"][1], values, rtol=1e-5)  # as printed
    log = js.verification.read_log(run / "metrics.csv")
    verdict = js.verify(recipe, log)
    axis = js.verification.draw(recipe, log, verdict).axes[0]
    (drawn,) = [line for line in axis.lines if line.get_gid() == "log"]
    np.testing.assert_array_equal(drawn.get_xdata(), steps)
    pytest.importorskip("bokeh")
    content = js.verification.draw(recipe, log, verdict, run / "page.html")
    assert "lr (log)" in content
    assert (run / "page.html").read_text(encoding="utf-8") == content


def test_a_long_log_is_drawn_in_part():
    """Of 30,000 rows 20,000 are compared, and these are drawn."""
    recipe = js.Recipe("sgd", dict(lr=0.5), steps=30_000)
    log = js.verification.Log("log", {"lr": ("0.5",) * 30_000}, step=np.arange(30_000.0))
    steps, values = js.verification.points(recipe, log)["lr"]
    assert steps.shape == values.shape == (20_000,)
    assert (steps[0], steps[-1]) == (0, 29_999)


def test_the_batch_that_autobatch_chose_is_not_asked_for(tmp_path):
    args = dict(task="detect", mode="train", epochs=9, batch=16, optimizer="SGD", lr0=0.01, lrf=0.01)
    recipe = js.ports.ultralytics.recipe(args, steps_per_epoch=40, version="8.3.0")
    curves = js.curves(recipe, np.arange(39, 360, 40))
    rows = [f"{e},{lr:.5g}" for e, lr in enumerate(curves["weight"]["lr"], 1)]
    (tmp_path / "results.csv").write_text("\n".join(["epoch,lr/pg0", *rows]))
    (tmp_path / "args.yaml").write_text(json.dumps({**args, "batch": -1}))
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "steps per epoch 40 (39 and 41 do not fit)" in result.stdout
    assert "AutoBatch chose the batch; 16 is assumed" in result.stdout


def test_what_is_missing_is_named_as_an_option():
    with pytest.raises(ValueError, match=r"a\.yaml: its batch is missing; give --batch-size"), naming_options():
        raise MissingError("a.yaml", "its batch is missing", ["batch_size"])
