"""The cost of a schedule, compared with optax's under jit and with stepping torch's scheduler as often.

    python benchmarks/schedules.py

All in one process, in turns, medians; the table gives ratios (theirs / ours: above 1 ours is faster). "curve" is all
steps of the run as one array; "a step" one evaluation inside a compiled loop, as in training; "compile" the time to the
first value. torch is stepped for as many steps as it does in two seconds and scaled up; without torch that column is
left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxsched as js

STEPS = 2_000_000
LOOP = 200_000
TURNS = 5
PEAK = 3e-4


def pairs() -> dict[str, tuple[js.Schedule, Any, Callable[[Any], Any] | None]]:
    """Ours, optax's, and torch's scheduler of an optimizer."""
    n, warm = STEPS, STEPS // 50
    torch_lr: Any = None
    if importlib.util.find_spec("torch"):
        from torch.optim import lr_scheduler as torch_lr

    def of_torch(name: str, **arguments: Any) -> Callable[[Any], Any] | None:
        return (lambda optimizer: getattr(torch_lr, name)(optimizer, **arguments)) if torch_lr else None

    return {
        "linear": (
            js.linear(PEAK, 0.0, n),
            optax.linear_schedule(PEAK, 0.0, n),
            of_torch("LinearLR", start_factor=1.0, end_factor=0.0, total_iters=n),
        ),
        "cosine": (
            js.cosine(PEAK, n),
            optax.cosine_decay_schedule(PEAK, n),
            of_torch("CosineAnnealingLR", T_max=n),
        ),
        "polynomial, power 0.9": (
            js.polynomial(PEAK, 0.0, n, 0.9),
            optax.polynomial_schedule(PEAK, 0.0, 0.9, n),
            of_torch("PolynomialLR", total_iters=n, power=0.9),
        ),
        "exponential": (
            js.exponential(PEAK, 1 - 1 / n),
            optax.exponential_decay(PEAK, 1, 1 - 1 / n),
            of_torch("ExponentialLR", gamma=1 - 1 / n),
        ),
        "stairs": (
            js.step_decay(PEAK, n // 10, 0.5),
            optax.exponential_decay(PEAK, n // 10, 0.5, staircase=True),
            of_torch("StepLR", step_size=n // 10, gamma=0.5),
        ),
        "milestones": (
            js.multi_step(PEAK, (n // 2, n // 4 * 3)),
            optax.piecewise_constant_schedule(PEAK, {n // 2: 0.1, n // 4 * 3: 0.1}),
            of_torch("MultiStepLR", milestones=[n // 2, n // 4 * 3]),
        ),
        "one cycle": (
            js.one_cycle(PEAK, n),
            optax.cosine_onecycle_schedule(n, PEAK),
            of_torch("OneCycleLR", max_lr=PEAK, total_steps=n),
        ),
        "warm restarts": (
            js.cosine_restarts(PEAK, n // 15, stretch=2),
            optax.sgdr_schedule(
                [
                    dict(init_value=0.0, peak_value=PEAK, warmup_steps=0, decay_steps=n // 15 * k, end_value=0.0)
                    for k in (1, 2, 4, 8)
                ]
            ),
            of_torch("CosineAnnealingWarmRestarts", T_0=n // 15, T_mult=2),
        ),
        "warm-up and cosine": (
            js.sequential([js.linear(0.0, PEAK, warm), js.cosine(PEAK, n - warm)], at=[warm]),
            optax.warmup_cosine_decay_schedule(0.0, PEAK, warm, n),
            None,
        ),
    }


def loop(schedule: Callable[[Any], Any]) -> Callable[[], Any]:
    """A compiled loop that takes the schedule at each of ``LOOP`` steps."""

    @jax.jit
    def run() -> jax.Array:
        return jax.lax.fori_loop(0, LOOP, lambda step, total: total + schedule(step), jnp.float32(0))

    return run


def curve(schedule: Callable[[Any], Any], steps: jax.Array) -> Callable[[], Any]:
    compiled = jax.jit(jax.vmap(schedule))
    return lambda: compiled(steps)


def seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - begin


def in_turns(*works: Callable[[], Any]) -> list[tuple[float, float]]:
    """For each the time of the first call, which compiles, and the median of those that follow."""
    first = [seconds(work) for work in works]
    later = list(zip(*([seconds(work) for work in works] for _ in range(TURNS)), strict=True))
    return [(a, statistics.median(b)) for a, b in zip(first, later, strict=True)]


def torch_run(make: Callable[[Any], Any]) -> float:
    """Seconds for ``STEPS`` steps of a torch scheduler, from the number that it does in two."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    optimizer.step()
    scheduler, done, begin = make(optimizer), 0, time.perf_counter()
    while time.perf_counter() - begin < 2:
        for _ in range(200):
            scheduler.step()
        done += 200
    return (time.perf_counter() - begin) / done * STEPS


def main() -> None:
    warnings.filterwarnings("ignore", message="Detected call of .lr_scheduler.step")
    print(f"jax {jax.__version__}, optax {optax.__version__}, {jax.devices()[0].device_kind}; {STEPS:,} steps\n")
    print("| schedule | curve, ms | optax / ours | a step, ns | optax / ours | compile, ms | optax / ours | torch |")
    print("|---|---|---|---|---|---|---|---|")
    steps = jnp.arange(STEPS, dtype=jnp.int32)
    for name, (ours, optaxs, torchs) in pairs().items():
        (_, mine), (_, theirs) = in_turns(curve(ours, steps), curve(optaxs, steps))
        (built, step), (their_built, their_step) = in_turns(loop(ours), loop(optaxs))
        stepped = f"{torch_run(torchs) / mine:,.0f}" if torchs else ""
        print(
            f"| {name} | {mine * 1e3:.1f} | {theirs / mine:.2f} | {step / LOOP * 1e9:.0f} | {their_step / step:.2f} "
            f"| {built * 1e3:.0f} | {their_built / built:.2f} | {stepped} |",
            flush=True,
        )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
