"""The future of a live torch scheduler, from its current state. torch itself is not imported."""

from __future__ import annotations

import copy
import math
import types
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from jaxsched.ports.shared import shifted
from jaxsched.ports.torch import _compose as compose
from jaxsched.ports.torch import _cycles as cycles
from jaxsched.ports.torch import _functions as functions
from jaxsched.ports.torch import _schedulers as schedulers
from jaxsched.ports.torch._base import Scheduler, exact
from jaxsched.schedules import Value, table


class Future(NamedTuple):
    """The future values of a group under a scheduler; step 0 is the next optimizer step."""

    lr: Value
    momentum: Value | None


def number(value: Any) -> Any:
    """A Python number, taken out of a tensor if necessary."""
    return value.item() if hasattr(value, "item") else value


def kind(live: Any) -> str:
    """The name of its class in torch; for a subclass, that of its base in torch."""
    for base in type(live).__mro__:
        if base.__module__.startswith("torch."):
            return base.__name__
    return type(live).__name__


def futures(optimizer: Any, live: Any, steps: int | None) -> list[Future]:
    """The future of each group: a closed form, or a table from running the scheduler where there is none.

    Raises:
        ValueError: If it has no closed form, or its current value is not that of the form, and ``steps`` is None.
    """
    groups = optimizer.param_groups
    if kind(live) == "ReduceLROnPlateau":
        return [Future(_plateau(live, i)(number(group["lr"])), None) for i, group in enumerate(groups)]
    if steps is not None and _calls_functions(live):
        return _run(optimizer, live, steps)  # in float64, as they were written; traced they would be float32
    try:
        return [_closed(live, i, group) for i, group in enumerate(groups)]
    except _NoClosedForm as error:
        if steps is None:
            raise ValueError(
                f"recipe: {kind(live)}: {error}. Give steps=..., how many more steps are to come, and it is run for "
                "these without the model"
            ) from None
        return _run(optimizer, live, steps)


def _calls_functions(live: Any) -> bool:
    return hasattr(live, "lr_lambdas") or any(map(_calls_functions, getattr(live, "_schedulers", ())))


class _NoClosedForm(Exception):
    """Why a scheduler has no closed form."""


def _closed(live: Any, i: int, group: Any) -> Future:
    try:
        scheduler = _described(live, i, group)
        taken, base = _clock(live), _base(live, i)
        lr, momentum = scheduler(base), scheduler.momentum
    except (TypeError, ValueError) as error:
        raise _NoClosedForm(str(error)) from None
    if taken:
        lr = shifted(lr, taken)
        momentum = None if momentum is None else shifted(momentum, taken)
    says, stands = float(exact(lr, 1)[0]), number(group["lr"])
    if not math.isclose(says, stands, rel_tol=1e-9, abs_tol=1e-9 * abs(base)):
        raise _NoClosedForm(
            f"after {taken} steps it gives {says!r}, but the learning rate of group {i} is {stands!r}: something else "
            "has changed it"
        )
    return Future(lr, momentum)


def _leaf(live: Any) -> Any:
    return _leaf(live._schedulers[0]) if hasattr(live, "_schedulers") else live


def _clock(live: Any) -> int:
    """The number of steps that it has taken."""
    if kind(live) == "SWALR":
        return int(live._step_count) - 1
    return _clock(live._schedulers[0]) if kind(live) == "ChainedScheduler" else int(live.last_epoch)


def _base(live: Any, i: int) -> float:
    """The base learning rate of its closed form, for a group."""
    if kind(live) == "SWALR":
        gone = min(1.0, _clock(live) / max(1, live.anneal_epochs))
        share = gone if live._anneal_strategy == "linear" else (1 - math.cos(math.pi * gone)) / 2
        group = live.optimizer.param_groups[i]
        now, end = number(group["lr"]), number(group["swa_lr"])
        return end if share == 1 else (now - share * end) / (1 - share)
    return float(number(_leaf(live).base_lrs[i]))


def _described(live: Any, i: int, group: Any) -> Scheduler:
    """The equivalent scheduler of this package for one group, from its first step."""
    name = kind(live)
    if name in _ATTRIBUTES:
        home, attributes = _ATTRIBUTES[name]
        return getattr(home, name)(**{attribute: number(getattr(live, attribute)) for attribute in attributes})
    if name not in _READERS:
        raise _NoClosedForm("it is not one of torch's")
    return _READERS[name](live, i, group)


_ATTRIBUTES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "StepLR": (schedulers, ("step_size", "gamma")),
    "ConstantLR": (schedulers, ("factor", "total_iters")),
    "LinearLR": (schedulers, ("start_factor", "end_factor", "total_iters")),
    "ExponentialLR": (schedulers, ("gamma",)),
    "PolynomialLR": (schedulers, ("total_iters", "power")),
    "CosineAnnealingLR": (schedulers, ("T_max", "eta_min")),
}


