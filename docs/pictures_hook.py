"""A hook of MkDocs: draws the pictures of the documentation from the schedules themselves, at each build."""

import io

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from mkdocs.structure.files import File

import jaxsched as js

STEPS = np.arange(1001)
GALLERY = {
    "linear": js.linear(1.0, 0.0, 1000),
    "cosine": js.cosine(1.0, 1000),
    "cosine_restarts": js.cosine_restarts(1.0, 140, stretch=2),
    "multi_step": js.multi_step(1.0, at=(600, 850), factor=0.3),
    "step_decay": js.step_decay(1.0, every=250, factor=0.5),
    "exponential": js.exponential(1.0, rate=0.997),
    "polynomial": js.polynomial(1.0, 0.0, 1000, power=2.0),
    "inverse_sqrt": js.inverse_sqrt(1.0, steps=50),
    "one_cycle": js.one_cycle(1.0, 1000),
    "cyclic": js.cyclic(0.1, 1.0, up=150),
    "inverse_time": js.inverse_time(1.0, rate=0.01),
    "periodic_cosine": js.schedules.periodic_cosine(1.0, 200),
    "piecewise": js.piecewise([1.0, 0.5, 0.7, 0.2], at=(250, 500, 750)),
    "tanh_decay": js.schedules.tanh_decay(1.0, 1000),
    "flat_then_cosine": js.schedules.flat_then_cosine(1.0, 1000, flat=700),
    "cooldown": js.cooldown(js.constant(1.0), at=700, steps=300),
    "sequential": js.sequential([js.linear(0.3, 1.0, 200), js.cosine(1.0, 800)], at=(200,)),
    "exponential_ramp": js.schedules.exponential_ramp(1.0, 200),
    "per_epoch": js.per_epoch(js.cosine(1.0, 10), steps_per_epoch=100),
    "warmup": js.warmup(js.cosine(1.0, 1000), steps=150),
    "warmup_stable_decay": js.warmup_stable_decay(1.0, warmup=100, stable=600, decay=300),
}
HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)

TUTORIAL_LR = js.warmup(js.cosine(0.1, 200), 20)
_LR = js.warmup(js.cosine(0.1, 2000), 200)
TUTORIAL = js.Recipe(
    "sgd",
    dict(lr=_LR, momentum=0.9, weight_decay=5e-4),
    groups={"bias": dict(weight_decay=0.0), "body": dict(lr=0.1 * _LR)},
    rules=[(js.role("bias"), "bias"), ("head/**", "head"), ("**", "body")],
    ema=0.99,
    steps=2000,
    steps_per_epoch=100,
)


def on_files(files, config):
    pictures = {name: small(schedule(STEPS)) for name, schedule in GALLERY.items()}
    pictures |= {"plateau": small(plateau()), "yolov5_curves": yolov5(), "clock": clock()}
    pictures |= {"tutorial_lr": svg(js.plot(TUTORIAL_LR)), "tutorial_recipe": svg(js.plot(TUTORIAL))}
    for name, content in pictures.items():
        files.append(File.generated(config, f"pictures/{name}.svg", content=content))
    return files


def plateau():
    """The values of a plateau, with a loss reported every 50 steps that twice stops falling."""
    state = js.sgd(lr=js.plateau(1.0, factor=0.4, patience=3)).init({"w": np.zeros(1, np.float32)})
    values = []
    for i in range(len(STEPS) // 50 + 1):
        values += [float(js.metric_state(state)["weight"]["lr"].value)] * 50
        state = js.report_metric(state, max(1.0 - 0.1 * i, 0.4 if i < 12 else 0.9 - 0.05 * i))
    return values[: len(STEPS)]


def svg(figure):
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight")
    plt.close(figure)
    return text.getvalue()


def small(values):
    figure, axes = plt.subplots(figsize=(1.6, 0.8))
    axes.plot(STEPS, values, color="C0")
    axes.set(ylim=(-0.05, 1.1), xticks=[], yticks=[])
    return svg(figure)


def yolov5():
    recipe = js.ports.yolov5.recipe(HYP, epochs=100, steps_per_epoch=50, batch_size=16)
    steps = np.arange(recipe.steps)
    curves = js.curves(recipe, steps)
    figure, axes = plt.subplots(figsize=(7, 2.8))
    for group, style in (("bias", "-"), ("weight", "--")):
        axes.plot(steps / 50, curves[group]["lr"], style, label=f"lr of {group}")
    axes.set(xlabel="epoch", ylabel="learning rate", xlim=(0, 100), ylim=(0, 0.1))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def clock():
    figure, axes = plt.subplots(figsize=(7, 1.9))
    for epoch in range(2):
        axes.axvspan(epoch * 8, epoch * 8 + 8, color=f"C{epoch}", alpha=0.12)
        axes.text(epoch * 8 + 4, 1.65, f"epoch {epoch}", ha="center")
    for step in range(16):
        due = step % 4 == 3
        axes.plot(step + 0.5, 1, "o" if due else ".", color="C3" if due else "0.4", markersize=11 if due else 7)
        axes.text(step + 0.5, 0.45, str(step), ha="center", fontsize=8)
    axes.text(-0.3, 1, "batches", ha="right", va="center")
    axes.text(-0.3, 0.45, "step", ha="right")
    axes.plot([], [], "o", color="C3", markersize=9, label="a batch that ends in an update (every=4)")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, -0.35))
    axes.set(xlim=(-0.1, 16.1), ylim=(0.2, 2))
    axes.axis("off")
    return svg(figure)
