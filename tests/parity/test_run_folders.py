"""Folders of runs whose logs the originals' own schedulers write, in the digits that their trainers print: each is
verified with nothing given but the folder."""

import csv
import json
import warnings

import pytest
from typer.testing import CliRunner

from jaxsched.cli._app import app

torch = pytest.importorskip("torch")


def optimizer(lr):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def verified(folder, rows):
    result = CliRunner().invoke(app, ["verify", str(folder)])
    assert result.exit_code == 0, result.output
    assert f"{rows:,} of {rows:,} " in result.stdout


@pytest.fixture(scope="module")
def create_scheduler_v2():
    from _torchvision import declare_operators

    declare_operators()
    return pytest.importorskip("timm.scheduler").create_scheduler_v2


@pytest.mark.parametrize("sched", ["cosine", "step", "poly", "tanh", "multistep"])
@pytest.mark.parametrize("on_updates", [False, True])
def test_timm(create_scheduler_v2, tmp_path, sched, on_updates):
    given = dict(warmup_epochs=3, warmup_lr=1e-6, min_lr=1e-5, decay_epochs=7, decay_rate=0.5, decay_milestones=[8, 15])
    args = {**given, "epochs": 20, "cooldown_epochs": 2, "lr": 0.003, "opt": "sgd", "sched": sched, "model": "vit"}
    (tmp_path / "args.yaml").write_text(json.dumps({**args, "sched_on_updates": on_updates}))
    own, per_epoch = optimizer(0.003), 37
    more = dict(step_on_epochs=not on_updates, updates_per_epoch=per_epoch)
    scheduler, epochs = create_scheduler_v2(own, sched, num_epochs=20, cooldown_epochs=2, **given, **more)
    with (tmp_path / "summary.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "train_loss", "eval_top1", "lr"])
        for epoch in range(epochs):
            for update in range(1, per_epoch + 1):
                scheduler.step_update(epoch * per_epoch + update)
            writer.writerow([epoch, 1.0 / (epoch + 1), 50.0, own.param_groups[0]["lr"]])
            scheduler.step(epoch + 1, 50.0)
    verified(tmp_path, epochs)


@pytest.mark.parametrize("name", ["linear", "cosine", "polynomial", "constant_with_warmup"])
@pytest.mark.parametrize(("every", "digits"), [(1, 2), (4, 2), (4, 16)])
def test_hugging_face(tmp_path, name, every, digits):
    """The Trainer logs the lr of the next update; its epochs had two digits, and have all of them today."""
    get_scheduler = pytest.importorskip("transformers.optimization").get_scheduler
    batches, epochs = 203, 4
    updates = -(-batches // every) * epochs
    own = optimizer(2e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = get_scheduler(name, own, num_warmup_steps=20, num_training_steps=updates)
        rows = []
        for update in range(1, updates + 1):
            own.step()
            scheduler.step()
            if update % 10 == 0:
                lr, epoch = scheduler.get_last_lr()[0], round(update / updates * epochs, digits)
                rows.append({"epoch": epoch, "step": update, "loss": 1.0, "learning_rate": lr})
    args = dict(learning_rate=2e-5, lr_scheduler_type=name, warmup_steps=20, num_train_epochs=float(epochs))
    args |= dict(per_device_train_batch_size=8, gradient_accumulation_steps=every)
    (tmp_path / "training_args.json").write_text(json.dumps(args))
    (tmp_path / "trainer_state.json").write_text(
        json.dumps({"log_history": [*rows, {"step": updates, "eval_loss": 1}]})
    )
    verified(tmp_path, len(rows))


@pytest.mark.parametrize("name", ["WarmupMultiStepLR", "WarmupCosineLR"])
def test_detectron2(tmp_path, name):
    """Its schedulers are fvcore's; a row of metrics.json has the lr of its own iteration."""
    fvcore = pytest.importorskip("fvcore.common.param_scheduler")
    length, steps, warm = 2000, [1200, 1700], 300
    solver = f"BASE_LR: 0.02, MAX_ITER: {length}, STEPS: [1200, 1700], WARMUP_ITERS: {warm}, LR_SCHEDULER_NAME: {name}"
    (tmp_path / "config.yaml").write_text(f"MODEL: {{META_ARCHITECTURE: RetinaNet}}\nSOLVER: {{{solver}}}\n")
    if name == "WarmupCosineLR":
        after = fvcore.CosineParamScheduler(1.0, 0.0)
    else:
        after = fvcore.MultiStepParamScheduler([1.0, 0.1, 0.01], length, steps)
    share = warm / length
    warmed = fvcore.LinearParamScheduler(0.001 * after(0.0), after(share))
    multiplier = fvcore.CompositeParamScheduler([warmed, after], [share, 1 - share], ["rescaled", "fixed"])
    rows = [{"iteration": i, "lr": 0.02 * multiplier(i / length), "total_loss": 1.0} for i in range(19, length, 20)]
    (tmp_path / "metrics.json").write_text("\n".join(map(json.dumps, rows)))
    verified(tmp_path, len(rows))


def test_mmengine(tmp_path, originals):
    """Its LoggerHook writes the lr before the schedulers step, and counts iterations from 1."""
    from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR

    per_epoch, epochs = 47, 6
    (tmp_path / "config.py").write_text(
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))\n"
        "param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),\n"
        "    dict(type='CosineAnnealingLR', T_max=6, by_epoch=True, begin=0, end=6, convert_to_iter_based=True)]\n"
        "train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=6)\n"
    )
    own = optimizer(0.01)
    schedulers = [
        LinearLR(own, start_factor=0.01, by_epoch=False, begin=0, end=30),
        CosineAnnealingLR.build_iter_from_epoch(own, T_max=6, by_epoch=True, begin=0, end=6, epoch_length=per_epoch),
    ]
    rows = []
    for step in range(epochs * per_epoch):
        if (step + 1) % 10 == 0:
            epoch, lr = step // per_epoch + 1, own.param_groups[0]["lr"]
            rows.append({"lr": lr, "loss": 1.0, "epoch": epoch, "iter": step + 1, "step": step + 1})
        own.step()
        for scheduler in schedulers:
            scheduler.step()
    (tmp_path / "vis_data").mkdir()
    (tmp_path / "vis_data" / "scalars.json").write_text("\n".join(map(json.dumps, rows)))
    verified(tmp_path, len(rows))
