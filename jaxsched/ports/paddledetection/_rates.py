"""PaddleDetection's learning rates, by the iteration from 0: a decay, and a warm-up before it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxsched.checks import did_you_mean, short
from jaxsched.ports import shared
from jaxsched.ports.paddledetection._config import named
from jaxsched.ports.shared import Settings
from jaxsched.schedules import Schedule, constant, cosine, delayed, linear, periodic_cosine, piecewise

DEFAULTS: Mapping[str, Any] = {
    "base_lr": 0.01,
    "schedulers": [{"name": "PiecewiseDecay"}, {"name": "LinearWarmup"}],
}
"""What LearningRate has where a config says nothing."""


class Run(NamedTuple):
    """What a rate depends on beside its own settings.

    Attributes:
        base: The base lr.
        nb: Batches in an epoch.
        total: Batches of the run.
        warm: Iterations of warm-up; 0 for none.
    """

    base: float
    nb: int
    total: int
    warm: int = 0


def rate(where: str, section: Any, nb: int, epochs: int, notes: list[str]) -> Schedule:
    """The schedule of a section ``LearningRate``."""
    a = Settings(f"{where}: LearningRate", section, DEFAULTS)
    run = Run(a.number("base_lr", low=0.0), nb, shared.as_count("epoch x steps_per_epoch", epochs * nb))
    given = a.take("schedulers")
    a.finish()
    if not isinstance(given, list) or not given:
        raise TypeError(f"{a.at('schedulers')} must be a decay and a warm-up, got {short(given)}")
    decay, settings = _opened(a, given, 0, _DECAYS)
    if not settings.flag("use_warmup", True):
        if given[1:]:
            notes.append(f"{a.at('schedulers')}: {short(given[1:])} has no effect, since use_warmup is false")
        return _finished(decay, settings, run, notes)
    if len(given) < 2:
        raise ValueError(f"{a.at('schedulers')} must have a warm-up too; add !LinearWarmup, or use_warmup: false")
    rise, warmup = _opened(a, given, 1, _WARMUPS)
    steps, rising = rise(warmup, run)
    warmup.finish()
    return piecewise([rising, _finished(decay, settings, run._replace(warm=steps), notes)], at=[steps])


def _opened(a: Settings, given: list[Any], i: int, known: Mapping[str, Any]) -> tuple[Any, Settings]:
    where = f"{a.at('schedulers')}[{i}]"
    name, values = named(where, given[i])
    if name not in known:
        raise ValueError(f"{where} must be one of {', '.join(known)}, got {short(name)}{did_you_mean(name, known)}")
    return known[name], Settings(f"{where}: {name}", values)


def _finished(decay: Any, settings: Settings, run: Run, notes: list[str]) -> Schedule:
    try:
        schedule: Schedule = decay(settings, run, notes)
    except (TypeError, ValueError) as error:
        text = str(error)
        raise type(error)(text if text.startswith(settings.where) else f"{settings.where}: {text}") from None
    settings.finish()
    return schedule


def _piecewise(a: Settings, run: Run, notes: list[str]) -> Schedule:
    at, gamma = a.counts("milestones", [8, 11], least=0), a.take("gamma", [0.1, 0.01])
    if any(later <= before for before, later in itertools.pairwise(at)):
        raise ValueError(f"{a.at('milestones')} must ascend, got {short(at)}")
    values = a.take("values", None)
    if values is not None:
        if run.warm:
            raise ValueError(f"{a.at('values')} leaves no place for a warm-up; set use_warmup: false")
        rates = [shared.within(a.at("values"), shared.as_number(a.at("values"), x), 0.0, 1e9) for x in _list(a, values)]
    else:
        if not isinstance(gamma, list):
            number = shared.as_number(a.at("gamma"), gamma)
            if len(at) > 1 and number != 0.1:
                notes.append(
                    f"{a.at('gamma')}: the factor at the k-th milestone is {number:g} / 10 ** k in PaddleDetection"
                )
            gamma = [number / 10 ** min(k, 300) for k in range(len(at))]  # 0 in float32 from the 50th on
        factors = [shared.within(a.at("gamma"), shared.as_number(a.at("gamma"), x), 0.0, 1e9) for x in gamma]
        rates = [run.base, *(run.base * factor for factor in factors)]
    if len(rates) != len(at) + 1:
        raise ValueError(
            f"{a.at('milestones')} are {len(at)}, and there are {len(rates) - 1} factors; give one for each"
        )
    return piecewise(rates, at=[run.nb * epoch for epoch in at]) if at else constant(rates[0])


def _list(a: Settings, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{a.at('values')} must be a list of numbers, got {short(value)}")
    return value


def _cosine(a: Settings, run: Run, notes: list[str]) -> Schedule:
    """Half a cosine over what the warm-up leaves of ``max_epochs``, whose last value is held."""
    del notes
    most = a.count("max_epochs", 1000, least=1) * run.nb
    flat = a.count("last_plateau_epochs", 0) * run.nb
    floor = run.base * a.number("min_lr_ratio", 0.0, low=0.0)
    length = most - run.warm - flat
    shared.as_count(a.at("max_epochs"), most)
    if run.warm >= most:
        return constant(run.base)
    if length <= 0:
        return constant(floor)
    if not run.warm and not flat:
        return cosine(run.base, most, floor) if run.total <= most else periodic_cosine(run.base, most, floor)
    falling = delayed(cosine(run.base, length, floor), by=run.warm) if run.warm else cosine(run.base, length, floor)
    return falling if flat or run.total <= most else shared.held(falling, after=most - 1)


def _linear(a: Settings, run: Run) -> tuple[int, Schedule]:
    start = a.number("start_factor", 1.0 / 3, low=0.0)
    steps, epochs = a.count("steps", 500), a.count("epochs", None)
    first = a.flag("epochs_first", True)
    steps = max(epochs * run.nb if first and epochs is not None else steps, 1)
    return steps, linear(start * run.base, run.base, steps)


def _power(a: Settings, run: Run) -> tuple[int, Schedule]:
    steps, epochs, power = a.count("steps", 1000), a.count("epochs", None), a.positive("power", 2)
    steps = max(steps if epochs is None else epochs * run.nb, 1)
    return steps, shared.power_rise(run.base, steps, power)


def _burn_in(a: Settings, run: Run) -> tuple[int, Schedule]:
    steps = min(a.count("steps", 1000, least=1), run.nb)
    return steps, shared.power_rise(run.base, steps, 4)


_DECAYS: Mapping[str, Callable[[Settings, Run, list[str]], Schedule]] = {
    "PiecewiseDecay": _piecewise,
    "CosineDecay": _cosine,
}
_WARMUPS: Mapping[str, Callable[[Settings, Run], tuple[int, Schedule]]] = {
    "LinearWarmup": _linear,
    "ExpWarmup": _power,
    "BurninWarmup": _burn_in,
}
