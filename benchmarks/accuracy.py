"""The error of each schedule in float32 under jit, and that of optax's schedule for the same curve.

    python benchmarks/accuracy.py                # the tables, in Markdown
    python benchmarks/accuracy.py cosine linear  # only rows whose name contains one of these

The error is in ulp: the distance between neighbouring float32 numbers at the true value. "as an argument" is the
schedule passed through jit as a pytree, its numbers traced. True values are computed from exact integers in numpy's
longdouble (64 bits of mantissa on x86), by formulas that tests compare with mpmath at 50 digits.

The first table has round numbers at five horizons, the second draws its arguments and prints the worst case. Both tell
what the accuracy costs: equations in the compiled step, with the numbers as constants, and the time to trace it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxsched as js

HORIZONS = (10**3, 10**5, 10**6, 3 * 10**7, 10**9)
LAST = 2**31 - 1


class Longdouble:
    """What the formulas below need, for arrays of steps."""

    number = np.longdouble
    pi = np.longdouble("3.14159265358979323846264338327950288")
    sin, exp, log, expm1, log1p, sqrt = np.sin, np.exp, np.log, np.expm1, np.log1p, np.sqrt
    floor, minimum, maximum, where = np.floor, np.minimum, np.maximum, np.where


class Row(NamedTuple):
    """A schedule by its horizon, its true value by (numbers, step, horizon), and optax's."""

    ours: Callable[[int], js.Schedule]
    truth: Callable[[Any, Any, int], Any]
    optax: Callable[[int], Any] | None = None


def left(m: Any, t: Any, steps: int) -> Any:
    return m.maximum(steps - t, 0) / m.number(steps)


def gone(m: Any, t: Any, steps: int) -> Any:
    return m.minimum(t, steps) / m.number(steps)


def wave(m: Any, fraction: Any) -> Any:
    """(1 - cos(pi * fraction)) / 2"""
    return m.sin(m.pi / 2 * fraction) ** 2


def half_cosine(m: Any, t: Any, steps: int, peak: float, floor: float = 0.0) -> Any:
    return m.number(peak) * wave(m, left(m, t, steps)) + m.number(floor) * wave(m, gone(m, t, steps))


def line(m: Any, t: Any, steps: int, start: float, end: float) -> Any:
    return m.number(start) * left(m, t, steps) + m.number(end) * gone(m, t, steps)


def rest_of_power(m: Any, x: Any, rest: Any, power: float) -> Any:
    """1 - x**power"""
    near = m.log1p(-m.minimum(rest, m.number(0.5)))
    far = m.log(m.maximum(x, m.number(1e-30)))
    return m.where(x <= 0, 1, -m.expm1(m.number(power) * m.where(rest < 0.5, near, far)))


def polynomial(m: Any, t: Any, steps: int, start: float, end: float, power: float) -> Any:
    x = left(m, t, steps)
    raised = m.where(x > 0, m.exp(m.number(power) * m.log(m.maximum(x, m.number(1e-30)))), 0)
    return m.number(start) * raised + m.number(end) * rest_of_power(m, x, gone(m, t, steps), power)


def k_cosine(m: Any, t: Any, steps: int, peak: float, k: float) -> Any:
    return m.number(peak) * wave(m, rest_of_power(m, gone(m, t, steps), left(m, t, steps), k))


def exponential(m: Any, times: Any, start: float, rate: float) -> Any:
    return m.number(start) * m.exp(m.log(m.number(rate)) * times)


def restarts(m: Any, t: Any, steps: int, peak: float, floor: float, stretch: int, decay: float) -> Any:
    value, begin, length, cycle = 0, 0, steps, 0
    while begin <= LAST and (stretch > 1 or cycle < 1):
        over = t - begin if stretch > 1 else t - m.floor(t / m.number(length)) * length
        value = m.where(t >= begin, half_cosine(m, over, length, peak * decay**cycle, floor), value)
        begin, length, cycle = begin + length, length * stretch, cycle + 1
    return value


def triangle(m: Any, t: Any, up: int, down: int, low: float, high: float, amplitude: Any = 1) -> Any:
    at = t - m.floor(t / m.number(up + down)) * (up + down)
    height = amplitude * m.where(at < up, at / m.number(up), (up + down - at) / m.number(down))
    return m.number(low) * (1 - height) + m.number(high) * height


def one_cycle(m: Any, t: Any, steps: int, way: Callable[..., Any], peak: float, three: bool = False) -> Any:
    up, start, floor = steps // 10 * 3, peak / 25, peak / 25 / 1e4
    value = way(m, t, up, start, peak)
    if three:
        down = way(m, m.maximum(t - up, 0), up, peak, start)
        last = way(m, m.maximum(t - 2 * up, 0), steps - 2 * up, start, floor)
        return m.where(t < up, value, m.where(t < 2 * up, down, last))
    return m.where(t < up, value, way(m, m.maximum(t - up, 0), steps - up, peak, floor))


