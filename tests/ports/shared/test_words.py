"""Pasted command lines of training scripts, as they stand in READMEs and shell scripts."""

import pytest

import jaxsched as js
from jaxsched.cli._source import Given, read
from jaxsched.ports import huggingface, timm


def settings(module, line):
    return dict(module.KINDS[0].command_line([line]))


TNT = """CUDA_VISIBLE_DEVICES=0,1 python -m torch.distributed.launch --nproc_per_node=8 train.py /path/to/imagenet/ \\
    --model tnt_s_patch16_224 --sched cosine --epochs 300 --opt adamw -j 8 --warmup-lr 1e-6 --model-ema \\
    --aa rand-m9-mstd0.5-inc1 --warmup-epoch 20 --opt-eps 1e-8 --amp --lr 1e-3 --weight-decay .05 -b 128 --output /p"""


def test_a_line_of_timm():
    found = settings(timm, TNT)
    expected = dict(sched="cosine", epochs=300, opt="adamw", warmup_lr=1e-6, model_ema=True, opt_eps=1e-8, lr=1e-3)
    expected |= dict(weight_decay=0.05, batch_size=128, warmup_epochs=20, workers=8)  # argparse completes warmup-epoch
    assert {name: found[name] for name in expected} == expected
    assert "nproc_per_node" not in found


def test_a_line_that_is_longer_than_a_name_of_a_file():
    line = f"train.py {'x' * 300} --sched cosine --lr 0.1 --epochs 9"
    assert read([line], Given({"steps_per_epoch": 10}, kind="timm")).steps == 90


def test_a_line_of_the_trainer():
    line = """torchrun --nproc_per_node 4 examples/pytorch/text-classification/run_glue.py --model_name_or_path bert
        --per_device_train_batch 32 --learning_rate 2e-5 --num_train_epochs 3 --warmup_ratio 0.1 --bf16 True
        --lr_scheduler_type cosine --fsdp "full_shard auto_wrap" --logging_steps=10"""
    found = settings(huggingface, line)
    assert found["per_device_train_batch_size"] == 32
    assert found["fsdp"] == "full_shard auto_wrap"
    assert found["bf16"] is True
    recipe = read([line], Given({"steps_per_epoch": 100}, kind="huggingface"))
    assert float(js.curves(recipe, [30])["decay"]["lr"][0]) == pytest.approx(2e-5)


@pytest.mark.parametrize(
    ("module", "line", "says"),
    [
        (timm, "train.py /data --config cfg.yaml --sched cosine", "'--config' takes settings from a file"),
        (timm, "train.py /data -c cfg.yaml", "'-c' takes settings from a file"),
        (timm, "train.py /data -b 64 -tb 4096", "'-tb' is not known; write its long form, --name, or leave it out"),
        (timm, "train.py /data --lr-noise-p 0.5 --lr-cycle 2", "--lr-cycle may stand for lr_cycle_decay"),
        (timm, "train.py --lr 0.1 --experiment 'a", "the shell cannot split .*: No closing quotation"),
        (huggingface, "run_glue.py args.json", "there is no --name in 'run_glue.py args.json'"),
        (huggingface, "run_glue.py --lr 1e-4", "--lr may stand for lr_scheduler_kwargs or lr_scheduler_type"),
    ],
)  # fmt: skip
def test_what_is_refused(module, line, says):
    with pytest.raises(ValueError, match=says):
        settings(module, line)
