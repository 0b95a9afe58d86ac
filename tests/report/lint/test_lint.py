"""Each rule with a recipe that it finds something in, and one beside it that is clean; recipes that people use."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import detectron2, huggingface, keras, timm
from jaxsched.recipe import caution
from jaxsched.report.lint._lint import PARAMETER_RULES, RULES

ALL = [("**", "all")]
DOCS = Path(__file__).parents[3] / "docs" / "lint.md"


def run(lr=0.1, *, steps=12_000, steps_per_epoch=1000, rules=ALL, optimizer="sgd", momentum=0.9, **fields):
    hyperparameters = dict(lr=lr, momentum=momentum) if optimizer == "sgd" else dict(lr=lr)
    return js.Recipe(optimizer, hyperparameters, rules=rules, steps=steps, steps_per_epoch=steps_per_epoch, **fields)


def plain(**arguments):
    """A schedule of which only the values can be looked at."""
    return js.tabulate(arguments["f"], steps=12_000)


HEAD = {"head": {f"conv{i}": {"kernel": jnp.ones(2), "bias": jnp.ones(2)} for i in range(3)}, "body": jnp.ones(2)}
BY_ROLE = dict(rules=js.groups.BY_ROLE)
DECAY = js.cosine(0.1, 12_000)

# code: (recipe it finds something in, its severity, what the message says, recipe beside it[, parameters])
CASES = {
    "no-length": (run(steps=None), "remark", "no length", run()),
    "warmup-too-long": (
        run(js.warmup(DECAY, 13_000)), "error", "13000 steps (13 epochs), training 12000 steps (12 epochs)",
        run(js.warmup(DECAY, 1000)),
    ),
    "momentum-warmup-too-long": (
        run(DECAY, momentum=js.warmup(0.9, 13_000, start=0.8)), "warning", "13000 steps",
        run(DECAY, momentum=js.warmup(0.9, 1000, start=0.8)),
    ),
    "milestone-past-end": (
        run(js.per_epoch(js.multi_step(0.1, at=(8, 13)), 1000)), "warning", "step 13000 (epoch 13)",
        run(js.per_epoch(js.multi_step(0.1, at=(8, 11)), 1000)),
    ),
    "milestone-never-reached": (
        run(js.sequential([js.multi_step(0.1, at=(4000, 7000)), 0.01], at=[6000])), "warning", "step 7000 (epoch 7)",
        run(js.sequential([js.multi_step(0.1, at=(4000, 5000)), 0.01], at=[6000])),
    ),
    "milestone-in-warmup": (
        run(js.warmup(js.multi_step(0.1, at=(900, 8000)), 1000)), "warning", "step 900",
        run(js.warmup(js.multi_step(0.1, at=(1000, 8000)), 1000)),
    ),
    "peak-never-reached": (
        run(js.warmup(js.cosine(0.1, 12_000), 9000)), "warning", "75% of cosine are over",
        run(js.sequential([js.linear(0.0, 0.1, 9000), js.cosine(0.1, 3000)], at=[9000])),
    ),
    "epochs-as-steps": (
        run(js.multi_step(0.1, at=(8, 11))), "warning", "(8, 11) steps, of 12000 in 12 epochs",
        run(js.multi_step(0.1, at=(8000, 11_000))),
    ),
    "steps-as-epochs": (
        run(js.per_epoch(js.multi_step(0.1, at=(8000, 11_000)), 1000)), "warning", "(8000, 11000) epochs, of 12",
        run(js.per_epoch(js.multi_step(0.1, at=(8, 11)), 1000)),
    ),
    "length-mismatch": (
        run(js.cosine(0.1, 24_000)), "warning", "ends at step 24000 (epoch 24)",
        run(js.cosine(0.1, 12_000)),
    ),
    "counts-updates": (
        run(js.cosine(0.1, 3000), accumulate=js.Accumulation(4)), "warning", "12000 batches, 4 per update",
        run(js.cosine(0.1, 12_000), accumulate=js.Accumulation(4)),
    ),
    "restart-cut": (
        run(js.cosine_restarts(0.1, 5000)), "warning", "40% of it",
        run(js.cosine_restarts(0.1, 4000)),
    ),
    "floor-above-lr": (
        run(js.cosine(1e-4, 12_000, floor=1e-3)), "warning", "from 0.0001 up to its floor of 0.001",
        run(js.cosine(1e-2, 12_000, floor=1e-3)),
    ),
    "plateau-floor": (
        run(js.cosine(1.0, 12_000, floor=0.1) * js.plateau(0.1, floor=0.05)), "remark", "it ends at 0.01",
        run(js.warmup(js.plateau(0.1, floor=0.05), 500)),
    ),
    "plateau-patience": (
        run(js.plateau(0.1, patience=12)), "warning", "tolerates 12 bad reports",
        run(js.plateau(0.1, patience=3)),
    ),
    "negative-lr": (
        run(plain(f=lambda step: 0.1 - step / 60_000)), "error", "negative, -0.09998",
        run(plain(f=lambda step: 0.1 - step / 130_000)),
    ),
    "zero-lr": (
        run(js.per_epoch(js.warmup(js.cosine(0.1, 12), 3), 1000)), "warning", "first 1000 updates",
        run(js.warmup(js.per_epoch(js.cosine(0.1, 12), 1000), 3000)),
    ),
    "rising-at-end": (
        run(js.exponential(0.01, 1.0001)), "warning", "last twentieth",
        run(js.linear(0.1, 0.01, 12_000)),
    ),
    "warmup-from-above": (
        run(js.warmup(js.cosine(1e-4, 12_000), 1000, start=0.1)), "warning", "1.02e+03 times",
        run(js.warmup(js.cosine(1e-2, 12_000), 1000, start=0.1)),
    ),
    "jump": (
        run(js.sequential([0.001, js.cosine(0.1, 11_000)], at=[1000])), "warning", "100 times, at step 1000",
        run(js.sequential([js.linear(0.001, 0.1, 1000), js.cosine(0.1, 11_000)], at=[1000])),
    ),
    "never-decays": (
        run(0.1 * js.linear(0.001, 1.0, 500)), "warning", "stays at 0.1 from step 500",
        run(js.warmup(js.step_decay(0.1, 8000), 500)),
    ),
    "nothing-trains": (run(groups={"all": None}), "error", "frozen", run()),
    "accumulation-drops": (
        run(accumulate=js.Accumulation(7, drop_at_epoch_end=True)), "remark", "of the 1000 batches",
        run(accumulate=js.Accumulation(8, drop_at_epoch_end=True)),
    ),
    "accumulation-uneven": (
        run(accumulate=js.Accumulation(7)), "remark", "7 batches per update do not divide the epoch of 1000",
        run(accumulate=js.Accumulation(8)),
    ),
    "batch-size": (
        run(batch_size=256, nominal_batch_size=64), "warning", "256 images, but the learning rates are meant for 64",
        run(batch_size=16, nominal_batch_size=64, accumulate=js.Accumulation(4)),
    ),
    "rules-do-not-fit": (
        run(rules=[("head/**", "all")]), "error", "body", run(), HEAD,
    ),
    "decay-on-bias-or-norm": (
        run(**BY_ROLE, groups={"bias": dict(weight_decay=0.1)}), "remark", "0.1 acts on 3 biases",
        run(**BY_ROLE, groups={"weight": dict(weight_decay=0.1)}), HEAD,
    ),
    "empty-group": (
        run(**BY_ROLE, groups={"norm": dict(lr=0.1)}), "remark", "no parameter",
        run(**BY_ROLE, groups={"bias": dict(lr=0.1)}), HEAD,
    ),
    "running-statistic": (
        run(), "error", "bn/running_mean is a running statistic by its name, and so is 1 more",
        run(rules=[("**/running_*", "statistics"), ("**", "all")], groups={"statistics": None}),
        {"bn": {"scale": jnp.ones(2), "running_mean": jnp.ones(2), "running_var": jnp.ones(2)}},
    ),
    "lonely-rule": (
        run(rules=[js.groups.Rule("head/*", "fast", True), ("**", "slow")]), "warning", "'head/**' would match 6",
        run(rules=[("head/**", "fast"), ("**", "slow")]), HEAD,
    ),
    "misspelt-key": (
        run(notes=[caution("misspelt-key", "'lrO' is not known; did you mean 'lr0'?")]), "warning", "'lr0'",
        run(notes=["not part of a recipe: lrO"]),
    ),
    "freeze": (
        run(notes=[caution("freeze", "freezes the first 10 layers there and nothing here")]), "warning", "10 layers",
        run(notes=["not part of a recipe: freeze"]),
    ),
    "other-model": (
        run(notes=[caution("other-model", "MODEL.TYPE 'focal' is not of Swin-Transformer")]), "warning", "focal",
        run(notes=["MODEL.TYPE 'swin'"]),
    ),
    "version-open": (
        run(notes=[caution("version-open", "read as 7.0; as 6.1: lr differs at 39 of 40 steps")]), "warning", "as 6.1",
        run(notes=["by its keys it is of 6.1"]),
    ),
    "unknown-project": (
        run(notes=[caution("unknown-project", "OPTIMIZER is of a project")]), "warning", "a project", run(),
    ),
    "never-acts": (
        run(notes=[caution("never-acts", "lr_config: lr stays at 0.1")]), "warning", "stays at 0.1", run(),
    ),
    **{
        code: (run(notes=[caution(code, "it is said")]), severity, "it is said", run())
        for code, severity in (
            ("left-out", "warning"), ("unread-hook", "warning"), ("unknown-loop", "warning"),
            ("other-generation", "warning"), ("repeated-key", "warning"),
            ("no-lr", "remark"),
            ("warmup-floor", "remark"), ("ignored-lr", "warning"), ("lr-of-batch", "warning"),
        )
    },
    "unknown-key": (
        run(notes=[caution("unknown-key", "not known, and left out: paste_in")]), "remark", "paste_in",
        run(notes=["not part of a recipe: paste_in"]),
    ),
}  # fmt: skip


def test_every_caution_of_a_port_is_a_rule():
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(js.__file__).parent.rglob("*.py"))
    used = set(re.findall(r"\bcaution\(\s*\"([^\"]+)\"", sources))
    assert {"left-out", "unknown-key"} <= used <= set(CASES)


@pytest.mark.parametrize("code", CASES)
def test_a_rule_finds_its_mistake_and_nothing_beside_it(code):
    wrong, severity, says, right, *params = CASES[code]
    params = params[0] if params else None
    found = [finding for finding in js.lint(wrong, params) if finding.code == code]
    assert found, js.lint(wrong, params)
    assert {finding.severity for finding in found} == {severity}
    assert any(says in finding.message for finding in found), found
    assert all(finding.remedy for finding in found)
    assert code not in [finding.code for finding in js.lint(right, params)]


def test_lint_knows_every_caution_of_the_ports():
    files = Path(js.__file__).parent.rglob("*.py")
    used = {code for path in files for code in re.findall(r'caution\(\s*"([a-z-]+)"', path.read_text(encoding="utf-8"))}
    assert used <= set(RULES)


def test_every_rule_is_tested_and_documented():
    codes = {*RULES, *PARAMETER_RULES, "rules-do-not-fit"}
    assert set(CASES) == codes
    written = set(re.findall(r"^\| `([a-z-]+)` \|", DOCS.read_text(encoding="utf-8"), re.M))
    assert written == codes | {"lr-jumps-on-resume"}


ONE_X = js.per_epoch(js.multi_step(0.02, at=(8, 11)), 7330) * js.warmup(js.constant(1.0), 500, start=0.001)
HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)


@pytest.mark.parametrize(
    "recipe",
    [
        run(ONE_X, steps=12 * 7330, steps_per_epoch=7330),
        run(js.warmup(js.cosine(0.1, 90_000), 5000), steps=90_000, steps_per_epoch=1000),
        run(js.one_cycle(0.1, 12_000)),
        run(js.warmup_stable_decay(0.1, 500, 9500, 2000)),
        run(js.schedules.flat_then_cosine(0.1, 12_000, flat=6000, floor=1e-3)),
        run(js.per_epoch(js.step_decay(0.1, 4), 1000)),
        run(js.plateau(0.1, patience=2)),
        run(js.exponential(0.1, 0.9997)),
        run(js.polynomial(0.1, 0.0, 12_000, power=0.9)),
        run(js.cyclic(0.001, 0.1, up=2000)),
        run(js.per_epoch(js.cosine_restarts(0.1, 3), 1000)),
        run(js.per_epoch(js.polynomial(0.1, 0.0, 100), 50), steps=5000, steps_per_epoch=50),
        run(js.per_epoch(js.ports.torch.CosineAnnealingLR(T_max=12)(0.1), 1000)),
        run(js.ports.torch.OneCycleLR(max_lr=0.1, total_steps=12_000)(0.1)),
        run(0.1),
        js.Recipe("adamw", dict(lr=js.warmup(js.inverse_sqrt(1e-3, 4000), 4000)), steps=100_000),
    ],
)
def test_what_people_use_is_clean(recipe):
    assert js.lint(recipe) == ()


@pytest.mark.parametrize("cos_lr", [False, True])
@pytest.mark.parametrize("batch_size", [16, 64])
def test_yolov5_is_clean_or_told_something_true(batch_size, cos_lr):
    recipe = js.ports.yolov5.recipe(
        HYP, epochs=300, steps_per_epoch=1849, batch_size=batch_size, cos_lr=cos_lr, version="7.0"
    )
    found = js.lint(recipe)
    assert found.ok
    if batch_size == 64:
        assert found == ()
        return
    (remark,) = found
    assert (remark.code, remark.severity) == ("accumulation-drops", "remark")
    due = np.flatnonzero(js.report.update_steps(recipe))
    lost = sum(1849 * (e + 1) - 1 - due[np.searchsorted(due, 1849 * (e + 1)) - 1] for e in range(300))
    assert f"{lost / 300:.3g} of the 1849 batches of an epoch on average ({lost / recipe.steps:.2%})" in remark.message


TIMM = dict(
    opt="adamw", lr=1e-3, weight_decay=0.05, sched="cosine", epochs=300, warmup_epochs=5, warmup_lr=1e-6, min_lr=1e-5
)
RSB = dict(TIMM, opt="lamb", lr=8e-3, epochs=100, warmup_lr=1e-4, min_lr=1e-6, sched_on_updates=True)
STEPS = dict(opt="momentum", lr=0.1, sched="step", epochs=90, decay_epochs=30, warmup_epochs=0)
RMS = dict(
    opt="rmsprop",
    lr=0.048,
    sched="step",
    epochs=450,
    decay_epochs=2.4,
    decay_rate=0.97,
    warmup_epochs=3,
    warmup_lr=1e-6,
)
WARM = dict(learning_rate=5e-5, warmup_steps=500)
SOLVER = dict(IMS_PER_BATCH=16, BASE_LR=0.02, WARMUP_ITERS=1000)


def in_keras(lr):
    return run(lr, steps=10_000, steps_per_epoch=500)


PEOPLES = {
    "DeiT": timm.recipe(TIMM, steps_per_epoch=1251),
    "DeiT, by update": timm.recipe({**TIMM, "sched_on_updates": True}, steps_per_epoch=1251),
    "DeiT, warm-up before": timm.recipe({**TIMM, "warmup_prefix": True}, steps_per_epoch=1251),
    "ResNet strikes back": timm.recipe(RSB, steps_per_epoch=625),
    "ResNet strikes back, gathering": timm.recipe({**RSB, "grad_accum_steps": 2}, steps_per_epoch=1251),
    "ResNet, gathering by epoch": timm.recipe({**STEPS, "grad_accum_steps": 4}, steps_per_epoch=5005),
    "ResNet": timm.recipe(STEPS, steps_per_epoch=5004),
    "EfficientNet": timm.recipe(RMS, steps_per_epoch=417),
    "tanh": timm.recipe({**TIMM, "sched": "tanh"}, steps_per_epoch=1251),
    "plateau": timm.recipe({**TIMM, "sched": "plateau"}, steps_per_epoch=1251),
    "Trainer's defaults": huggingface.recipe({}, steps_per_epoch=1000),
    "Trainer": huggingface.recipe(dict(WARM, weight_decay=0.01), steps_per_epoch=1000),
    "Trainer, gathering": huggingface.recipe(dict(WARM, gradient_accumulation_steps=4), steps_per_epoch=1001),
    "Trainer, half an epoch": huggingface.recipe(
        dict(num_train_epochs=2.5, gradient_accumulation_steps=8), steps_per_epoch=1001
    ),
    "Trainer, cosine": huggingface.recipe(
        dict(WARM, lr_scheduler_type="cosine", max_steps=10_000), steps_per_epoch=999
    ),
    "Trainer, restarts": huggingface.recipe(
        dict(WARM, lr_scheduler_type="cosine_with_restarts", lr_scheduler_kwargs=dict(num_cycles=3)),
        steps_per_epoch=1000,
    ),
    "Trainer, stable": huggingface.recipe(
        dict(WARM, lr_scheduler_type="warmup_stable_decay", lr_scheduler_kwargs=dict(num_decay_steps=500)),
        steps_per_epoch=1000,
    ),
    "Keras' cosine": in_keras(keras.CosineDecay(0.0, 9000, warmup_target=0.1, warmup_steps=1000)),
    "Keras' exponential": in_keras(keras.ExponentialDecay(0.01, decay_steps=1000, decay_rate=0.96, staircase=True)),
    "Keras' pieces": in_keras(keras.PiecewiseConstantDecay([5000, 7500], [0.1, 0.01, 0.001])),
    "Keras' polynomial": in_keras(keras.PolynomialDecay(0.1, 10_000)),
    "Detectron2, 1x": detectron2.recipe(dict(SOLVER, STEPS=(60_000, 80_000), MAX_ITER=90_000)),
    "Detectron2, 3x": detectron2.recipe(dict(SOLVER, STEPS=(210_000, 250_000), MAX_ITER=270_000), steps_per_epoch=7330),
    "Detectron2, cosine": detectron2.recipe(dict(SOLVER, LR_SCHEDULER_NAME="WarmupCosineLR", MAX_ITER=90_000)),
}


@pytest.mark.parametrize("name", PEOPLES)
def test_recipes_of_other_systems_are_clean(name):
    assert js.lint(PEOPLES[name]) == ()


def test_what_is_meant_may_be_remarked_upon_and_a_toy_is_no_error():
    """A cooldown and a constant lr are asked for in words; the tutorial of Detectron2 warms up to its end."""
    cooldown = timm.recipe({**TIMM, "cooldown_epochs": 10}, steps_per_epoch=1251)
    layers = dict(layer_decay=0.65, cooldown_epochs=20)
    layered = timm.recipe({**TIMM, **layers}, steps_per_epoch=1251, layers=["stem/**", "blocks/**", "head/**"])
    constant = huggingface.recipe(dict(WARM, lr_scheduler_type="constant_with_warmup"), steps_per_epoch=1001)
    tutorial = detectron2.recipe(dict(SOLVER, STEPS=[], MAX_ITER=300, IMS_PER_BATCH=2, BASE_LR=0.00025))
    expected = [("length-mismatch", "remark")], [("length-mismatch", "remark")], [("never-decays", "remark")]
    for recipe, codes in zip(
        (cooldown, layered, constant, tutorial), (*expected, [("warmup-too-long", "warning")]), strict=True
    ):
        assert [(finding.code, finding.severity) for finding in js.lint(recipe)] == codes, js.lint(recipe)


def test_mistakes_in_recipes_of_other_systems_are_found():
    """Also where schedules count updates, or epochs, or cycles."""
    late = huggingface.recipe(dict(WARM, gradient_accumulation_steps=8), steps_per_epoch=1001)
    assert [finding.code for finding in js.lint(late)] == ["warmup-too-long", "milestone-past-end"]
    cut = timm.recipe({**TIMM, "sched_on_updates": True, "lr_cycle_limit": 3}, steps_per_epoch=100)
    assert "restart-cut" in [finding.code for finding in js.lint(cut.replace(steps=45_000))]
    far = keras.CosineDecay(0.1, decay_steps=100_000)
    assert [finding.code for finding in js.lint(in_keras(far))] == ["length-mismatch"]


def test_a_config_of_mmdetection_says_which_batch_size_it_is_for():
    config = dict(
        optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001),
        lr_config=dict(policy="step", step=[8, 11], warmup="linear", warmup_iters=500, warmup_ratio=0.001),
        runner=dict(type="EpochBasedRunner", max_epochs=12),
        auto_scale_lr=dict(enable=False, base_batch_size=16),
    )
    recipe = js.ports.openmmlab.recipe(config, steps_per_epoch=7330)
    assert js.lint(recipe) == ()
    assert js.lint(recipe.replace(batch_size=16)) == ()
    (found,) = js.lint(recipe.replace(batch_size=2))
    assert found.code == "batch-size"
    assert "an update sees 2 images, but the learning rates are meant for 16" in found.message
    scaled = js.ports.openmmlab.recipe(config, steps_per_epoch=7330, batch_size=2)
    assert js.lint(scaled) == ()


def test_the_batch_size_is_that_of_a_full_update():
    """Not that of the last of an epoch, which may hold fewer batches."""
    recipe = huggingface.recipe(dict(gradient_accumulation_steps=8), steps_per_epoch=1001)
    assert js.lint(recipe.replace(nominal_batch_size=64)) == ()
    assert [finding.code for finding in js.lint(recipe.replace(nominal_batch_size=8))] == ["batch-size"]


def test_groups_that_say_the_same_are_one_finding():
    late = js.multi_step(0.1, at=(20_000,))
    found = js.lint(run(late, rules=[(f"layer{i}/**", f"layer{i}") for i in range(30)]))
    assert [finding.code for finding in found] == ["milestone-past-end", "never-decays"]
    assert found[0].groups == tuple(f"layer{i}" for i in range(30))
    assert "layer3 and 26 more groups" in str(found)


def test_the_worst_comes_first_and_it_is_data():
    found = js.lint(run(js.warmup(js.cosine(0.1, 24_000), 13_000), accumulate=js.Accumulation(7)))
    assert [finding.severity for finding in found] == sorted(
        (finding.severity for finding in found), key=["error", "warning", "remark"].index
    )
    assert not found.ok
    assert found.count("error") == 1
    assert bool(js.lint(run(DECAY))) is False
    assert str(js.lint(run(DECAY))) == "nothing found"


def test_no_legal_recipe_raises():
    """Odd ones: a user's own schedules, arrays for numbers, lengths as arrays, no lr at all, a length of one."""

    @js.schedule
    def sawtooth(step, steps, inner):
        return inner(step) * (1 - (step % steps) / steps)

    for recipe in (
        run(sawtooth(10, js.cosine(0.1, 100))),
        run(js.cosine(jnp.asarray(0.1), jnp.asarray(100))),
        run(js.multi_step(0.1, at=jnp.asarray([3, 5]))),
        run(js.multi_step(0.1, at=())),
        run(lambda step: 0.1 / (1 + step)),
        run(js.from_function(lambda step: 0.1 / (1 + step))),
        run(js.table([0.1, 0.2])),
        run(js.linear(0.1, 0.0, 0.5), steps=1, steps_per_epoch=1),
        run(js.cosine_restarts(0.1, 1), steps=2**31 - 1),
        run(js.cyclic(0.0, 0.1, up=1)),
        js.Recipe("sgd", dict(lr=0.1), steps=None, accumulate=js.Accumulation(js.constant(4))),
    ):
        assert isinstance(js.lint(recipe), js.report.Findings)
        assert str(js.explain(recipe))


def test_a_run_that_is_resumed_with_other_epochs():
    first, longer = (js.Recipe("sgd", dict(lr=js.cosine(0.1, steps)), steps=steps) for steps in (1000, 2000))
    (found,) = [f for f in js.lint(longer, resumed_from=(first, 900)) if f.code == "lr-jumps-on-resume"]
    assert found.severity == "warning"
    assert "lr goes from 0.002447 to 0.05782 at step 900" in found.message
    assert "the recipe has 2,000 steps, that of the checkpoint 1,000 steps" in found.message
    assert set(found.groups) == {"bias", "norm", "weight"}
    assert "lr-jumps-on-resume" not in {f.code for f in js.lint(first, resumed_from=(first, 900))}
    goes_on = longer.replace(
        hyperparameters=dict(lr=js.sequential([js.cosine(0.1, 1000), js.cosine(0.002447, 1100)], at=[900]))
    )
    assert "lr-jumps-on-resume" not in {f.code for f in js.lint(goes_on, resumed_from=(first, 900))}
