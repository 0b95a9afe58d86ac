"""scenic's compound schedule (``train_lib/lr_schedules.py``): a product of factors, by the names in ``lr_configs``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from jaxsched.checks import did_you_mean, short
from jaxsched.ports import shared
from jaxsched.schedules import (
    Schedule,
    add,
    constant,
    cooldown,
    cosine,
    cosine_restarts,
    delayed,
    exponential,
    inverse_sqrt,
    linear,
    piecewise,
    polynomial,
    product,
    step_decay,
)

_ARGUMENTS_TEXT = """
    factors base_learning_rate learning_rate_schedule warmup_steps warmup_alpha steps_per_cycle start_decay_step t_mul
    m_mul alpha total_steps end_learning_rate timescale decay_steps end_factor power decay_events decay_factors
    steps_per_decay decay_factor decay_rate staircase cooldown_steps
"""
ARGUMENTS = tuple(_ARGUMENTS_TEXT.split())
"""What a factor may read; a config may have more than its own factors do."""


def compound_lr_scheduler(config: Mapping[str, Any], steps: int | None = None) -> Schedule:
    """The schedule that scenic's function of this name makes of ``lr_configs``.

    ``factors`` names what is multiplied, such as ``"constant * cosine_decay * linear_warmup"``, with ``W`` the
    ``warmup_steps`` (0 where not given):

    - constant: ``base_learning_rate``
    - linear_warmup: from ``warmup_alpha`` (0) to 1 at ``W``
    - cosine_decay: from ``W + start_decay_step``, half cosines from 1 to ``alpha`` (0) with restarts; the first is
      ``steps_per_cycle - int(W / (total_steps / steps_per_cycle))`` steps long, each next one ``t_mul`` times as long
      and ``m_mul`` times as high
    - linear_decay: a line from ``W`` to ``end_learning_rate`` at ``total_steps``, of all factors before it
    - rsqrt_decay: ``1 / sqrt(1 + (step - W) / timescale)`` after ``W``
    - polynomial: ``(1 - step / decay_steps) ** power``, from 1 to ``end_factor``
    - piecewise_constant: ``decay_factors[k]`` after the step ``decay_events[k]``; piecewise_linear: lines between them
    - decay_every: ``decay_factor ** (step // steps_per_decay)``
    - exponential_decay: ``decay_rate ** (step / decay_steps)``, with ``staircase`` of whole parts
    - linear_cooldown: ``min(1, (total_steps - step) / cooldown_steps)``, 0 afterwards

    Args:
        config: The values of ``lr_configs``.
        steps: Steps of the run: a cosine that does not restart within them is one half wave.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a factor is not known, or a value missing or out of its range.

    Examples:
        >>> from jaxsched.ports import scenic
        >>> lr = scenic.compound_lr_scheduler(dict(
        ...     factors="constant * linear_warmup * cosine_decay", base_learning_rate=0.1, warmup_steps=2,
        ...     steps_per_cycle=6))
        >>> [round(float(lr(step)), 4) for step in range(6)]
        [0.0, 0.05, 0.1, 0.0854, 0.05, 0.0146]
    """
    a = Factors("lr_configs", config)
    found = schedule_of(a, steps)
    a.rest(aside=ARGUMENTS)
    return found


class Factors(shared.ConfigSettings):
    """Settings that several factors read."""

    def take(self, name: str, *default: Any) -> Any:
        left = dict(self.values)
        found = super().take(name, *default)
        self.values = left
        return found

    def rest(self, aside: Collection[str] = (), mixed: bool = False) -> list[str]:
        self.values = {name: value for name, value in self.values.items() if name not in self.taken}
        self.taken += ARGUMENTS
        return super().rest(aside, mixed)


def schedule_of(a: shared.Settings, steps: int | None) -> Schedule:
    """The schedule of a run of ``steps``, which only decide how it is written."""
    factors = [name.strip() for name in a.text("factors").split("*")]
    if len(factors) > _MOST_FACTORS:
        raise ValueError(f"{a.at('factors')} has more than {_MOST_FACTORS} factors")
    terms: list[Schedule] = []
    scale = 1.0
    try:
        for name in factors:
            if name == "constant":
                scale *= a.number("base_learning_rate", low=0.0)
            elif name == "linear_decay":
                terms, scale = [_linear_decay(a, terms, scale)], 1.0
            elif name in _FACTORS:
                found = _FACTORS[name](a, steps)
                terms += [] if found is None else [found]
            else:
                known = [*_FACTORS, "constant", "linear_decay"]
                raise ValueError(f"{a.at('factors')}: {short(name)} is not a factor{did_you_mean(name, known)}")
    except (TypeError, ValueError) as error:
        text = str(error)
        raise type(error)(text if a.where in text else f"{a.where}: {text}") from None
    a.take("learning_rate_schedule", None)
    return _product(scale, terms)


_MOST_FACTORS = 32


def _product(scale: float, terms: list[Schedule]) -> Schedule:
    if not terms:
        return constant(scale)
    return product(scale, *terms) if scale != 1 or len(terms) > 1 else terms[0]


def _warm(a: shared.Settings) -> float:
    found: float = a.number("warmup_steps", 0.0, low=0.0)
    return found


def _falling(a: shared.Settings, shape: str, begin: float, length: float, floor: float = 0.0) -> Schedule:
    """From 1 at ``begin``, half a cosine or a line of ``length`` to ``floor``."""
    del a
    if begin == int(begin) and length == int(length):
        falls = cosine(1.0, int(length), floor) if shape == "cos" else linear(1.0, floor, int(length))
        return delayed(falls, by=int(begin)) if begin else falls
    return shared.phases([1.0, 1.0, floor], ends=[begin, begin + length], shape=shape)


def _linear_warmup(a: shared.Settings, steps: int | None) -> Schedule | None:
    del steps
    warm, alpha = a.number("warmup_steps"), a.number("warmup_alpha", 0.0, low=0.0, high=1.0)
    return linear(alpha, 1.0, warm) if warm > 0 else None


def _cosine_decay(a: shared.Settings, steps: int | None) -> Schedule | None:
    cycle, begin, warm = a.positive("steps_per_cycle"), a.number("start_decay_step", 0.0, low=0.0), _warm(a)
    stretch, rate = a.number("t_mul", 1.0), a.number("m_mul", 1.0, low=0.0)
    alpha, total = a.number("alpha", 0.0, low=0.0, high=1.0), a.positive("total_steps", cycle)
    first, begin = cycle - int(warm / (total / cycle)), begin + warm
    if first <= 0:
        return None
    if steps is not None and begin + first >= steps:  # no cycle begins in the run but the first
        return _falling(a, "cos", begin, first, alpha)
    if first != int(first) or begin != int(begin) or stretch != int(stretch) or stretch < 1:
        raise ValueError(f"{a.at('steps_per_cycle')}: cycles need whole lengths, and a whole t_mul >= 1, to restart")
    length = int(first)
    if rate == 1 or alpha == 0:
        cycles = cosine_restarts(1.0, length, alpha, stretch=int(stretch), decay=rate)
    else:
        cycles = add(alpha, product(1.0 - alpha, cosine_restarts(1.0, length, stretch=int(stretch), decay=rate)))
    return delayed(cycles, by=int(begin)) if begin else cycles


def _linear_decay(a: shared.Settings, terms: list[Schedule], scale: float) -> Schedule:
    """``(value - end) * left + end`` as ``value * left + end * gone``, which is never below 0."""
    warm, total, end = _warm(a), a.positive("total_steps"), a.number("end_learning_rate", 0.0, low=0.0)
    if total <= warm:
        raise ValueError(f"{a.at('total_steps')} must be above warmup_steps ({warm:g}), got {total:g}")
    if not terms and scale:
        falls = _falling(a, "linear", warm, total - warm, end / scale)
        return _product(scale, [falls])
    left = _falling(a, "linear", warm, total - warm)
    value = _product(scale, [*terms, left])
    if not end:
        return value
    gone = shared.phases([0.0, 0.0, end], ends=[warm, total], shape="linear") if warm else linear(0.0, end, total)
    return add(value, gone)


def _rsqrt_decay(a: shared.Settings, steps: int | None) -> Schedule:
    del steps
    warm, timescale = a.count("warmup_steps", 0), a.positive("timescale", 10_000)
    falls = inverse_sqrt(1.0, timescale)
    return delayed(falls, by=warm) if warm else falls


def _polynomial(a: shared.Settings, steps: int | None) -> Schedule:
    del steps
    return polynomial(1.0, a.number("end_factor", low=0.0), a.positive("decay_steps"), a.positive("power"))


def _events(a: shared.Settings) -> tuple[list[int], list[float]]:
    at, factors = a.counts("decay_events", least=0), a.numbers("decay_factors")
    if len(factors) < len(at) or at != sorted(set(at)) or not at or any(factor < 0 for factor in factors):
        raise ValueError(
            f"{a.at('decay_events')} must ascend, with one of decay_factors >= 0 for each, got {short(at)}"
        )
    return at, [float(factor) for factor in factors[: len(at)]]


def _piecewise_constant(a: shared.Settings, steps: int | None) -> Schedule:
    del steps
    at, factors = _events(a)
    return piecewise([1.0, *factors], at=[step + 1 for step in at])


def _piecewise_linear(a: shared.Settings, steps: int | None) -> Schedule:
    del steps
    at, factors = _events(a)
    if len(a.numbers("decay_factors")) > len(at):
        raise ValueError(f"{a.at('decay_factors')} must have one factor for each event ({len(at)})")
    return shared.phases([1.0, *factors], ends=at, shape="linear")


def _decay_every(a: shared.Settings, steps: int | None) -> Schedule:
    del steps
    return step_decay(1.0, a.count("steps_per_decay", least=1), a.number("decay_factor", low=0.0))


def _exponential_decay(a: shared.Settings, steps: int | None) -> Schedule:
    del steps
    every, rate = a.positive("decay_steps"), a.number("decay_rate", low=0.0)
    return exponential(1.0, rate, every=every, staircase=a.flag("staircase", False))


def _linear_cooldown(a: shared.Settings, steps: int | None) -> Schedule:
    del steps
    total, cool, warm = a.count("total_steps", least=1), a.count("cooldown_steps", least=1), _warm(a)
    if total - cool < warm:
        raise ValueError(f"{a.at('cooldown_steps')} begins before the warm-up ends, which is not ported; shorten it")
    return cooldown(1.0, at=total - cool, steps=cool)


_FACTORS: Mapping[str, Callable[[shared.Settings, int | None], Schedule | None]] = {
    "linear_warmup": _linear_warmup,
    "cosine_decay": _cosine_decay,
    "rsqrt_decay": _rsqrt_decay,
    "polynomial": _polynomial,
    "piecewise_constant": _piecewise_constant,
    "piecewise_linear": _piecewise_linear,
    "decay_every": _decay_every,
    "exponential_decay": _exponential_decay,
    "linear_cooldown": _linear_cooldown,
}
