"""Model Garden's learning rates, by the step from 0, and its warm-ups."""

from __future__ import annotations

import itertools
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.ports.modelgarden._section import Section
from jaxsched.schedules import Schedule, constant, cosine, delayed, exponential, linear, piecewise, polynomial

_DEFAULTS: dict[str, dict[str, Any]] = {
    "constant": {"learning_rate": 0.1},
    "stepwise": {"offset": 0},
    "exponential": {"staircase": False, "offset": 0},
    "polynomial": {"end_learning_rate": 0.0001, "power": 1.0, "cycle": False, "offset": 0},
    "cosine": {"alpha": 0.0, "offset": 0},
}
_WARMUPS: dict[str, dict[str, Any]] = {"linear": {"warmup_learning_rate": 0.0}, "polynomial": {"power": 1.0}}


def rate(a: Section, notes: list[str]) -> tuple[str, Schedule]:
    """The type and the schedule of ``learning_rate`` and ``warmup``."""
    chosen = a.take("learning_rate", {})
    name, own = Section(a.at("learning_rate"), chosen or {}).chosen(_DEFAULTS)
    given = a.take("warmup", None)
    warmup = Section(a.at("warmup"), given) if given else None
    kind, rise = "", None
    if warmup is not None and any(value is not None for value in warmup.values.values()):
        kind, rise = warmup.chosen(_WARMUPS)
    missing = [*own.left(), *([] if rise is None else rise.left())]
    if missing:
        notes.append(f"{a.where}: taken at their defaults, unless the experiment sets them: {', '.join(missing)}")
    own.take("name", None)
    try:
        steps = rise.count("warmup_steps") if rise is not None else 0
        schedule, offset = _RATES[name](own)
        if offset > steps:
            raise ValueError(f"{own.at('offset')} must be at most warmup_steps ({steps}), got {offset}")
        later = delayed(schedule, by=offset) if offset else schedule
        if rise is not None and steps:
            later = _warmed(kind, rise, later, steps)
    except (TypeError, ValueError) as error:
        text = str(error)
        raise type(error)(text if text.startswith(a.where) else f"{a.where}: {text}") from None
    own.finish()
    return name, later


def _warmed(kind: str, a: Section, later: Schedule, steps: int) -> Schedule:
    """The rise, to the rate that the decay has at its end, and then the decay, which has gone on meanwhile."""
    top = float(later(steps))
    a.take("name", None)
    if kind == "linear":
        rising: Schedule = linear(a.number("warmup_learning_rate", low=0.0), top, steps)
    else:  # the step counts as 1 at least
        power = a.positive("power")
        rising = shared.power_rise(top, steps, power)
        rising = piecewise([top * steps**-power, rising], at=[1])
    a.finish()
    return piecewise([rising, later], at=[steps])


def _constant(a: Section) -> tuple[Schedule, int]:
    return constant(a.number("learning_rate", low=0.0)), 0


def _stepwise(a: Section) -> tuple[Schedule, int]:
    """Keras' PiecewiseConstantDecay: a boundary still belongs to the rate before it."""
    at, values = a.counts("boundaries", least=0), a.numbers("values")
    if any(later <= before for before, later in itertools.pairwise(at)):
        raise ValueError(f"{a.at('boundaries')} must ascend, got {short(at)}")
    if len(values) != len(at) + 1:
        raise ValueError(f"{a.at('values')} must be one more than boundaries ({len(at)}), got {len(values)}")
    rates = [shared.within(a.at("values"), value, 0.0, 1e9) for value in values]
    return piecewise(rates, at=[step + 1 for step in at]) if at else constant(rates[0]), a.count("offset")


def _exponential(a: Section) -> tuple[Schedule, int]:
    start, every = a.number("initial_learning_rate", low=0.0), a.count("decay_steps", least=1)
    stairs = a.take("staircase", None)
    if not isinstance(stairs, bool | None):
        raise TypeError(f"{a.at('staircase')} must be true or false, got {short(stairs)}")
    return exponential(start, a.number("decay_rate", low=0.0), every, staircase=bool(stairs)), a.count("offset")


def _polynomial(a: Section) -> tuple[Schedule, int]:
    start, end = a.number("initial_learning_rate", low=0.0), a.number("end_learning_rate", low=0.0)
    if a.flag("cycle"):
        raise ValueError(f"{a.at('cycle')} is not ported; set it to false")
    return polynomial(start, end, a.count("decay_steps", least=1), a.positive("power")), a.count("offset")


def _cosine(a: Section) -> tuple[Schedule, int]:
    start, alpha = a.number("initial_learning_rate", low=0.0), a.number("alpha", low=0.0)
    return cosine(start, a.count("decay_steps", least=1), start * alpha), a.count("offset")


_RATES = {
    "constant": _constant,
    "stepwise": _stepwise,
    "exponential": _exponential,
    "polynomial": _polynomial,
    "cosine": _cosine,
}
