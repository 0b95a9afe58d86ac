"""Annotations of arguments whose rounding to float32 would be visible: they are stored in another form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from jaxsched.checks._numbers import Role, length, not_negative, number, positive
from jaxsched.checks._short import short
from jaxsched.numerics import Fractional, LogRate, Precise, Real, is_host_number


def _duration(name: str, value: Any) -> Any:
    if isinstance(value, Fractional):
        return value
    value = length(name, value)
    return Fractional(value) if isinstance(value, float) else value


Duration = Annotated[Real | Fractional, _duration, Role.STEPS]
"""A positive number of steps: the function receives an integer, a `Fractional`, or a traced number."""


_LARGEST = 1e20
"""Multiplied by 2**31 steps and divided by a length of 1e-6 it is still within the range of float32."""


def _precise(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def precise(name: str, value: Any) -> Any:
        if isinstance(value, Precise):
            return value
        value = check(name, value)
        if is_host_number(value) and abs(value) > _LARGEST:
            raise ValueError(f"{name} must be at most {_LARGEST:g}, got {short(value)}")
        return Precise(value) if isinstance(value, float) else value

    return precise


PreciseNumber = Annotated[Real | Precise, _precise(number)]
"""A number whose rounding to float32 would show: the function receives an integer, a `Precise`, or a traced number."""

PrecisePositive = Annotated[Real | Precise, _precise(positive)]
"""A `PreciseNumber` above 0."""

Exponent = PrecisePositive
"""A positive exponent."""


def _check_rate(name: str, value: Any) -> LogRate:
    if isinstance(value, LogRate):
        return value
    return LogRate.of(not_negative(name, value))


Rate = Annotated[Real | LogRate, _check_rate]
"""A factor >= 0 that is raised to a power: the function receives a `LogRate`."""
