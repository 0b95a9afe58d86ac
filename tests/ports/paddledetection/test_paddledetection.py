"""PaddleDetection's configs: its own rates, recorded; updates and averages by their equations; and what is refused."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.cli._source import recognise
from jaxsched.ports import paddledetection
from jaxsched.ports.shared import File

RECORDED = json.loads((Path(__file__).parents[2] / "recorded" / "paddledetection.json").read_text())


def read(text, steps_per_epoch=7, **options):
    return paddledetection.recipe(File(Path("config.yml"), text), steps_per_epoch=steps_per_epoch, **options)


def config(epoch=3, **sections):
    return {"epoch": epoch, **sections}


def recipe(steps_per_epoch=7, **sections):
    return paddledetection.recipe(config(**sections), steps_per_epoch=steps_per_epoch)


@pytest.mark.parametrize("name", RECORDED)
def test_each_rate_is_that_of_the_original(name):
    case = RECORDED[name]
    text = f"epoch: {case['epochs']}\nLearningRate:\n  " + case["text"].replace("\n", "\n  ")
    made = read(text, case["steps_per_epoch"])
    every = made.steps // len(case["rates"])
    # a part in 2**24 of the largest rate where a cosine comes close to 0
    expected, largest = case["rates"], max(case["rates"])
    np.testing.assert_allclose(js.curves(made)["weight"]["lr"][::every], expected, rtol=1e-6, atol=largest * 2.0**-24)
    assert js.Recipe.from_json(made.to_json()) == made


def gradient(step):
    return ((step * 31 + np.arange(4) * 17) % 13 / 13 - 0.4).astype(np.float64)


def momentum(p, g, s, t, lr=0.1, mu=0.9, nesterov=False):
    s["b"] = mu * s.get("b", 0.0) + g
    return p - lr * (g + mu * s["b"] if nesterov else s["b"])


def adam(p, g, s, t, lr=0.1, b1=0.9, b2=0.99, eps=1e-3):
    s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g * g
    lr *= np.sqrt(1 - b2**t) / (1 - b1**t)
    return p - lr * s["m"] / (np.sqrt(s["v"]) + eps * np.sqrt(1 - b2**t))


def rmsprop(p, g, s, t, lr=0.1, rho=0.8, eps=1e-2, mu=0.5):
    s["v"] = rho * s.get("v", 0.0) + (1 - rho) * g * g
    s["b"] = mu * s.get("b", 0.0) + lr * g / np.sqrt(s["v"] + eps)
    return p - s["b"]


OPTIMIZERS = {
    "Momentum nesterov": (dict(use_nesterov=True), lambda *a: momentum(*a, nesterov=True)),
    "Adam": (dict(beta2=0.99, epsilon=1e-3), adam),
    "AdamW": (dict(beta2=0.99, epsilon=1e-3, weight_decay=0.5), lambda p, *a: adam(p, *a) - 0.1 * 0.5 * p),
    "RMSProp": (dict(rho=0.8, epsilon=1e-2, momentum=0.5), rmsprop),
}
CONSTANT = {
    "base_lr": 0.1,
    "schedulers": [{"name": "PiecewiseDecay", "milestones": [], "gamma": [], "use_warmup": False}],
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_paddles_equations(name):
    options, equation = OPTIMIZERS[name]
    decay = 0.0 if name == "AdamW" else 0.25
    builder = dict(optimizer=dict(type=name.split()[0], **options), regularizer=dict(type="L2", factor=0.25))
    tx = recipe(LearningRate=CONSTANT, OptimizerBuilder=builder).build()
    expected = np.array([1.0, -0.5, 0.25, 2.0])
    params, slots, update = {"w": jnp.asarray(expected, jnp.float32)}, {}, jax.jit(tx.update)
    state = tx.init(params)
    for t in range(1, 9):
        expected = equation(expected, gradient(t) + decay * expected, slots, t)
        updates, state = update({"w": jnp.asarray(gradient(t), jnp.float32)}, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    np.testing.assert_allclose(params["w"], expected, rtol=0, atol=4e-6)  # 8 updates of float32 numbers of about 1


@pytest.mark.parametrize("kind", ["threshold", "exponential", "normal"])
def test_averages(kind):
    decay = recipe(use_ema=True, ema_decay=0.9, ema_decay_type=kind).ema
    values, ours = np.random.default_rng(0).normal(size=60), np.asarray(decay(jnp.arange(60)), np.float64)
    theirs, mine = 0.0, values[0]
    for step, value in enumerate(values):
        d = {"threshold": min(0.9, (1 + step) / (10 + step)), "exponential": 0.9 * (1 - np.exp(-(step + 1) / 2000))}
        theirs = d.get(kind, 0.9) * theirs + (1 - d.get(kind, 0.9)) * value
        mine = ours[step] * mine + (1 - ours[step]) * value
        if kind == "normal":
            np.testing.assert_allclose(mine, theirs / (1 - 0.9 ** (step + 1)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(mine, theirs / (1 - 0.9**60) if kind == "normal" else theirs, rtol=0, atol=1e-6)
    assert recipe(use_ema=False, ema_decay=0.9).ema is None


PARAMS = {
    "backbone": {"conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "norm": {"scale": jnp.ones(2)}},
    "head": {"kernel": jnp.ones((2, 2))},
}


def decays(made):
    return {name: values["weight_decay"] for name, values in made.by_group().items()}


def test_norms_have_no_decay_but_with_adamw():
    assert decays(recipe()) == {"norm": 0.0, "bias": 1e-4, "weight": 1e-4}
    assert decays(recipe(reset_norm_param_attr=True)) == {"norm": 1e-4, "bias": 1e-4, "weight": 1e-4}
    assert decays(recipe(OptimizerBuilder={"regularizer": False})) == {"norm": 0.0, "bias": 0.0, "weight": 0.0}
    assert decays(recipe(OptimizerBuilder={"optimizer": {"type": "AdamW"}})) == {"all": 0.01}


def test_groups_of_parameters():
    groups = [
        {"params": ["^(?=.*backbone)(?!.*norm).*$"], "learning_rate": 0.1},
        {"params": ["norm", "bias"], "weight_decay": 0.0},
    ]
    builder = dict(clip_grad_by_norm=0.1, optimizer=dict(type="AdamW", weight_decay=0.5, param_groups=groups))
    made = recipe(LearningRate=CONSTANT, OptimizerBuilder=builder)
    labels = js.groups.labels(PARAMS, made.rules)
    assert labels == {
        "backbone": {"conv": {"kernel": "group_0", "bias": "group_0"}, "norm": {"scale": "group_1"}},
        "head": {"kernel": "rest"},
    }
    assert decays(made) == {"group_0": 0.5, "group_1": 0.0, "rest": 0.5}
    np.testing.assert_allclose(made.groups["group_0"]["lr"](0), 0.01, rtol=1e-6)
    assert made.clip_norm == 0.1
    assert "Paddle clips the gradients of each of param_groups by their own norm" in made.notes[0]


def test_lengths_and_batches():
    reader = {"batch_size": 8, "drop_last": True}
    made = paddledetection.recipe(config(TrainReader=reader), images=1000, world_size=4)
    assert (made.steps_per_epoch, made.batch_size, made.steps) == (31, 32, 93)  # 250 images to each process
    reader["drop_last"] = False
    assert paddledetection.recipe(config(TrainReader=reader), images=1000, world_size=4).steps_per_epoch == 32
    with pytest.raises(ValueError, match="does not say how long an epoch is; give steps_per_epoch="):
        paddledetection.recipe(config())


def test_what_is_left_out_is_said():
    made = recipe(
        ResNet={"freeze_at": 0, "lr_mult_list": [0.1, 0.1], "norm_decay": 0.0},
        HRNet={"freeze_at": -1, "freeze_norm": False},
        SENet={"depth": 50, "freeze_norm": False},
        use_ema=True,
        cycle_epoch=40,
        ema_black_list=["proj"],
    )
    text = "\n".join(made.notes)
    assert "ResNet.freeze_at: 0 is left out" in text
    assert "ResNet.lr_mult_list: [0.1, 0.1] is left out" in text
    assert "the average begins again every 40 snapshots" in text
    assert "ema_black_list: ['proj'] have no average there" in text
    assert "ResNet.freeze_norm: True is left out" in text
    assert "SENet.freeze_at: 0 is left out" in text
    assert "norm_decay" not in text
    assert "SENet.freeze_norm" not in text
    assert "HRNet" not in text
    unread = recipe(OptimizerBuilder={"optimizer": {"type": "Momentum", "momentum": 0.9, "weight_decay": 0.1}})
    assert unread.by_group()["weight"]["weight_decay"] == 1e-4
    assert "optimizer: weight_decay has no effect: of Momentum the regularizer stands in its place" in unread.notes[0]
    gamma = {"schedulers": [{"name": "PiecewiseDecay", "gamma": 0.5, "use_warmup": False}, {"name": "LinearWarmup"}]}
    notes = recipe(LearningRate=gamma).notes
    assert "has no effect, since use_warmup is false" in notes[0]
    assert "the factor at the k-th milestone is 0.5 / 10 ** k" in notes[1]
    many = ("PiecewiseDecay", dict(gamma=0.5, milestones=list(range(1, 400)), use_warmup=False))
    assert float(recipe(**lr(many)).by_group()["weight"]["lr"](10**6)) == 0.0  # 10 ** 399 is no float


def test_bases_are_merged_as_there(tmp_path):
    folder = tmp_path / "configs" / "yolo" / "_base_"
    folder.mkdir(parents=True)
    (folder / "one.yml").write_text(
        "epoch: 9\nLearningRate:\n  base_lr: 0.1\n  schedulers:\n  - !CosineDecay {max_epochs: 9}\n"
        "  - !ExpWarmup {epochs: 1}\nOptimizerBuilder: {optimizer: {type: Momentum, momentum: 0.5}}\n"
    )
    (folder / "two.yml").write_text("epoch: 8\nTrainReader: {batch_size: 4}\n")
    own = folder.parent / "own.yml"
    own.write_text(
        "_BASE_: ['_base_/one.yml', '_base_/two.yml']\nsnapshot_epoch: 1\nLearningRate: {base_lr: 0.2}\n"
        "OptimizerBuilder:\n  optimizer: {use_nesterov: true}\n"
    )
    assert recognise(File.read(own)).name == "paddledetection"
    made = paddledetection.recipe(own, steps_per_epoch=10)
    assert (made.steps, made.batch_size) == (80, 4)
    assert made.hyperparameters["momentum"] == 0.5
    assert made.hyperparameters["nesterov"] is True
    np.testing.assert_allclose(js.curves(made, [5, 10])["weight"]["lr"], [0.05, 0.2], rtol=1e-6)
    own.write_text("_BASE_: ['../../../other.yml']\nepoch: 3\n")
    with pytest.raises(ValueError, match=r"which lies outside .*: give root="):
        paddledetection.recipe(own, steps_per_epoch=10)


def lr(*schedulers, **settings):
    return dict(LearningRate=dict(schedulers=[dict(name=name, **own) for name, own in schedulers], **settings))


def build(**settings):
    return dict(OptimizerBuilder=settings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(epoch=0), "config: epoch must be a whole number >= 1, got 0"),
        (dict(LearningRate=dict(base_lr="fast")), "LearningRate: base_lr must be a number, got the string 'fast'"),
        (dict(LearningRate=dict(lr=1)), "LearningRate: 'lr' is not known"),
        (dict(LearningRate=dict(schedulers=3)), "schedulers must be a decay and a warm-up, got 3"),
        (dict(LearningRate=dict(schedulers=[3])), r"schedulers\[0\] must be a scheduler such as !CosineDecay"),
        (lr(("CosinDecay", {})), "must be one of PiecewiseDecay, CosineDecay, got 'CosinDecay'; did you mean 'CosineD"),
        (lr(("CosineDecay", {})), "schedulers must have a warm-up too; add !LinearWarmup, or use_warmup: false"),
        (lr(("LinearWarmup", {}), ("CosineDecay", {})), r"schedulers\[0\] must be one of PiecewiseDecay, CosineDecay"),
        (
            lr(("CosineDecay", dict(max_epoch=3)), ("LinearWarmup", {})),
            "CosineDecay: 'max_epoch' is not known; did you",
        ),
        (lr(("CosineDecay", {}), ("LinearWarmup", dict(steps=0.5))), "steps must be a whole number >= 0, got 0.5"),
        (lr(("CosineDecay", {}), ("LinearWarmup", dict(start_factor=-1))), "start_factor must be in"),
        (
            lr(("PiecewiseDecay", dict(milestones=[3])), ("LinearWarmup", {})),
            "milestones are 1, and there are 2 factors",
        ),
        (lr(("PiecewiseDecay", dict(milestones=[3, 2])), ("LinearWarmup", {})), "milestones must ascend"),
        (lr(("PiecewiseDecay", dict(values=[1])), ("LinearWarmup", {})), "values leaves no place for a warm-up"),
        (
            lr(("PiecewiseDecay", dict(milestones=[10**9], gamma=0.1)), ("LinearWarmup", {})),
            r"PiecewiseDecay: piecewise: at\[0\] must be below",
        ),
        (build(optimizer=dict(type="AdamWDL")), "type: AdamWDL is not ported; write the recipe with js.layer_decay"),
        (build(optimizer=dict(type="Adamw")), "type must be one of Momentum, .*, got 'Adamw'; did you mean"),
        (build(optimizer=dict(type="Adam", momentum=0.9)), "optimizer: 'momentum' is not known"),
        (build(optimizer=dict(momentum=0.9)), "optimizer: 'type' is missing"),
        (build(regularizer=dict(type="L1", factor=0.1)), "L1 is not a weight decay"),
        (build(clip_grad_by_norm=-1), "clip_grad_by_norm must be positive, or null for none, got -1"),
        (build(clip_grad_by_value=0), "clip_grad_by_value must not be 0, which leaves no gradient"),
        (build(optimizer=dict(type="AdamW", param_groups=3)), "param_groups must be a list, got 3"),
        (build(optimizer=dict(type="AdamW", param_groups=[{"params": "x"}])), "params must be a list of regular"),
        (build(optimizer=dict(type="AdamW", param_groups=[{"params": ["(a*)*"]}])), "params: regex: .* may take too"),
        (dict(use_ema=True, ema_decay_type="thresh"), "ema_decay_type must be one of 'threshold', 'exponential'"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        paddledetection.recipe(config(**{"epoch": 3, **given}), steps_per_epoch=7)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_tag_has_its_arguments_by_name():
    """Or none; PaddleDetection takes those of a list by position."""
    text = "epoch: 3\nLearningRate: {schedulers: [!PiecewiseDecay, !LinearWarmup {steps: 5, start_factor: 0.1}]}\n"
    assert read(text).steps == 3 * 7
    for wrong in ("[1]", "12"):
        with pytest.raises(TypeError, match=r"schedulers\[0\]: <!PiecewiseDecay> must have its arguments by name"):
            read(text.replace("!PiecewiseDecay", f"!PiecewiseDecay {wrong}"))


def test_tags_are_data():
    text = "epoch: 3\nLearningRate: {schedulers: [!!python/object/apply:os.system {args: [ls]}]}\n"
    with pytest.raises(ValueError, match=r"must be one of .*, got 'python/object/apply:os\.system'"):
        read(text)
    with pytest.raises(TypeError, match="expected the path to a YAML file or a dict, got 3"):
        paddledetection.recipe(3)
