"""What the rules on lengths find in schedules of ports and of users is what they find in the core's own."""

import pytest

import jaxsched as js
from jaxsched.ports import huggingface, openmmlab, timm, torch
from jaxsched.schedules import Number, Value

STEPS = 1000


def codes(lr, **fields):
    recipe = js.Recipe("sgd", dict(lr=lr), rules=[("**", "all")], steps=STEPS, **fields)
    return {finding.code for finding in js.lint(recipe)}


@js.schedule
def scaled(step, schedule: Value, by: Number = 2.0):
    return by * schedule(step)


PAIRS = {
    "torch's OneCycleLR": (torch.OneCycleLR(max_lr=0.1, total_steps=500)(0.1), js.one_cycle(0.1, 500)),
    "of the run's length": (torch.OneCycleLR(max_lr=0.1, total_steps=1000)(0.1), js.one_cycle(0.1, 1000)),
    "a user's wrapper": (scaled(js.multi_step(0.1, at=(30, 2000))), js.multi_step(0.1, at=(30, 2000))),
    **{
        f"timm's WSD, {decay_fn}, {length}": (
            timm.WSDLRScheduler(length, decay_t=200, warmup_t=50, lr_min=0.05, decay_fn=decay_fn)(0.1),
            js.warmup_stable_decay(0.1, 50, length - 200, 200, floor=0.05),
        )
        for decay_fn in ("linear", "1-sqrt", "cosine", "power", "exp")
        for length in (450, 950, 1950)
    },
    **{
        f"transformers' WSD, {decay_type}": (
            huggingface.get_scheduler(
                "warmup_stable_decay", 50, 500, dict(num_decay_steps=200, decay_type=decay_type, min_lr_ratio=0.5)
            )(0.1),
            js.warmup_stable_decay(0.1, 50, 250, 200, floor=0.05),
        )
        for decay_type in ("linear", "cosine", "1-sqrt")
    },
}


@pytest.mark.parametrize("name", PAIRS)
def test_as_the_cores_own(name):
    port, core = PAIRS[name]
    assert codes(port) == codes(core)


def test_they_find_something():
    assert codes(PAIRS["torch's OneCycleLR"][0]) == {"length-mismatch"}
    assert codes(PAIRS["a user's wrapper"][0]) == {"milestone-past-end"}
    assert codes(PAIRS["timm's WSD, power, 450"][0]) == {"length-mismatch"}
    assert codes(PAIRS["timm's WSD, exp, 1950"][0]) == {"length-mismatch", "never-decays"}


@pytest.mark.parametrize("name", ["linear", "cosine", "cosine_with_restarts", "polynomial"])
def test_transformers_schedules_that_count_updates_where_batches_are_meant(name):
    lr = huggingface.get_scheduler(name, 50, STEPS // 4)(0.1)
    assert "counts-updates" in codes(lr, accumulate=js.Accumulation(4))
    assert "counts-updates" not in codes(lr)


def test_a_cosine_of_mmengine_that_ends_before_the_run():
    """CosineAnnealingLR with ``end``: what it is there stays."""

    def read(end):
        return openmmlab.recipe(
            dict(
                optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.02)),
                param_scheduler=[dict(type="CosineAnnealingLR", T_max=12, eta_min=1e-4, begin=0, end=end)],
                train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=12),
            ),
            steps_per_epoch=100,
        )

    (finding,) = js.lint(read(6))
    assert (finding.code, finding.severity) == ("length-mismatch", "warning")
    assert "at step 501 (epoch 5.01)" in finding.message or "(epoch 5)" in finding.message
    assert js.lint(read(12)) == ()
    assert [row.step for row in js.explain(read(6)).rows if "hold begins" in row.what]


def test_a_line_that_ends_low_is_no_jump_and_neither_is_a_restart():
    assert codes(js.linear(0.1, 1e-6, STEPS - 10)) == set()
    falls = js.sequential([js.cosine(0.1, 500, floor=1e-4), js.cosine(0.1, 500, floor=1e-4)], at=[500])
    assert codes(falls) == set()
    assert codes(js.sequential([0.001, js.cosine(0.1, 500)], at=[500])) == {"jump"}
