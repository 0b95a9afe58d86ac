"""Run folders as OpenMMLab and the Trainer of Hugging Face leave them: nothing is given but the folder."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxsched as js
from jaxsched.cli._app import app

CONFIG = """
model = dict(type='FasterRCNN')
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', warmup='linear', warmup_iters=30, warmup_ratio=0.001, step=[3, 5])
runner = dict(type='EpochBasedRunner', max_epochs=6)
"""
PER_EPOCH, EPOCHS = 47, 6


def call(*words):
    return CliRunner().invoke(app, ["verify", *map(str, words)])


def lines(rows):
    return "\n".join(map(json.dumps, [{"env_info": "x"}, *rows]))


def mmcv_rows(lr, per_epoch):
    """Every tenth iteration of each epoch; numbers are rounded to five decimals."""
    return [
        {"mode": "train", "epoch": e + 1, "iter": i, "lr": round(float(lr[e * per_epoch + i - 1]), 5)}
        for e in range(len(lr) // per_epoch)
        for i in range(10, per_epoch + 1, 10)
    ]


@pytest.fixture
def work_dir(tmp_path):
    (tmp_path / "a.py").write_text(CONFIG)
    lr = js.curves(js.ports.openmmlab.read(tmp_path / "a.py", steps_per_epoch=PER_EPOCH))["weight"]["lr"]
    (tmp_path / "20210812_190636.log.json").write_text(lines(mmcv_rows(lr, PER_EPOCH)))
    return tmp_path


def test_a_work_dir_of_mmcv(work_dir):
    (work_dir / "20210812_200000.log.json").write_text(lines([]))  # a later start that broke off
    result = call(work_dir)
    assert result.exit_code == 0, result.output
    assert "20210812_190636.log.json against" in result.stdout
    assert "24 of 24 rows reproduced" in result.stdout
    assert "steps per epoch 40 to 49, by the log's clocks; the shortest and the longest fit" in result.stdout


def test_a_config_with_another_lr_is_told(work_dir):
    (work_dir / "a.py").write_text(CONFIG.replace("lr=0.02", "lr=0.0025"))
    result = call(work_dir)
    assert result.exit_code == 1
    assert "times the recipe's: another base lr or batch size" in result.stdout
    factor = float(result.stdout.split("logged is ")[1].split()[0])
    assert factor == pytest.approx(8, rel=0.02)  # within the five decimals that are printed


def test_several_configs_in_a_folder(work_dir):
    (work_dir / "b.py").write_text(CONFIG)
    result = call(work_dir)
    assert result.exit_code == 2
    assert "has several files of an OpenMMLab config (a.py, b.py); give the file and --log" in result.stderr


def test_a_runner_that_counts_iterations(tmp_path):
    text = CONFIG.replace("step=[3, 5]", "step=[120, 200], by_epoch=False")
    (tmp_path / "a.py").write_text(
        text.replace("type='EpochBasedRunner', max_epochs=6", "type='IterBasedRunner', max_iters=282")
    )
    lr = js.curves(js.ports.openmmlab.read(tmp_path / "a.py", steps_per_epoch=PER_EPOCH))["weight"]["lr"]
    rows = [
        {"mode": "train", "epoch": i // 47 + 1, "iter": i, "lr": round(float(lr[i - 1]), 5)} for i in range(10, 283, 10)
    ]
    (tmp_path / "a.log.json").write_text(lines(rows))
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "28 of 28 rows reproduced" in result.stdout


def test_a_work_dir_of_mmengine(tmp_path):
    text = """
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', T_max=6, by_epoch=True, begin=0, end=6, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=6)
"""
    data = tmp_path / "20240101_120000" / "vis_data"
    data.mkdir(parents=True)
    (data / "config.py").write_text(text)
    lr = js.curves(js.ports.openmmlab.read(data / "config.py", steps_per_epoch=PER_EPOCH))["weight"]["lr"]
    rows = [{"lr": float(lr[s]), "epoch": s // PER_EPOCH + 1, "iter": s + 1, "step": s + 1} for s in range(9, 282, 10)]
    (data / "scalars.json").write_text("\n".join(map(json.dumps, rows)))
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "28 of 28 rows reproduced" in result.stdout
    assert "steps per epoch 47, by the log's clocks" in result.stdout


ARGS = dict(
    learning_rate=3e-4, lr_scheduler_type="cosine", num_train_epochs=3, gradient_accumulation_steps=4, warmup_steps=5
)


@pytest.mark.parametrize("decimals", [2, 17])
def test_a_folder_of_the_trainer(decimals, tmp_path):
    """Of 4 batches per update, 25 updates to an epoch; older releases round the epoch to 2 decimals."""
    recipe = js.ports.huggingface.recipe(ARGS, steps_per_epoch=100)
    lr = np.append(js.curves(recipe)["decay"]["lr"][::4], 0.0)
    history = [{"step": k, "epoch": round(k / 25, decimals), "learning_rate": float(lr[k])} for k in range(5, 76, 5)]
    for step in (900, 1000):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "training_args.json").write_text(json.dumps(ARGS))
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": history if step == 1000 else []}))
    (tmp_path / "training_args.json").write_text(json.dumps(ARGS))
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "checkpoint-1000" in result.stdout
    assert "15 of 15 rows reproduced" in result.stdout
    assert "updates per epoch 25" in result.stdout
    assert "; 100 batches are assumed" in result.stdout
    assert "updates of 4 batches in the log" in result.stdout


def test_a_pointer_of_git_lfs(tmp_path):
    (tmp_path / "opt.yaml").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:84\nsize 1209\n")
    assert "opt.yaml is a pointer of Git LFS, not the file" in call(tmp_path).stderr


def test_a_log_without_learning_rates(tmp_path):
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\nlrf: 0.1\nwarmup_bias_lr: 0.1\nmomentum: 0.9\nwarmup_epochs: 3\n")
    (tmp_path / "results.txt").write_text("  0/299  5.33G  0.08\n")
    result = call(tmp_path)
    assert result.exit_code == 2
    assert "a results.txt, as of YOLOv5 to 5.0, YOLOR and YOLOv7, has no learning rates" in result.stderr


def test_rows_of_an_earlier_run_in_the_log(tmp_path):
    lr = js.curves(js.Recipe("sgd", dict(lr=js.linear(0.1, 0.0, 400)), steps=400))["weight"]["lr"]
    rows = [{"iteration": i, "lr": 0.003 * i} for i in range(10, 100, 10)]
    rows += [{"iteration": i, "lr": float(lr[i])} for i in range(5, 400, 10)]
    (tmp_path / "metrics.json").write_text("\n".join(map(json.dumps, rows)))
    verdict = js.verify(js.Recipe("sgd", dict(lr=js.linear(0.1, 0.0, 400)), steps=400), tmp_path / "metrics.json")
    assert verdict.reason.startswith("the first 9 rows follow other settings: of an earlier run whose log went on")


HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)


def yolo_run(folder, epochs, rows, **options):
    """Rows of a results.csv of YOLOv5 7.0 with 400 batches an epoch."""
    said = {"hyp": HYP, "epochs": epochs, "batch_size": 16, "optimizer": "SGD", "cos_lr": False, **options}
    recipe = js.ports.yolov5.recipe({**said, "batch_size": 16}, steps_per_epoch=400, version="7.0")
    curves = js.curves(recipe, (np.asarray(rows) + 1) * 400 - 1)
    (folder / "opt.yaml").write_text(json.dumps(said))
    return [f"{e},{b:.5g},{w:.5g}" for e, b, w in zip(rows, curves["bias"]["lr"], curves["weight"]["lr"], strict=True)]


def test_a_run_that_was_resumed_with_more_epochs(tmp_path):
    later = yolo_run(tmp_path, 40, range(25, 40))
    rows = yolo_run(tmp_path, 25, range(25)) + later
    (tmp_path / "results.csv").write_text("\n".join(["epoch,x/lr0,x/lr1", *rows]))
    result = call(tmp_path)
    assert result.exit_code == 1
    assert "25 of 40 epochs reproduced" in result.stdout
    assert "epochs 25 to 39 are those of a run of 40 epochs: it was resumed so" in result.stdout


def test_a_file_that_a_later_run_of_one_epoch_wrote(tmp_path):
    rows = yolo_run(tmp_path, 12, range(12))
    (tmp_path / "results.csv").write_text("\n".join(["epoch,x/lr0,x/lr1", *rows]))
    yolo_run(tmp_path, 1, range(1))
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "epochs 12, as the log has and the file does not" in result.stdout
    assert "steps per epoch 400" in result.stdout


def test_the_batch_that_autobatch_of_yolov5_chose(tmp_path):
    rows = yolo_run(tmp_path, 12, range(12), batch_size=-1)
    (tmp_path / "results.csv").write_text("\n".join(["epoch,x/lr0,x/lr1", *rows]))
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "AutoBatch chose the batch; 16 is assumed" in result.stdout


def test_groups_that_musgd_trains_at_three_times_the_lr(tmp_path):
    args = dict(task="detect", mode="train", epochs=12, batch=16, optimizer="auto", lr0=0.01, lrf=0.01)
    said = dict(steps_per_epoch=40, images=640, classes=1, outputs="last", boosted="cv3/**")
    curves = js.curves(js.ports.ultralytics.recipe(args, version="8.4.3", **said), np.arange(39, 480, 40))
    rates = [values["lr"] for values in curves.values()]
    columns = ",".join(f"lr/pg{k}" for k in range(len(rates)))
    rows = [",".join([str(e + 1), *(f"{rate[e]:.6g}" for rate in rates)]) for e in range(12)]
    (tmp_path / "results.csv").write_text("\n".join([f"epoch,{columns}", *rows]))
    (tmp_path / "args.yaml").write_text(json.dumps(args))
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "optimizer=auto came to MuSGD with lr 0.002" in result.stdout


def test_yolov5_face_logs_its_columns_one_late(tmp_path):
    said = {"hyp": {**HYP, "landmark": 0.005}, "epochs": 12, "batch_size": 16, "adam": False}
    lr = js.curves(js.ports.yolov5.recipe(said, steps_per_epoch=400), np.arange(399, 4800, 400))["weight"]["lr"]
    rows = [f"{e},{0.03 / (e + 1):.5g},{value},{value}" for e, value in enumerate(lr)]
    (tmp_path / "results.csv").write_text("\n".join(["epoch,x/lr0,x/lr1,x/lr2", *rows]))
    (tmp_path / "opt.yaml").write_text(json.dumps(said))
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "12 of 12 epochs reproduced" in result.stdout
    assert "steps per epoch 400" in result.stdout
    assert "x/lr0 is passed over: yolov5-face logs its columns one late: it is a loss" in result.stdout


LIGHTNING = """
trainer: {max_epochs: 8}
optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1, momentum: 0.9}}
lr_scheduler: {class_path: torch.optim.lr_scheduler.StepLR, init_args: {step_size: 1, gamma: 0.5}}
"""


@pytest.mark.parametrize(
    ("epochs", "says"),
    [(True, "steps per epoch 47 (46 and 48 do not fit)"), (False, "epoch 47 is assumed, the distance")],
)
def test_a_folder_of_lightning(epochs, says, tmp_path):
    """Rows with an lr have no epoch: other rows say how long one is, or else that there is a row of lr for each."""
    rows = [f"{0.1 * 0.5**e},0.9,{47 * e},," for e in range(8)]
    rows += [f",,{47 * e + 46},{e},0.25" for e in range(8) if epochs]
    (tmp_path / "metrics.csv").write_text("\n".join(["lr-SGD,lr-SGD-momentum,step,epoch,train_loss", *rows]))
    (tmp_path / "config.yaml").write_text(LIGHTNING)
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "8 of 8 rows reproduced" in result.stdout
    assert says in result.stdout


def test_a_log_that_ends_in_the_first_epoch(tmp_path):
    """Its clocks say that an epoch has 100 iterations at least; the warm-up, which counts epochs, says how many."""
    text = CONFIG.replace("warmup_iters=30", "warmup_iters=2, warmup_by_epoch=True")
    (tmp_path / "a.py").write_text(text)
    lr = js.curves(js.ports.openmmlab.read(tmp_path / "a.py", steps_per_epoch=2504))["weight"]["lr"]
    rows = [{"epoch": 1, "iter": k, "step": k, "lr": float(lr[k - 1])} for k in range(20, 101, 20)]
    (tmp_path / "scalars.json").write_text(lines(rows))  # as in vis_data, which is given itself
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "5 of 5 rows reproduced" in result.stdout
    (tmp_path / "a.py").write_text(
        text.replace("max_epochs=6", "max_epochs=20_000")
    )  # of 2^31 steps, if epochs are longer
    assert "steps per epoch 2504" in call(tmp_path).stdout
    assert "steps per epoch 2504 (2503 and 2505 do not fit)" in result.stdout


def test_updates_that_a_run_in_float16_skipped(tmp_path):
    """The Trainer does not step the scheduler when the scaler skips an update."""
    recipe = js.ports.huggingface.recipe(ARGS, steps_per_epoch=100)
    lr = js.curves(recipe)["decay"]["lr"][::4]
    history = [
        {"step": k, "epoch": k / 25, "learning_rate": float(lr[k - (3 if k < 30 else 5)])} for k in range(5, 75, 5)
    ]
    (tmp_path / "training_args.json").write_text(json.dumps(ARGS))
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    result = call(tmp_path)
    assert result.exit_code == 1, result.output
    assert "0 of 14 rows reproduced" in result.stdout
    assert re.search("likely: about [45] updates were skipped", result.stdout), result.stdout
