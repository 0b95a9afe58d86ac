"""A learning-rate sweep in one compiled program: ``python examples/lr_sweep.py``.

A recipe is a value whose numbers are leaves, so several of them stack into one, and ``jax.vmap`` trains them all at
once. What is trained is a small network on scikit-learn's handwritten digits; the picture shows the final loss over the
peak learning rate.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import jaxsched as js


@dataclasses.dataclass(frozen=True)
class Options:
    """Train one network at many peak learning rates at once."""

    rates: int = 64
    """How many peak learning rates to try, evenly spaced in their logarithm."""
    lowest: float = 1e-3
    """The lowest peak learning rate."""
    highest: float = 10.0
    """The highest peak learning rate."""
    steps: int = 5000
    """Length of each training, in updates."""
    batch_size: int = 16
    """Images in a batch."""
    out: Path | None = Path("runs/lr_sweep.png")
    """Where to put the picture; none: nowhere."""
    compare: bool = True
    """Also train one after the other, and tell how long that takes."""

    def __post_init__(self) -> None:
        for name, least in (("rates", 1), ("steps", 20), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least {least}.")
        if not 0 < self.lowest <= self.highest:
            raise ValueError(f"--lowest is {self.lowest}, --highest {self.highest}; it must be 0 < lowest <= highest.")


def recipe(peak: float, steps: int) -> js.Recipe:
    """Nesterov SGD, a short warm-up, half a cosine down to 0."""
    lr = js.warmup(js.cosine(peak, steps=steps), steps=steps // 20)
    return js.Recipe("sgd", {"lr": lr, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
                     groups={"bias": {"weight_decay": 0.0}}, steps=steps)  # fmt: skip


def digits() -> tuple[jax.Array, jax.Array]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return jnp.asarray(data.images.reshape(-1, 64) / 16), jnp.asarray(data.target)


def start(key: jax.Array) -> dict[str, Any]:
    keys = jax.random.split(key, 2)
    shapes = {"hidden": (64, 32), "out": (32, 10)}
    return {
        name: {"kernel": jax.random.normal(k, shape) * (2 / shape[0]) ** 0.5, "bias": jnp.zeros(shape[1])}
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    logits = hidden @ params["out"]["kernel"] + params["out"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def train(recipe: js.Recipe, order: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """The loss at each step of one training; ``order[step]`` are the images of a batch."""
    tx = recipe.build()
    params = start(jax.random.key(0))

    def step(carry: Any, batch: jax.Array) -> tuple[Any, jax.Array]:
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, x[batch], y[batch])
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    return jax.lax.scan(step, (params, tx.init(params)), order)[1]


def stacked(recipes: list[js.Recipe]) -> js.Recipe:
    """Many recipes of one form as one, each number an array of theirs."""
    return jax.tree.map(lambda *numbers: np.stack(numbers), *recipes)


def main(options: Options) -> np.ndarray:
    """The losses, ``[rates, steps]``."""
    x, y = digits()
    order = jax.random.randint(jax.random.key(1), (options.steps, options.batch_size), 0, len(x))
    peaks = np.geomspace(options.lowest, options.highest, options.rates)
    recipes = [recipe(float(peak), options.steps) for peak in peaks]

    began = time.perf_counter()
    losses = np.asarray(jax.jit(jax.vmap(train, (0, None, None, None)))(stacked(recipes), order, x, y))
    at_once = time.perf_counter() - began
    print(f"{options.rates} trainings at once: {at_once:.2f} s, compilation included")

    if options.compare:
        began = time.perf_counter()
        compiled = jax.jit(train)  # once for all: another rate is another argument
        each = np.stack([np.asarray(compiled(r, order, x, y)) for r in recipes])
        one_by_one = time.perf_counter() - began
        print(f"one after the other:  {one_by_one:.2f} s, {one_by_one / at_once:.1f} times as long")
        settled = each[:, :20]
        print(f"largest difference of a loss in the first 20 steps: {np.nanmax(np.abs(settled - losses[:, :20])):.1e}")

    final = losses[:, -options.steps // 10 :].mean(1)
    best = int(np.nanargmin(final))
    print(f"best peak learning rate: {peaks[best]:.3g} (loss {final[best]:.4f})")
    if options.out:
        draw(peaks, final, losses, options.out)
        print(f"picture: {options.out}")
    return losses


def draw(peaks: np.ndarray, final: np.ndarray, losses: np.ndarray, path: Path) -> None:
    """The final loss over the peak rate, and the loss over the steps of each."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.loglog(peaks, final, marker="o")
    left.set(xlabel="peak learning rate", ylabel="loss over the last tenth of the steps", title="Which rate to choose")
    colours = plt.get_cmap("viridis")(np.linspace(0, 1, len(peaks)))
    window = max(1, losses.shape[1] // 30)
    for _peak, curve, colour in zip(peaks, losses, colours, strict=True):
        smooth = np.convolve(curve, np.ones(window) / window, "valid")
        right.semilogy(np.arange(window - 1, len(curve)), smooth, color=colour, lw=1.2)
    right.set(xlabel="step", ylabel="loss", title="All trainings")
    scale = plt.cm.ScalarMappable(matplotlib.colors.LogNorm(peaks[0], peaks[-1]), "viridis")
    figure.colorbar(scale, ax=right, label="peak learning rate")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main(tyro.cli(Options, description=Options.__doc__))
