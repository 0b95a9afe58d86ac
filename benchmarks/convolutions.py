"""The cost of the detector's convolutions on a CPU: XLA's own forms, and those of examples/detector/fused.py.

    python benchmarks/convolutions.py                  # at 640 px, batch 16
    taskset -c 0 python benchmarks/convolutions.py     # on one core

Times are medians in milliseconds, after compilation, of the largest layers of n. The two forms are measured in turns;
the processor time is that of all threads.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.cost import Cost, in_turns
from examples.detector import fused

LARGEST = [  # width and height of the input as a part of the image's, input and output channels, kernel, stride
    (2, 16, 32, 3, 2), (4, 32, 64, 3, 2), (8, 64, 128, 3, 2), (8, 32, 32, 3, 1), (16, 64, 64, 3, 1),
    (4, 32, 16, 1, 1), (4, 32, 32, 1, 1), (8, 128, 32, 1, 1), (8, 64, 64, 1, 1),
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure convolutions."""

    image_size: int = 640
    """Width and height of the network's input, in pixels."""
    batch_size: int = 16
    """Images in a batch."""
    repeats: int = 9
    """Calls of each form."""


def main(o: Options) -> None:
    print(f"jax {jax.__version__}, {o.image_size} px, batch {o.batch_size}; ms by the clock (processor time)\n")
    print(f"{'convolution':<36}{'forward, XLA':>18}{'gradients, XLA':>18}{'fused':>18}{'ratio':>16}")
    for part, inputs, outputs, size, stride in LARGEST:
        side = o.image_size // part
        costs = in_turns(forms(o.batch_size, side, inputs, outputs, size, stride), o.repeats, 1)
        forward, xla, own = (Cost(*map(statistics.median, zip(*each, strict=True))) for each in costs.values())
        shown = [f"{cost.clock:.1f} ({cost.processor:.1f})" for cost in (forward, xla, own)]
        ratios = f"{own.clock / xla.clock:.2f} ({own.processor / xla.processor:.2f})"
        name = f"{size}x{size}, stride {stride}, {side}x{side}, {inputs} to {outputs}"
        print(f"{name:<36}" + "".join(f"{text:>18}" for text in (*shown, ratios)))


def forms(batch: int, side: int, inputs: int, outputs: int, size: int, stride: int) -> dict[str, Callable[[], Any]]:
    """The convolution and both forms of its gradients, compiled at the first call."""
    rng = np.random.default_rng(0)
    x, kernel, gradient = (jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in (
        (batch, side, side, inputs), (size, size, inputs, outputs), (batch, side // stride, side // stride, outputs),
    ))  # fmt: skip

    def gradients_of(convolve: Callable[..., jax.Array]) -> Callable[..., Any]:
        return lambda x, kernel, g: jax.vjp(lambda x, k: convolve(x, k, stride, size // 2), x, kernel)[1](g)

    def call(function: Callable[..., Any], *arguments: jax.Array) -> Callable[[], Any]:
        return functools.partial(jax.jit(function), *arguments)

    return {
        "forward": call(lambda x, kernel: fused.convolution(x, kernel, stride, size // 2), x, kernel),
        "gradients, XLA": call(gradients_of(fused.convolution), x, kernel, gradient),
        "gradients, fused": call(gradients_of(fused.convolve), x, kernel, gradient),
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=Options.__doc__))