def tanh(m: Any, t: Any, steps: int, peak: float, floor: float) -> Any:
    x = -7 * left(m, t, steps) + 3 * gone(m, t, steps)
    value = m.number(peak) / (1 + m.exp(2 * x)) + m.number(floor) / (1 + m.exp(-2 * x))
    return m.where(t >= steps, m.number(floor), value)


def cooldown(m: Any, t: Any, at: int, steps: int, shape: Callable[[Any, Any, Any], Any]) -> Any:
    since = m.maximum(t - at, 0)
    return m.number(P) * shape(m, left(m, since, steps), gone(m, since, steps))


def decay_to(m: Any, left: Any, gone: Any, start: float, end: float) -> Any:
    return m.exp(left * m.log(m.number(start)) + gone * m.log(m.number(end)))


P = 3e-4


def rows() -> dict[str, Row]:
    """The table's rows."""
    a, b = 0.1, 3e-5
    table = {
        "constant": Row(
            lambda n: js.constant(P), lambda m, t, n: m.number(P) + 0 * t, lambda n: optax.constant_schedule(P)
        ),
        "linear to 0": Row(
            lambda n: js.linear(P, 0.0, n),
            lambda m, t, n: line(m, t, n, P, 0),
            lambda n: optax.linear_schedule(P, 0.0, n),
        ),
        "linear up": Row(
            lambda n: js.linear(b, a, n),
            lambda m, t, n: line(m, t, n, b, a),
            lambda n: optax.linear_schedule(b, a, n),
        ),
        "cosine to 0": Row(
            lambda n: js.cosine(P, n),
            lambda m, t, n: half_cosine(m, t, n, P),
            lambda n: optax.cosine_decay_schedule(P, n),
        ),
        "cosine to a tenth": Row(
            lambda n: js.cosine(P, n, floor=b),
            lambda m, t, n: half_cosine(m, t, n, P, b),
            lambda n: optax.cosine_decay_schedule(P, n, alpha=0.1),
        ),
        "cosine, k 1.5": Row(lambda n: js.cosine(P, n, k=1.5), lambda m, t, n: k_cosine(m, t, n, P, 1.5)),
        "cosine, k 0.7": Row(lambda n: js.cosine(P, n, k=0.7), lambda m, t, n: k_cosine(m, t, n, P, 0.7)),
        "periodic_cosine": Row(
            lambda n: js.schedules.periodic_cosine(P, n, floor=1e-6),
            lambda m, t, n: half_cosine(m, abs(t - m.floor(t / m.number(2 * n) + m.number(0.5)) * 2 * n), n, P, 1e-6),
        ),
        "cosine_restarts, even": Row(
            lambda n: js.cosine_restarts(P, n // 4), lambda m, t, n: restarts(m, t, n // 4, P, 0, 1, 1)
        ),
        "cosine_restarts, doubling": Row(
            lambda n: js.cosine_restarts(P, n // 10, floor=1e-9, stretch=2, decay=0.5),
            lambda m, t, n: restarts(m, t, n // 10, P, 1e-9, 2, 0.5),
        ),
        "cosine_restarts, tripling": Row(
            lambda n: js.cosine_restarts(P, max(n // 10**4, 1), stretch=3),
            lambda m, t, n: restarts(m, t, max(n // 10**4, 1), P, 0, 3, 1),
        ),
        "flat_then_cosine": Row(
            lambda n: js.schedules.flat_then_cosine(P, n, n // 2, floor=1e-7),
            lambda m, t, n: half_cosine(m, m.maximum(t - n // 2, 0), n - n // 2, P, 1e-7),
        ),
        "exponential, 0.96": Row(
            lambda n: js.exponential(P, 0.96, n // 100),
            lambda m, t, n: exponential(m, t / m.number(n // 100), P, 0.96),
            lambda n: optax.exponential_decay(P, n // 100, 0.96),
        ),
        "exponential, 1e-3": Row(
            lambda n: js.exponential(P, 1e-3, n // 3),
            lambda m, t, n: exponential(m, t / m.number(n // 3), P, 1e-3),
            lambda n: optax.exponential_decay(P, n // 3, 1e-3),
        ),
        "exponential, staircase": Row(
            lambda n: js.exponential(P, 0.96, n // 100, staircase=True),
            lambda m, t, n: exponential(m, m.floor(t / m.number(n // 100)), P, 0.96),
            lambda n: optax.exponential_decay(P, n // 100, 0.96, staircase=True),
        ),
        "exponential, 1 - 1/n each step": Row(
            lambda n: js.exponential(P, 1 - 1 / n),
            lambda m, t, n: exponential(m, t, P, 1 - 1 / n),
            lambda n: optax.exponential_decay(P, 1, 1 - 1 / n),
        ),
        "exponential, 1 - 1e-8": Row(
            lambda n: js.exponential(P, 1 - 1e-8),
            lambda m, t, n: exponential(m, t, P, 1 - 1e-8),
            lambda n: optax.exponential_decay(P, 1, 1 - 1e-8),
        ),
        "exponential_ramp": Row(
            lambda n: js.schedules.exponential_ramp(0.9999, n),
            lambda m, t, n: -m.number(0.9999) * m.expm1(-(t + 1) / m.number(n)),
        ),
        "inverse_time": Row(
            lambda n: js.inverse_time(P, 0.7, n // 10),
            lambda m, t, n: m.number(P) / (1 + m.number(0.7) * t / (n // 10)),
        ),
        "inverse_sqrt": Row(
            lambda n: js.inverse_sqrt(P, n // 100), lambda m, t, n: m.number(P) / m.sqrt(1 + t / m.number(n // 100))
        ),
        "inverse_power, 3.1": Row(
            lambda n: js.schedules.inverse_power(P, 1e-3, 3.1),
            lambda m, t, n: m.number(P) * m.exp(-m.number(3.1) * m.log1p(m.number(1e-3) * t)),
        ),
        "step_decay": Row(
            lambda n: js.step_decay(P, n // 10, 0.97),
            lambda m, t, n: exponential(m, m.floor(t / m.number(n // 10)), P, 0.97),
            lambda n: optax.exponential_decay(P, n // 10, 0.97, staircase=True),
        ),
        "multi_step": Row(
            lambda n: js.multi_step(P, (n // 2, n // 4 * 3)),
            lambda m, t, n: exponential(m, m.where(t >= n // 4 * 3, 2, m.where(t >= n // 2, 1, 0)), P, 0.1),
            lambda n: optax.piecewise_constant_schedule(P, {n // 2: 0.1, n // 4 * 3: 0.1}),
        ),
        "piecewise": Row(
            lambda n: js.piecewise([P, b], at=[n // 2]),
            lambda m, t, n: m.where(t >= n // 2, m.number(b), m.number(P)),
        ),
        "tanh": Row(lambda n: js.schedules.tanh_decay(P, n, floor=1e-6), lambda m, t, n: tanh(m, t, n, P, 1e-6)),
        "tanh up": Row(lambda n: js.schedules.tanh_decay(0.0, n, floor=P), lambda m, t, n: tanh(m, t, n, 0.0, P)),
        "cyclic": Row(
            lambda n: js.cyclic(1e-6, P, n // 10, n // 5),
            lambda m, t, n: triangle(m, t, n // 10, n // 5, 1e-6, P),
        ),
        "cyclic, triangular2": Row(
            lambda n: js.cyclic(1e-6, P, n // 10, amplitude=js.step_decay(1.0, n // 5, 0.5)),
            lambda m, t, n: triangle(
                m, t, n // 10, n // 10, 1e-6, P, exponential(m, m.floor(t / m.number(n // 5)), 1, 0.5)
            ),
        ),
        "cyclic, exponential range": Row(
            lambda n: js.cyclic(1e-6, P, n // 10, amplitude=js.exponential(1.0, 1 - 1 / n)),
            lambda m, t, n: triangle(m, t, n // 10, n // 10, 1e-6, P, exponential(m, t, 1, 1 - 1 / n)),
        ),
        "one_cycle": Row(
            lambda n: js.one_cycle(P, n),
            lambda m, t, n: one_cycle(m, t, n, half_cosine, P),
            lambda n: optax.cosine_onecycle_schedule(n, P),
        ),
        "one_cycle, three linear phases": Row(
            lambda n: js.one_cycle(P, n, shape="linear", three_phase=True),
            lambda m, t, n: one_cycle(m, t, n, line, P, three=True),
            lambda n: optax.linear_onecycle_schedule(n, P, pct_start=0.3, pct_final=0.6),
        ),
        "one_cycle_momentum": Row(
            lambda n: js.schedules.one_cycle_momentum(n),
            lambda m, t, n: m.where(
                t < n // 10 * 3,
                half_cosine(m, t, n // 10 * 3, 0.95, 0.85),
                half_cosine(m, m.maximum(t - n // 10 * 3, 0), n - n // 10 * 3, 0.85, 0.95),
            ),
        ),
        "warm-up and cosine": Row(
            lambda n: js.sequential([js.linear(0.0, P, n // 50), js.cosine(P, n - n // 50)], at=[n // 50]),
            lambda m, t, n: m.where(
                t < n // 50, line(m, t, n // 50, 0, P), half_cosine(m, m.maximum(t - n // 50, 0), n - n // 50, P)
            ),
            lambda n: optax.warmup_cosine_decay_schedule(0.0, P, n // 50, n),
        ),
        "warmup of a running cosine": Row(
            lambda n: js.warmup(js.cosine(P, n), n // 50),
            lambda m, t, n: half_cosine(m, t, n, P) * gone(m, t, n // 50),
        ),
        "warmup, quadratic": Row(
            lambda n: js.warmup(P, n, 1e-9, shape="quadratic"),
            lambda m, t, n: m.number(1e-9) * left(m, t, n) * (1 + gone(m, t, n)) + m.number(P) * gone(m, t, n) ** 2,
        ),
        "warmup, exponential": Row(
            lambda n: js.warmup(P, n, 1e-9, shape="exponential"),
            lambda m, t, n: decay_to(m, left(m, t, n), gone(m, t, n), 1e-9, P),
        ),
        "cooldown, sqrt": Row(
            lambda n: js.cooldown(P, n // 2, n - n // 2, shape="sqrt"),
            lambda m, t, n: cooldown(m, t, n // 2, n - n // 2, lambda m, left, gone: left / (1 + m.sqrt(gone))),
        ),
        "cooldown, exponential": Row(
            lambda n: js.cooldown(P, n // 2, n - n // 2, 1e-8, shape="exponential"),
            lambda m, t, n: cooldown(
                m, t, n // 2, n - n // 2, lambda m, left, gone: decay_to(m, left, gone, P, 1e-8) / m.number(P)
            ),
        ),
        "warmup_stable_decay": Row(
            lambda n: js.warmup_stable_decay(P, n // 10, n // 2, n - n // 10 - n // 2, decay_shape="cosine"),
            lambda m, t, n: (
                gone(m, t, n // 10) * half_cosine(m, m.maximum(t - n // 10 - n // 2, 0), n - n // 10 - n // 2, P)
            ),
        ),
    }
    for power in (0.5, 0.9, 2, 3, 10):
        table[f"polynomial to 0, power {power}"] = Row(
            lambda n, p=power: js.polynomial(P, 0.0, n, p),
            lambda m, t, n, p=power: polynomial(m, t, n, P, 0, p),
            lambda n, p=power: optax.polynomial_schedule(P, 0.0, p, n),
        )
        table[f"polynomial up, power {power}"] = Row(
            lambda n, p=power: js.polynomial(0.0, P, n, p),
            lambda m, t, n, p=power: polynomial(m, t, n, 0, P, p),
            lambda n, p=power: optax.polynomial_schedule(0.0, P, p, n),
        )
    return table


def steps_to_try(horizon: int, number: int = 2000, seed: int = 0) -> np.ndarray:
    """Steps at the starts, ends and joins, log-spaced from both ends, at random, and up to 2**31 - 1."""
    some = np.random.default_rng(seed)
    spaced = np.geomspace(1, horizon, number).astype(np.int64)
    near = np.arange(-60, 61)
    joins = [round(share * horizon) + near for share in (0.02, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1, 2)]
    steps = [
        np.arange(number),
        horizon - np.arange(number),
        spaced,
        horizon - spaced,
        *joins,
        some.integers(0, horizon, 10 * number),
        some.integers(0, LAST, 2 * number),
        [2**24 - 1, 2**24, 2**24 + 1, LAST - 1, LAST],
    ]
    every = np.unique(np.concatenate(steps))
    return every[(every >= 0) & (every <= LAST)]


LEAST = 2.0**-126
"""The least normal float32: below it a product with it is 0 on most devices."""


def ulps(values: Any, truth: np.ndarray, smallest: float = LEAST) -> np.ndarray:
    """The distance from the truth in float32 ulp; 0 where it is at most ``smallest``."""
    values = np.asarray(values, np.longdouble)
    exponent = np.floor(np.log2(np.maximum(np.abs(truth), np.longdouble(LEAST))))
    errors = np.abs(values - truth) / np.longdouble(2) ** (exponent - 23)
    return np.where(np.abs(values - truth) <= smallest, 0.0, errors).astype(float)


class Family(NamedTuple):
    """A schedule by arguments that are drawn, its true value by (numbers, step, *arguments), and where it changes."""

    draw: Callable[[np.random.Generator], tuple[Any, ...]]
    ours: Callable[..., js.Schedule]
    truth: Callable[..., Any]
    joins: Callable[..., tuple[float, ...]]


def log_uniform(some: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(some.uniform(np.log(low), np.log(high))))


def value(some: np.random.Generator) -> float:
    """Usually what a hyperparameter may be; one in five is tiny or huge."""
    return log_uniform(some, *((1e-30, 1e30) if some.uniform() < 0.2 else (1e-9, 1e3)))


def least(arguments: tuple[Any, ...]) -> float:
    """What a value may be off by, beside its roundings: a factor below the normal numbers is 0 on most devices."""
    return LEAST * max(1.0, *(abs(float(argument)) for argument in arguments))


def end(some: np.random.Generator) -> float:
    return float(some.choice([0.0, value(some)]))


def whole(some: np.random.Generator, most: float = LAST) -> int:
    return int(log_uniform(some, 1, most))


def length(some: np.random.Generator) -> float:
    return whole(some, 2**30) + float(some.uniform(0.001, 0.999))


def exponent(some: np.random.Generator) -> float:
    return log_uniform(some, 0.05, 60)


def rate(some: np.random.Generator) -> float:
    """Near 0, near 1 from both sides, or between."""
    near = log_uniform(some, 1e-12, 1)
    return float(some.choice([near, 1 - near, 1 + near / 1e4, some.uniform()]))


def power_of(m: Any, base: Any, power: Any) -> Any:
    return m.exp(m.number(power) * m.log(base))


def families() -> dict[str, Family]:
    """The rows of the table of random arguments. The lengths are whole, or have a fraction that is no small ratio."""
    table = {}
    for kind, steps in {"": whole, ", fractional": length}.items():
        table |= {
            f"linear{kind}": Family(
                lambda some, steps=steps: (value(some), end(some), steps(some)),
                js.linear,
                lambda m, t, start, end, n: line(m, t, n, start, end),
                lambda start, end, n: (n,),
            ),
            f"cosine{kind}": Family(
                lambda some, steps=steps: (end(some), steps(some), end(some)),
                js.cosine,
                lambda m, t, peak, n, floor: half_cosine(m, t, n, peak, floor),
                lambda peak, n, floor: (n,),
            ),
            f"cosine, k{kind}": Family(
                lambda some, steps=steps: (value(some), steps(some), log_uniform(some, 0.2, 5)),
                lambda peak, n, k: js.cosine(peak, n, k=k),
                lambda m, t, peak, n, k: k_cosine(m, t, n, peak, k),
                lambda peak, n, k: (n,),
            ),
            f"polynomial down{kind}": Family(
                lambda some, steps=steps: (value(some), end(some), steps(some), exponent(some)),
                js.polynomial,
                lambda m, t, start, end, n, power: polynomial(m, t, n, start, end, power),
                lambda start, end, n, power: (n, n * (1 - np.exp(-80 / power))),
            ),
            f"polynomial up{kind}": Family(
                lambda some, steps=steps: (end(some) / 1e3, value(some), steps(some), exponent(some)),
                js.polynomial,
                lambda m, t, start, end, n, power: polynomial(m, t, n, start, end, power),
                lambda start, end, n, power: (n,),
            ),
            f"exponential{kind}": Family(
                lambda some, steps=steps: (value(some), rate(some), steps(some)),
                js.exponential,
                lambda m, t, start, rate, every: exponential(m, t / m.number(every), start, rate),
                lambda start, rate, every: (every, min(50 / max(abs(np.log(rate)), 1e-12) * every, LAST)),
            ),
            f"exponential_ramp{kind}": Family(
                lambda some, steps=steps: (value(some), steps(some)),
                js.schedules.exponential_ramp,
                lambda m, t, end, n: -m.number(end) * m.expm1(-(t + 1) / m.number(n)),
                lambda end, n: (n,),
            ),
            f"inverse_power{kind}": Family(
                lambda some, steps=steps: (value(some), log_uniform(some, 1e-6, 1e3), exponent(some) / 3, steps(some)),
                js.schedules.inverse_power,
                lambda m, t, start, rate, power, every: (
                    m.number(start) * power_of(m, 1 + m.number(rate) * t / m.number(every), -m.number(power))
                ),
                lambda start, rate, power, every: (min(every / rate, LAST),),
            ),
            f"inverse_sqrt{kind}": Family(
                lambda some, steps=steps: (value(some), steps(some)),
                js.inverse_sqrt,
                lambda m, t, start, n: m.number(start) / m.sqrt(1 + t / m.number(n)),
                lambda start, n: (n,),
            ),
            f"tanh_decay{kind}": Family(
                lambda some, steps=steps: (
                    *(end(some), steps(some), value(some)),
                    *(-log_uniform(some, 0.1, 60), log_uniform(some, 0.1, 60)),
                ),
                js.schedules.tanh_decay,
                lambda m, t, peak, n, floor, lower, upper: tanh_between(m, t, n, peak, floor, lower, upper),
                lambda peak, n, floor, lower, upper: (n, -n * lower / (upper - lower)),
            ),
            f"inverse_time{kind}": Family(
                lambda some, steps=steps: (value(some), log_uniform(some, 1e-6, 1e3), steps(some)),
                js.inverse_time,
                lambda m, t, start, rate, every: m.number(start) / (1 + m.number(rate) * t / m.number(every)),
                lambda start, rate, every: (min(every / rate, LAST),),
            ),
            f"warmup{kind}": Family(
                lambda some, steps=steps: (value(some), steps(some), end(some)),
                lambda peak, n, start: js.warmup(peak, n, start),
                lambda m, t, peak, n, start: line(m, t, n, start, peak),
                lambda peak, n, start: (n,),
            ),
            f"warmup, quadratic{kind}": Family(
                lambda some, steps=steps: (value(some), steps(some), end(some)),
                lambda peak, n, start: js.warmup(peak, n, start, shape="quadratic"),
                lambda m, t, peak, n, start: (
                    m.number(start) * left(m, t, n) * (1 + gone(m, t, n)) + m.number(peak) * gone(m, t, n) ** 2
                ),
                lambda peak, n, start: (n,),
            ),
            f"warmup, sqrt{kind}": Family(
                lambda some, steps=steps: (value(some), steps(some), end(some)),
                lambda peak, n, start: js.warmup(peak, n, start, shape="sqrt"),
                lambda m, t, peak, n, start: (
                    m.number(start) * left(m, t, n) / (1 + m.sqrt(gone(m, t, n)))
                    + m.number(peak) * m.sqrt(gone(m, t, n))
                ),
                lambda peak, n, start: (n,),
            ),
            f"warmup, cosine{kind}": Family(
                lambda some, steps=steps: (value(some), steps(some), value(some) / 1e3),
                lambda peak, n, start: js.warmup(peak, n, start, shape="cosine"),
                lambda m, t, peak, n, start: half_cosine(m, t, n, start, peak),
                lambda peak, n, start: (n,),
            ),
            f"warmup, exponential{kind}": Family(
                lambda some, steps=steps: (value(some), steps(some), value(some)),
                lambda peak, n, start: js.warmup(peak, n, start, shape="exponential"),
                lambda m, t, peak, n, start: decay_to(m, left(m, t, n), gone(m, t, n), start, peak),
                lambda peak, n, start: (n,),
            ),
            f"cooldown, sqrt{kind}": Family(
                lambda some, steps=steps: (value(some), whole(some, 2**30), steps(some)),
                lambda peak, at, n: js.cooldown(peak, at, n, shape="sqrt"),
                lambda m, t, peak, at, n: (
                    m.number(peak) * left(m, m.maximum(t - at, 0), n) / (1 + m.sqrt(gone(m, m.maximum(t - at, 0), n)))
                ),
                lambda peak, at, n: (at, at + n),
            ),
        }
    table |= {
        "cosine_restarts": Family(
            lambda some: (value(some), whole(some), end(some) / 1e3, int(some.integers(1, 9)), min(rate(some), 1.0)),
            js.cosine_restarts,
            drawn_restarts,
            lambda peak, n, floor, stretch, decay: (n, n * (1 + stretch), n * (1 + stretch + stretch**2)),
        ),
        "periodic_cosine": Family(
            lambda some: (value(some), whole(some), end(some)),
            js.schedules.periodic_cosine,
            lambda m, t, peak, n, floor: half_cosine(
                m, abs(t - m.floor(t / m.number(2 * n) + m.number(0.5)) * 2 * n), n, peak, floor
            ),
            lambda peak, n, floor: (n, 2 * n),
        ),
        "cyclic": Family(
            lambda some: (end(some), value(some), whole(some, 2**30), whole(some, 2**30)),
            js.cyclic,
            lambda m, t, low, high, up, down: triangle(m, t, up, down, low, high),
            lambda low, high, up, down: (up, up + down),
        ),
        "cyclic, exponential range": Family(
            lambda some: (0.0, value(some), whole(some, 2**30), 1 - log_uniform(some, 1e-12, 1)),
            lambda low, high, up, rate: js.cyclic(low, high, up, amplitude=js.exponential(1.0, rate)),
            lambda m, t, low, high, up, rate: triangle(m, t, up, up, low, high, exponential(m, t, 1, rate)),
            lambda low, high, up, rate: (up, 2 * up),
        ),
        "flat_then_cosine": Family(
            lambda some: (
                value(some),
                *sorted((whole(some, 2**29), whole(some, 2**29) + 2**29), reverse=True),
                end(some),
            ),
            js.schedules.flat_then_cosine,
            lambda m, t, peak, n, flat, floor: half_cosine(m, m.maximum(t - flat, 0), n - flat, peak, floor),
            lambda peak, n, flat, floor: (flat, n),
        ),
        "one_cycle": Family(
            lambda some: (value(some), 2**30 + whole(some, 2**30), whole(some, 2**30), end(some), end(some)),
            js.one_cycle,
            lambda m, t, peak, n, up, start, floor: two_phases(m, t, half_cosine, peak, n, up, start, floor),
            lambda peak, n, up, start, floor: (up, n),
        ),
        "one_cycle, linear": Family(
            lambda some: (value(some), 2**30 + whole(some, 2**30), whole(some, 2**30), end(some), end(some)),
            lambda peak, n, up, start, floor: js.one_cycle(peak, n, up, start, floor, shape="linear"),
            lambda m, t, peak, n, up, start, floor: two_phases(m, t, line, peak, n, up, start, floor),
            lambda peak, n, up, start, floor: (up, n),
        ),
        "warmup_stable_decay": Family(
            lambda some: (value(some), whole(some, 2**29), whole(some, 2**29), whole(some, 2**29)),
            lambda peak, up, flat, down: js.warmup_stable_decay(peak, up, flat, down),
            lambda m, t, peak, up, flat, down: (
                m.number(peak) * gone(m, t, up) * left(m, m.maximum(t - up - flat, 0), down)
            ),
            lambda peak, up, flat, down: (up, up + flat, up + flat + down),
        ),
        "multi_step": Family(
            lambda some: (value(some), *sorted((whole(some), whole(some), whole(some))), rate(some)),
            lambda start, a, b, c, factor: js.multi_step(start, (a, b, c), factor),
            lambda m, t, start, a, b, c, factor: exponential(
                m, m.where(t >= a, 1, 0) + m.where(t >= b, 1, 0) + m.where(t >= c, 1, 0), start, factor
            ),
            lambda start, a, b, c, factor: (a, b, c),
        ),
        "piecewise": Family(
            lambda some: (value(some), value(some), value(some), *sorted((whole(some), whole(some)))),
            lambda a, b, c, first, second: js.piecewise([a, b, c], at=[first, second]),
            lambda m, t, a, b, c, first, second: m.where(
                t >= second, m.number(c), m.where(t >= first, m.number(b), m.number(a))
            ),
            lambda a, b, c, first, second: (first, second),
        ),
        "step_decay": Family(
            lambda some: (value(some), whole(some), rate(some)),
            js.step_decay,
            lambda m, t, start, every, factor: exponential(m, m.floor(t / m.number(every)), start, factor),
            lambda start, every, factor: (every, 2 * every),
        ),
    }
    return table


def drawn_restarts(m: Any, t: Any, peak: float, n: int, floor: float, stretch: int, decay: float) -> Any:
    if stretch > 1:
        return restarts(m, t, n, peak, floor, stretch, m.number(decay))
    cycle = m.floor(t / m.number(n))
    return exponential(m, cycle, 1, decay) * half_cosine(m, t - cycle * n, n, peak) + half_cosine(
        m, t - cycle * n, n, 0, floor
    )


def two_phases(m: Any, t: Any, way: Any, peak: float, n: int, up: int, start: float, floor: float) -> Any:
    return m.where(t < up, way(m, t, up, start, peak), way(m, m.maximum(t - up, 0), n - up, peak, floor))


def tanh_between(m: Any, t: Any, steps: float, peak: float, floor: float, lower: float, upper: float) -> Any:
    x = m.number(lower) * left(m, t, steps) + m.number(upper) * gone(m, t, steps)
    value = m.number(peak) / (1 + m.exp(2 * x)) + m.number(floor) / (1 + m.exp(-2 * x))
    return m.where(t >= steps, m.number(floor), value)


def steps_around(some: np.random.Generator, joins: tuple[float, ...], number: int) -> np.ndarray:
    """``number`` steps: the first and the last, on both sides of each join, log-spaced from it, and at random."""
    steps = [np.asarray([0, 1, 2, LAST]), some.integers(0, LAST, number // 8)]
    for join in joins:
        far = np.exp(some.uniform(0, np.log(max(join, 2)), number // 4))
        steps += [int(join) + np.arange(-2, 3), np.sort(far), join - far, some.uniform(0, 1.1 * join, number // 4)]
    found = np.clip(np.concatenate([np.asarray(part, np.float64) for part in steps]), 0, LAST).astype(np.int64)
    return np.resize(found, number)


def drawn(family: Family, schedules: int, number: int, seed: int = 0) -> tuple[list[tuple[Any, ...]], np.ndarray]:
    """Arguments, and the steps to try for each."""
    some = np.random.default_rng(seed)
    arguments = [family.draw(some) for _ in range(schedules)]
    return arguments, np.stack([steps_around(some, family.joins(*each), number) for each in arguments])


evaluate_batch = jax.jit(jax.vmap(lambda schedule, steps: schedule(steps)))


def worst_drawn(family: Family, schedules: int, number: int, seed: int = 0) -> tuple[float, tuple[Any, ...], int]:
    """The largest error in ulp over drawn arguments, with the arguments and the step where it is."""
    arguments, steps = drawn(family, schedules, number, seed)
    batch = js.stack([family.ours(*each) for each in arguments])
    values = np.asarray(evaluate_batch(batch, jnp.asarray(steps, jnp.int32)))
    worst: tuple[float, tuple[Any, ...], int] = (-1.0, (), 0)
    for each, at, found in zip(arguments, steps, values, strict=True):
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            truth = np.asarray(family.truth(Longdouble, at.astype(np.longdouble), *each), np.longdouble)
        errors = np.where(truth < np.finfo(np.float32).max, ulps(found, truth, least(each)), 0.0)
        index = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
        if not errors[index] <= worst[0]:
            worst = float(errors[index]), each, int(at[index])
    return worst


def equations(jaxpr: Any) -> int:
    """How many operations a jaxpr has, those of the jaxprs inside it counted in its place."""
    total = 0
    for equation in jaxpr.eqns:
        inside = [
            getattr(item, "jaxpr", item)
            for parameter in equation.params.values()
            for item in (parameter if isinstance(parameter, tuple | list) else [parameter])
            if hasattr(item, "jaxpr") or hasattr(item, "eqns")
        ]
        total += sum(map(equations, inside)) if inside else 1
    return total


def cost(schedule: js.Schedule) -> tuple[int, float]:
    """Equations of a step, and milliseconds of a processor to trace it: the median of nine."""
    step, times = jax.ShapeDtypeStruct((), jnp.int32), []
    for _ in range(9):
        begin = time.process_time()
        traced = jax.make_jaxpr(lambda step: schedule(step))(step)
        times.append(time.process_time() - begin)
    return equations(traced.jaxpr), statistics.median(times) * 1e3


evaluate = jax.jit(lambda schedule, steps: schedule(steps))


def measure(row: Row, horizon: int, number: int = 2000) -> tuple[float, float, float | None]:
    """The largest error in ulp: of ours with constant numbers, with traced ones, and of optax's (NaN where it gave
    one)."""
    steps = steps_to_try(horizon, number)
    truth = np.asarray(row.truth(Longdouble, steps.astype(np.longdouble), horizon), np.longdouble)
    steps = jnp.asarray(steps, jnp.int32)
    ours = row.ours(horizon)
    baked, traced = (float(ulps(values, truth).max()) for values in (jax.jit(ours)(steps), evaluate(ours, steps)))
    if row.optax is None:
        return baked, traced, None
    theirs = row.optax(horizon)
    return baked, traced, float(ulps(jax.jit(jax.vmap(theirs))(steps), truth).max())


def main(wanted: list[str]) -> None:
    def is_wanted(name: str) -> bool:
        return not wanted or any(part in name for part in wanted)

    print(f"jax {jax.__version__}, optax {optax.__version__}, {jax.devices()[0].device_kind}")
    print("\n| schedule | horizon | jaxsched, ulp | as an argument, ulp | optax, ulp | equations | trace, ms |")
    print("|---|---|---|---|---|---|---|")
    for name, row in rows().items():
        for horizon in HORIZONS if is_wanted(name) else ():
            baked, traced, theirs = measure(row, horizon)
            other = "" if theirs is None else f"{theirs:.3g}"
            count, milliseconds = cost(row.ours(horizon))
            print(
                f"| {name} | {horizon:.0e} | {baked:.1f} | {traced:.1f} | {other} | {count} | {milliseconds:.1f} |",
                flush=True,
            )
    print("\n| random arguments | worst, ulp | of | at step | equations | trace, ms |\n|---|---|---|---|---|---|")
    for name, family in families().items():
        if is_wanted(name):
            error, arguments, step = worst_drawn(family, schedules=1000, number=400)
            count, milliseconds = cost(family.ours(*arguments))
            shown = ", ".join(map(repr, arguments))
            print(f"| {name} | {error:.1f} | {shown} | {step} | {count} | {milliseconds:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the names of rows")
    main(parser.parse_args().names)
