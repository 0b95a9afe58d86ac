"""fvcore's schedulers made of others: one after another, and Detectron2's warm-up."""

from __future__ import annotations

from collections.abc import Sequence

from jaxsched.checks import short
from jaxsched.ports.detectron2._schedulers import (
    WHERE_EPSILON,
    ConstantParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
    Window,
    reaches,
)
from jaxsched.schedules import Schedule, constant, piecewise


def CompositeParamScheduler(
    schedulers: Sequence[ParamScheduler], lengths: Sequence[float], interval_scaling: Sequence[str]
) -> ParamScheduler:
    """Schedulers one after another, for the shares ``lengths`` of the run.

    Args:
        schedulers: The parts.
        lengths: For each its share; they sum to 1.
        interval_scaling: For each ``"rescaled"`` (its progress goes from 0 to 1 within its share) or ``"fixed"`` (its
            progress is that of the run).

    Raises:
        ValueError: If the numbers of these differ, or the lengths do not sum to 1.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> flat, line = detectron2.ConstantParamScheduler(1.0), detectron2.LinearParamScheduler(1.0, 0.0)
        >>> both = detectron2.CompositeParamScheduler([flat, line], [0.5, 0.5], ["fixed", "rescaled"])
        >>> both(0.25), both(0.75)
        (1.0, 0.5)
    """
    if not schedulers or len(schedulers) != len(lengths) or len(schedulers) != len(interval_scaling):
        raise ValueError(
            "CompositeParamScheduler: schedulers, lengths and interval_scaling must be of one length >= 1, got "
            f"{len(schedulers)}, {len(lengths)} and {len(interval_scaling)}"
        )
    for scaling in interval_scaling:
        if scaling not in ("rescaled", "fixed"):
            raise ValueError(
                f"CompositeParamScheduler: interval_scaling must be of 'rescaled' and 'fixed', got {short(scaling)}"
            )
    if not abs(sum(lengths) - 1.0) < 1e-3:
        raise ValueError(f"CompositeParamScheduler: lengths must sum to 1, got {short(list(lengths))}")
    shares = list(lengths)
    if sum(shares) != 1.0:
        shares[-1] = 1.0 - sum(shares[:-1])
    ends = [shares[0]]
    for share in shares[1:]:
        ends.append(ends[-1] + share)

    def part(where: float) -> int:
        past = (i for i, end in enumerate(ends[:-1]) if not where + WHERE_EPSILON > end)
        return next(past, len(ends) - 1)

    def within(i: int, where: float) -> float:
        if interval_scaling[i] == "fixed":
            return where
        return (where - (ends[i] - shares[i])) / shares[i]

    def value(where: float) -> float:
        i = part(where)
        return schedulers[i](within(i, where))

    def over(window: Window) -> Schedule:
        at = [window.first(reaches(part, k)) for k in range(1, len(schedulers))]
        return piecewise([over_part(window, i) for i in range(len(schedulers))], at)

    def over_part(window: Window, i: int) -> Schedule:
        if interval_scaling[i] == "fixed":
            return schedulers[i].window(window)
        if shares[i] <= 0:  # it is never reached
            return constant(0.0)
        inner = Window(
            lambda iteration: within(i, window.where(iteration)),
            window.begin + (ends[i] - shares[i]) * window.length,
            shares[i] * window.length,
            window.max_iter,
        )
        return schedulers[i].window(inner)

    return ParamScheduler(value, over)


def WarmupParamScheduler(
    scheduler: ParamScheduler,
    warmup_factor: float,
    warmup_length: float,
    warmup_method: str = "linear",
    rescale_interval: bool = False,
) -> ParamScheduler:
    """Detectron2's warm-up: another scheduler, approached from ``warmup_factor`` times *its first value*.

    With ``"linear"`` it climbs to the scheduler's value at the end of warm-up, be it decayed by then, with
    ``"constant"`` it stays.

    Args:
        scheduler: What to approach.
        warmup_factor: Share of the scheduler's first value to start from.
        warmup_length: Share of the run, in [0, 1].
        warmup_method: ``"linear"`` or ``"constant"``.
        rescale_interval: Whether the scheduler begins at its own beginning after warm-up, rather than having run on.

    Raises:
        ValueError: If ``warmup_length`` or ``warmup_method`` is not one of these.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> flat = detectron2.ConstantParamScheduler(1.0)
        >>> warm = detectron2.WarmupParamScheduler(flat, warmup_factor=0.5, warmup_length=0.25)
        >>> warm(0.0), warm(0.125), warm(0.5)
        (0.5, 0.75, 1.0)
    """
    if not 0.0 <= warmup_length <= 1.0:
        raise ValueError(f"WarmupParamScheduler: warmup_length must be in [0, 1], got {short(warmup_length)}")
    start = warmup_factor * scheduler(0.0)
    if warmup_method == "constant":
        warm = ConstantParamScheduler(start)
    elif warmup_method == "linear":
        warm = LinearParamScheduler(start, scheduler(0.0 if rescale_interval else warmup_length))
    else:
        raise ValueError(
            f"WarmupParamScheduler: warmup_method must be 'linear' or 'constant', got {short(warmup_method)}"
        )
    return CompositeParamScheduler(
        [warm, scheduler],
        [warmup_length, 1 - warmup_length],
        ["rescaled", "rescaled" if rescale_interval else "fixed"],
    )
