"""The learning rates of TensorFlow's Object Detection API, by the global step from 0."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.ports.shared import as_count, within
from jaxsched.ports.tfod._message import Message
from jaxsched.schedules import (
    Schedule,
    constant,
    cosine,
    delayed,
    exponential,
    linear,
    maximum,
    piecewise,
)

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "constant_learning_rate": {"learning_rate": 0.002},
    "exponential_decay_learning_rate": {
        "initial_learning_rate": 0.002,
        "decay_steps": 4_000_000,
        "decay_factor": 0.95,
        "staircase": True,
        "burnin_learning_rate": 0.0,
        "burnin_steps": 0,
        "min_learning_rate": 0.0,
    },
    "manual_step_learning_rate": {"initial_learning_rate": 0.002, "warmup": False},
    "cosine_decay_learning_rate": {
        "learning_rate_base": 0.002,
        "total_steps": 4_000_000,
        "warmup_learning_rate": 0.0002,
        "warmup_steps": 10_000,
        "hold_base_rate_steps": 0,
    },
}
"""What the fields of ``optimizer.proto`` are where a file says nothing."""


def rate(a: Message, notes: list[str]) -> tuple[str, Schedule]:
    """The name and the schedule of a ``learning_rate``."""
    name, own = a.one_of(tuple(_RATES))
    a.finish()
    try:
        schedule = _RATES[name](own, notes)
    except (TypeError, ValueError) as error:
        text = str(error)
        raise type(error)(text if text.startswith(own.where) else f"{own.where}: {text}") from None
    own.finish()
    return name, schedule


def _constant(a: Message, notes: list[str]) -> Schedule:
    del notes
    return constant(a.number("learning_rate", low=0.0))


def _exponential(a: Message, notes: list[str]) -> Schedule:
    """``base * factor ** ((step - burnin) / decay_steps)``, above the least rate; before it the rate of the burn-in."""
    del notes
    base, least = a.number("initial_learning_rate", low=0.0), a.number("min_learning_rate", low=0.0)
    burn, burning = a.count("burnin_steps"), a.number("burnin_learning_rate", low=0.0)
    every, factor = a.count("decay_steps", least=1), a.number("decay_factor", low=0.0)
    lr = exponential(base, factor, every, staircase=a.flag("staircase"))
    if burn:
        lr = piecewise([burning or base, delayed(lr, by=burn)], at=[burn])
    return maximum(lr, least) if least else lr


def _manual(a: Message, notes: list[str]) -> Schedule:
    first, warm = a.number("initial_learning_rate", low=0.0), a.flag("warmup")
    at, rates = [], [first]
    for i, entry in enumerate(a.each("schedule")):
        own = Message(f"{a.at('schedule')}[{i}]", entry, {"step": 0, "learning_rate": 0.002})
        at.append(own.count("step"))
        rates.append(own.number("learning_rate", low=0.0))
        own.finish()
    if not at:
        raise ValueError(f"{a.at('schedule')} is empty; add a step and a learning_rate, or use constant_learning_rate")
    if any(later <= before for before, later in itertools.pairwise(at)):
        raise ValueError(f"{a.at('schedule')}: its steps must ascend, got {short(at)}")
    if at[0] == 0:
        notes.append(
            f"{a.at('schedule')} begins at step 0, which replaces initial_learning_rate; releases since 2018 refuse it"
        )
    if warm and at[0]:
        return piecewise([linear(first, rates[1], at[0]), *rates[2:]], at=at[1:])
    return piecewise(rates, at=at)


def _cosine(a: Message, notes: list[str]) -> Schedule:
    del notes
    base, total = a.number("learning_rate_base", low=0.0), a.count("total_steps", least=1)
    warm, hold = a.count("warmup_steps"), a.count("hold_base_rate_steps")
    start = a.number("warmup_learning_rate", low=0.0)
    if warm > total:
        raise ValueError(f"{a.at('total_steps')} must be at least warmup_steps ({warm}), got {total}")
    if warm:
        within(a.at("warmup_learning_rate"), start, 0.0, base)
    begin, length = warm + hold, total - warm - hold
    as_count(a.at("hold_base_rate_steps"), begin, 0)
    if length == 0:
        raise ValueError(
            f"{a.at('total_steps')} must be above warmup_steps + hold_base_rate_steps ({begin}), got {total}"
        )
    # what is held beyond the end falls to 0 after it
    lr: Schedule = delayed(cosine(base, length), by=begin) if length > 0 else piecewise([base, 0.0], at=[total + 1])
    return piecewise([linear(start, base, warm), lr], at=[warm]) if warm else lr


_RATES: Mapping[str, Callable[[Message, list[str]], Schedule]] = {
    "constant_learning_rate": _constant,
    "exponential_decay_learning_rate": _exponential,
    "manual_step_learning_rate": _manual,
    "cosine_decay_learning_rate": _cosine,
}
