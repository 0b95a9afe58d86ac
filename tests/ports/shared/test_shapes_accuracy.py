"""The ports' own shapes within 8 float32 ulp of their true values, at numbers that are not round.

With benchmarks/accuracy.py's draws and steps: lengths that are not whole, stretches that begin between two steps.
"""

import runpy
from pathlib import Path

import mpmath
import numpy as np
import pytest

from jaxsched.ports import shared
from jaxsched.ports.detectron2 import _shapes as detectron2
from jaxsched.ports.keras._schedules import growing_polynomial
from jaxsched.ports.timm import _shapes as timm

BENCHMARK = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "accuracy.py"))
Family, worst_drawn, left, gone = (BENCHMARK[name] for name in ("Family", "worst_drawn", "left", "gone"))
value, whole, length, log_uniform = (BENCHMARK[name] for name in ("value", "whole", "length", "log_uniform"))
wave, rest_of_power = BENCHMARK["wave"], BENCHMARK["rest_of_power"]


def stretch(some):
    """A begin, how late it is, and a length."""
    return whole(some, 2**28), float(some.uniform(0.001, 0.999)), length(some) / 4 + 1


def parts(m, t, begin, late, steps):
    """What is left and what is gone of a stretch."""
    since = t - begin - m.number(late)
    return tuple(m.minimum(m.maximum(x, 0), steps) / m.number(steps) for x in (steps - since, since))


def to_power(m, x, power):
    return m.where(x > 0, m.exp(m.number(power) * m.log(m.maximum(x, m.number(1e-30)))), 0)


def line(m, t, start, end, *window):
    left, gone = parts(m, t, *window)
    return m.number(start) * left + m.number(end) * gone


def phases(m, t, first, top, last, up, down):
    up, end = m.number(up), m.number(up + down)
    rise, fall = wave(m, m.minimum(t / up, 1)), wave(m, m.maximum(end - t, 0) / (end - up))
    rises = m.number(first) * wave(m, m.maximum(up - t, 0) / up) + m.number(top) * rise
    return m.where(t <= up, rises, m.number(top) * fall + m.number(last) * wave(m, m.minimum((t - up) / (end - up), 1)))


def exponential_ending(m, t, start, at, steps, end, ratio):
    since, r = m.maximum(t - at, 0), m.number(ratio)
    falling = r * m.expm1(-m.log(r) * left(m, since, steps)) / (1 - r)
    rising = -m.expm1(m.log(r) * gone(m, since, steps)) / (1 - r)
    return m.number(start) * falling + m.number(end) * rising


def growing(m, t, start, steps, power):
    total = m.maximum(np.ceil(t / m.number(steps)) * steps, steps)
    return m.number(start) * to_power(m, (total - t) / total, power)


def to_and_fro(m, t, entry, base, steps):
    within = t - m.floor(t / m.number(2 * steps)) * 2 * steps
    return m.where(t <= steps, m.number(entry), m.number(base)) * wave(m, abs(steps - within) / m.number(steps))


FAMILIES = {
    "detectron2 line": Family(
        lambda some: (value(some), value(some), *stretch(some)),
        detectron2.line,
        line,
        lambda start, end, at, late, steps: (at, at + steps),
    ),
    "detectron2 fall": Family(
        lambda some: (value(some), log_uniform(some, 1e-6, 1), *stretch(some)),
        detectron2.fall,
        lambda m, t, start, decay, *window: m.number(start) * m.exp(m.log(m.number(decay)) * parts(m, t, *window)[1]),
        lambda start, decay, at, late, steps: (at, at + steps),
    ),
    "detectron2 power": Family(
        lambda some: (value(some), log_uniform(some, 0.1, 10), *stretch(some)),
        detectron2.power,
        lambda m, t, base, power, *window: m.number(base) * to_power(m, parts(m, t, *window)[0], power),
        lambda base, power, at, late, steps: (at, at + steps),
    ),
    "phases": Family(
        lambda some: (value(some), value(some), 0.0, *(whole(some, 2**29) + float(some.uniform()) for _ in range(2))),
        lambda first, top, last, up, down: shared.phases((first, top, last), (up, up + down)),
        phases,
        lambda first, top, last, up, down: (up, up + down),
    ),
    "exponential ending": Family(
        lambda some: (value(some), whole(some, 2**28), whole(some, 2**28), value(some), log_uniform(some, 1e-6, 0.9)),
        timm.exponential_ending,
        exponential_ending,
        lambda start, at, steps, end, ratio: (at, at + steps),
    ),
    "power ending": Family(
        lambda some: (value(some), whole(some, 2**28), whole(some, 2**28), log_uniform(some, 0.1, 10)),
        lambda start, at, steps, power: timm.power_ending(start, at, steps, 0.0, power),
        lambda m, t, start, at, steps, power: (
            m.number(start)
            * rest_of_power(m, gone(m, m.maximum(t - at, 0), steps), left(m, m.maximum(t - at, 0), steps), power)
        ),
        lambda start, at, steps, power: (at, at + steps),
    ),
    "growing polynomial": Family(
        lambda some: (value(some), whole(some), log_uniform(some, 0.3, 10)),
        lambda start, steps, power: growing_polynomial(start, 0.0, steps, power),
        growing,
        lambda start, steps, power: (steps, 2 * steps),
    ),
    "cosine and back": Family(
        lambda some: (value(some), value(some), whole(some)),
        shared.cosine_and_back,
        to_and_fro,
        lambda entry, base, steps: (steps, 2 * steps),
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_within_eight_ulp(name):
    error, arguments, step = worst_drawn(FAMILIES[name], schedules=40, number=128, seed=11)
    assert error <= 8, (arguments, step)


@mpmath.workdps(50)
def test_cycles_of_unequal_lengths_above_two_to_the_24th():
    """At the ends of each, given where timm's float64 puts them; a float32 of 2**27 steps would be off by up to 4."""
    for steps, mul in ((13_252_425, 1.0580785755019368), (192_377_731, 2.4071331609618336), (3401, 1.6356134813023033)):
        described = shared.unequal(steps, mul, 40)
        starts, spans = np.asarray(described["starts"]), described["spans"]
        schedule = shared.cosine_cycles(0.3, steps, 0.0, 1.0, len(starts) - 1, **described)
        near = np.stack([starts[:-1], starts[:-1] + 1, (starts[:-1] + starts[1:]) // 2, starts[1:] - 2, starts[1:] - 1])
        near = np.resize(near[near < 2**31 - 1], 256)
        for step, value in zip(near.tolist(), np.asarray(schedule(near)), strict=True):
            k = int(np.searchsorted(starts[:-1], step, side="right")) - 1
            begun, whole = map(mpmath.mpf, spans[k])
            left = (whole - begun - (step - int(starts[k]))) / whole
            exact = mpmath.mpf(0.3) * mpmath.sin(mpmath.pi / 2 * min(max(left, 0), 1)) ** 2
            ulp = mpmath.mpf(2) ** (mpmath.floor(mpmath.log(max(exact, mpmath.mpf(1e-37)), 2)) - 23)
            assert abs(mpmath.mpf(float(value)) - exact) <= max(8 * ulp, 1e-37), (steps, mul, step)