def _multi_step(live: Any, i: int, group: Any) -> Scheduler:
    del i, group
    acting = [step for step in live.milestones.elements() if step >= 0 and step == int(step)]
    return schedulers.MultiStepLR(acting, live.gamma)


def _warm_restarts(live: Any, i: int, group: Any) -> Scheduler:
    del i, group
    if live.T_cur != int(live.T_cur):
        raise _NoClosedForm("it was stepped by fractions of an epoch")
    return cycles.CosineAnnealingWarmRestarts(live.T_0, live.T_mult, live.eta_min)


def _cyclic(live: Any, i: int, group: Any) -> Scheduler:
    up = Fraction(live.total_size * live.step_ratio).limit_denominator(1000)
    down = Fraction(live.total_size).limit_denominator(1000) - up
    momenta: dict[str, Any] = (
        dict(base_momentum=number(group["base_momentum"]), max_momentum=number(group["max_momentum"]))
        if live.cycle_momentum
        else {}
    )
    return cycles.CyclicLR(
        number(live.base_lrs[i]),
        number(live.max_lrs[i]),
        step_size_up=float(up),
        step_size_down=float(down),
        mode=live.mode,
        gamma=live.gamma,
        scale_fn=live._scale_fn_custom,
        scale_mode=live.scale_mode,
        cycle_momentum=live.cycle_momentum,
        **momenta,
    )


def _one_cycle(live: Any, i: int, group: Any) -> Scheduler:
    del i
    high, start, end = (number(group[name]) for name in ("max_lr", "initial_lr", "min_lr"))
    momenta: dict[str, Any] = (
        dict(base_momentum=number(group["base_momentum"]), max_momentum=number(group["max_momentum"]))
        if live.cycle_momentum
        else {}
    )
    return cycles.OneCycleLR(
        high,
        live.total_steps,
        pct_start=(live._schedule_phases[0]["end_step"] + 1) / live.total_steps,
        anneal_strategy=live._anneal_func_type,
        cycle_momentum=live.cycle_momentum,
        div_factor=high / start,
        final_div_factor=start / end,
        three_phase=len(live._schedule_phases) == 3,
        **momenta,
    )


def _sequential(live: Any, i: int, group: Any) -> Scheduler:
    members = [_described(member, i, group) for member in live._schedulers]
    return compose.SequentialLR(members, list(live._milestones))


def _chained(live: Any, i: int, group: Any) -> Scheduler:
    members = [_described(member, i, group) for member in live._schedulers]
    if len({_clock(member) for member in live._schedulers}) > 1:
        raise _NoClosedForm("its members have taken different numbers of steps")
    return compose.ChainedScheduler(members)


_READERS: dict[str, Callable[[Any, int, Any], Scheduler]] = {
    "MultiStepLR": _multi_step,
    "CosineAnnealingWarmRestarts": _warm_restarts,
    "CyclicLR": _cyclic,
    "OneCycleLR": _one_cycle,
    "SequentialLR": _sequential,
    "ChainedScheduler": _chained,
    "LambdaLR": lambda live, i, group: functions.LambdaLR(live.lr_lambdas[i]),
    "MultiplicativeLR": lambda live, i, group: functions.MultiplicativeLR(live.lr_lambdas[i]),
    "SWALR": lambda live, i, group: cycles.SWALR(number(group["swa_lr"]), live.anneal_epochs, live._anneal_strategy),
}


def _plateau(live: Any, i: int) -> schedulers.ReduceLROnPlateau:
    return schedulers.ReduceLROnPlateau(
        live.mode,
        live.factor,
        live.patience,
        live.threshold,
        live.threshold_mode,
        live.cooldown,
        live.min_lrs[i],
        live.eps,
    )


def _run(optimizer: Any, live: Any, steps: int) -> list[Future]:
    """Run a copy of the scheduler on copies of the groups; the user's objects do not change."""
    groups = [{k: copy.deepcopy(v) for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    step = types.SimpleNamespace(_wrapped_by_lr_sched=True)
    stand_in = types.SimpleNamespace(param_groups=groups, defaults=optimizer.defaults, step=step, _opt_called=True)
    twin = copy.deepcopy(live, {id(optimizer): stand_in})
    seen = np.empty((2, len(groups), steps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for t in range(steps):
            for i, group in enumerate(groups):
                seen[:, i, t] = number(group["lr"]), _momentum_of(group)
            if t + 1 < steps:
                twin.step()
    return [Future(_shortest(lr), None if np.all(m == m[0]) else table(m)) for lr, m in zip(*seen, strict=True)]


def _momentum_of(group: Any) -> float:
    return float(number(group["betas"][0]) if "betas" in group else number(group.get("momentum", 0.0)))


def _shortest(values: np.ndarray) -> Value:
    return float(values[0]) if np.all(values == values[0]) else table(values)
