"""What calls cost, measured in turns."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Cost(NamedTuple):
    """What a call takes: ms by the clock, processor time in ms, its part in the system in ms, and page faults."""

    clock: float
    processor: float
    system: float
    faults: float


def total_cost() -> Cost:
    """Of the process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Cost(time.perf_counter() * 1e3, (used.ru_utime + used.ru_stime) * 1e3, used.ru_stime * 1e3, used.ru_minflt)


def in_turns(parts: dict[str, Callable[[], Any]], cycles: int, accumulate: int) -> dict[str, list[Cost]]:
    """Cost of one call of each in each cycle of accumulation, in an order that changes, so that none always comes
    after the same other one. As in training nothing waits inside a cycle; a first call, which finds memory and threads
    as another left them, is not counted."""
    for run in parts.values():
        jax.block_until_ready(run())  # compiled
    costs: dict[str, list[Cost]] = {name: [] for name in parts}
    order = random.Random(0)
    for _ in range(cycles):
        for name, run in order.sample(list(parts.items()), len(parts)):
            jax.block_until_ready(run())
            before = total_cost()
            for _ in range(accumulate):
                last = run()
            jax.block_until_ready(last)
            costs[name].append(Cost(*((b - a) / accumulate for a, b in zip(before, total_cost(), strict=True))))
    return costs
