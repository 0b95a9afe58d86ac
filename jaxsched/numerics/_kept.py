"""Host numbers kept in forms that do not lose digits in float32.

A schedule is a pytree of float32 and int32 leaves, but its lengths, rates and exponents are Python floats. A number of
one of these classes has several leaves, each of which a float32 or an int32 holds: in float32 the length 2.4 is not
2.4, so 36 / 2.4 may fall below 15 and a stair is missed; and 1e-9 ** 0.9 differs by 8 ulp between 0.9 and the nearest
float32.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxsched.numerics._real import real
from jaxsched.numerics._twofold import Mixed, Twofold, quotient
from jaxsched.numerics._types import Real, Whole, is_host_number, is_whole


class Kept:
    """A host number, or after passing through a transformation of jax the leaves made of it.

    The leaves are made when they are read: those of float64 under ``jax_enable_x64`` have more digits.
    """

    __slots__ = ("_forms", "value")
    Forms: ClassVar[Any]

    def __init__(self, value: float | None, forms: Any = None):
        self.value, self._forms = value, forms

    def __init_subclass__(cls) -> None:
        jax.tree_util.register_pytree_node_class(cls)

    @staticmethod
    def _make(value: float) -> Any:
        raise NotImplementedError

    def _number(self) -> Any:
        """The number that the forms stand for, as numpy has it."""
        raise NotImplementedError

    @property
    def forms(self) -> Any:
        return self._make(self.value) if self.value is not None else self._forms

    def __float__(self) -> float:
        return float(self.value if self.value is not None else self._number())

    def __repr__(self) -> str:
        if self.value is not None:
            return repr(self.value)
        first = self._forms[0]
        if isinstance(first, Tracer):
            return f"<traced {first.aval.str_short()}>"
        return repr(float(self)) if np.ndim(first) == 0 else repr(np.asarray(self._number()).tolist())

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        return tuple(self.forms), None

    @classmethod
    def tree_unflatten(cls, aux: None, leaves: tuple[Any, ...]) -> Self:
        del aux
        return cls(None, cls.Forms(*leaves))


def split_float(value: float) -> tuple[float, float]:
    """``value`` as a float of jax and what its rounding lost."""
    high = float(np.asarray(value, jnp.result_type(float)))
    return high, value - high


class Precise(Kept):
    """A number as a `Twofold`: one whose rounding to float32 a power or an exponential would magnify."""

    __slots__ = ()
    Forms = Twofold

    @staticmethod
    def _make(value: float) -> Twofold:
        return Twofold(*split_float(value))  # type: ignore[arg-type]

    def _number(self) -> Any:
        return np.asarray(self._forms.high, np.float64) + np.asarray(self._forms.low, np.float64)


def precise(number: Any) -> Twofold:
    """The digits of a number that may be `Precise`."""
    high, low = number.forms if isinstance(number, Precise) else (number, 0.0)
    return Twofold(real(high), real(low))


class _Forms(NamedTuple):
    whole: Whole
    part: Real
    lost: Real
    over: Whole
    under: Whole
    tilt: Whole
    per_high: Real
    per_low: Real


class Fractional(Kept):
    """A length in steps that is not whole.

    - ``whole + part + lost``, a `Mixed` number, for what is left of it: the last step before the end is ``part`` away,
      to all digits of it;
    - ``over / under``, the nearest ratio of integers below 2**29 and 2**22, for counting how often it fits: exactly.
      ``tilt`` is the sign of what the number is above its ratio: -1 for 2.4, since 2.4 in binary is below 12 / 5;
    - ``per``, one over it as a `Twofold`, for rates.

    A length that is not such a ratio (those of up to six decimals below 500 are) is counted by the nearest one.
    """

    __slots__ = ()
    Forms = _Forms

    @staticmethod
    def _make(value: float) -> _Forms:
        whole = math.floor(value)
        exact = Fraction(value)
        near = exact.limit_denominator(max(min(2**22, int(2**29 / max(value, 1.0))), 1))
        tilt = (exact > near) - (exact < near)
        part, per = split_float(value - whole), split_float(1 / value)
        return _Forms(whole, *part, max(near.numerator, 1), near.denominator, tilt, *per)

    def _number(self) -> Any:
        return np.asarray(self._forms.over) / np.asarray(self._forms.under)

    @property
    def mixed(self) -> Mixed:
        whole, part, lost, *_ = self.forms
        return Mixed(jnp.asarray(whole, jnp.int32), real(part), real(lost))


def as_mixed(length: Any) -> Mixed:
    """A length as its whole steps and the rest."""
    if isinstance(length, Fractional):
        return length.mixed
    if is_whole(length):
        return Mixed(jnp.asarray(length, jnp.int32), real(0.0))
    floor = jnp.floor(real(length))
    return Mixed(floor.astype(jnp.int32), real(length) - floor)


def inverse(length: Any) -> Twofold:
    """One over a length."""
    if isinstance(length, Fractional):
        return Twofold(real(length.forms.per_high), real(length.forms.per_low))
    if is_host_number(length):
        return precise(Precise(1 / length))
    return quotient(1, length)
