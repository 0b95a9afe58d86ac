"""The cost of the detector's convolutions on a CPU: XLA's own forms, and those of examples/detector/fused.py.

    python benchmarks/convolutions.py                  # at 640 px, batch 16
    taskset -c 0 python benchmarks/convolutions.py     # on one core

Times are medians in milliseconds, after compilation, of the largest layers of n. The two forms are measured in turns;
the processor time is that of all threads.
"""

from __future__ import annotations

import dataclasses
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import jax
import jax.numpy as jnp
import numpy as np
import tyro

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
    rng = np.random.default_rng(0)
    print(f"jax {jax.__version__}, {o.image_size} px, batch {o.batch_size}; ms by the clock (processor time)\n")
    print(f"{'convolution':<36}{'forward':>18}{'gradients, XLA':>18}{'fused':>18}{'ratio':>16}")
    for part, inputs, outputs, size, stride in LARGEST:
        side = o.image_size // part
        normal = (rng.standard_normal(s, np.float32) for s in (
            (o.batch_size, side, side, inputs), (size, size, inputs, outputs),
            (o.batch_size, side // stride, side // stride, outputs),
        ))  # fmt: skip
        arrays = tuple(map(jnp.asarray, normal))
        padding = size // 2

        def forward(
            x: jax.Array, kernel: jax.Array, _: jax.Array, stride: int = stride, padding: int = padding
        ) -> jax.Array:
            return fused.convolution(x, kernel, stride, padding)

        def gradients(
            convolve: Callable[..., jax.Array], stride: int = stride, padding: int = padding
        ) -> Callable[..., Any]:
            return lambda x, kernel, g: jax.vjp(lambda x, k: convolve(x, k, stride, padding), x, kernel)[1](g)

        forms = {"forward": forward, "XLA": gradients(fused.convolution), "fused": gradients(fused.convolve)}
        costs = in_turns({name: jax.jit(form) for name, form in forms.items()}, arrays, o.repeats)
        ratio = [a / b for a, b in zip(costs["fused"], costs["XLA"], strict=True)]
        name = f"{size}x{size}, stride {stride}, {side}x{side}, {inputs} to {outputs}"
        shown = [f"{clock:.1f} ({processor:.1f})" for clock, processor in costs.values()]
        print(f"{name:<36}" + "".join(f"{text:>18}" for text in (*shown, f"{ratio[0]:.2f} ({ratio[1]:.2f})")))


def in_turns(forms: dict[str, Callable[..., Any]], arrays: Any, repeats: int) -> dict[str, tuple[float, float]]:
    """Milliseconds by the clock and of the processor that a call of each takes."""
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            before = resource.getrusage(resource.RUSAGE_SELF)
            began = time.perf_counter()
            jax.block_until_ready(form(*arrays))
            clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
            processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            if turn:  # the first call compiles
                costs[name].append((clock * 1e3, processor * 1e3))
    median = statistics.median
    return {name: (median(c for c, _ in each), median(p for _, p in each)) for name, each in costs.items()}


if __name__ == "__main__":
    main(tyro.cli(Options, description=Options.__doc__))
