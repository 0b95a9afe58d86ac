"""Annotations of arguments that are stored in another form: lengths and exponents as ratios, rates as logarithms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from jaxsched.checks._numbers import Role, length, number, positive
from jaxsched.checks._short import short
from jaxsched.numerics import LogRate, Ratio, Real, is_host_number


def _kept(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def keep(name: str, value: Any) -> Any:
        if isinstance(value, Ratio):
            return value
        value = check(name, value)
        return Ratio.of(value) if isinstance(value, float) else value

    return keep


Duration = Annotated[Real | Ratio, _kept(length), Role.STEPS]
"""A positive number of steps: the function receives an integer, a `Ratio`, or a traced number."""


Exponent = Annotated[Real | Ratio, _kept(positive)]
"""A positive exponent: the function receives an integer, a `Ratio`, or a traced number."""


def _check_rate(name: str, value: Any) -> LogRate:
    if isinstance(value, LogRate):
        return value
    value = number(name, value)
    if is_host_number(value) and value < 0:
        raise ValueError(f"{name} must be >= 0, got {short(value)}")
    return LogRate.of(value)


Rate = Annotated[Real | LogRate, _check_rate]
"""A factor >= 0 that is raised to a power: the function receives a `LogRate`."""
