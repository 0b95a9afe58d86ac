"""Cyclical schedules: endless triangular waves, and the one-cycle policy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import jax
import jax.numpy as jnp

from jaxsched.checks import Number, WholeLength, choice, short
from jaxsched.numerics import Whole, fraction, is_host_number
from jaxsched.schedules._compose import sequential
from jaxsched.schedules._cosine import cosine
from jaxsched.schedules._decay import linear
from jaxsched.schedules._declarations import Arguments, Mark, times
from jaxsched.schedules._schedule import Schedule, Value, composition, schedule, value_at


def _waves(a: Arguments, run: float) -> Iterable[Mark]:
    up = a.number("up")
    wave = up + a.number("down", up)
    for k in range(times(run, wave) + 1):
        yield Mark(k * wave + up, "other", "top of a cycle")
        yield Mark((k + 1) * wave, "restart")


@schedule(moments=_waves)
def cyclic(
    step: jax.Array, low: Number, high: Number, up: WholeLength, down: WholeLength | None = None, amplitude: Value = 1.0
) -> jax.Array:
    """An endless triangular wave: from ``low`` to ``high`` in ``up`` steps, back in ``down`` (arXiv:1506.01186).

    ``low + (high - low) * wave * amplitude``, where the wave rises from 0 to 1 and falls back to 0. The amplitude gives
    the known variants, with ``n = up + down``:

    - triangular: 1
    - triangular2: ``step_decay(1.0, every=n, factor=0.5)``: each cycle half as high
    - exponential range: ``exponential(1.0, rate=0.9999)``: lower at every step

    Args:
        low: Value at step 0 and between the cycles.
        high: Value at the top of a cycle of amplitude 1.
        up: Steps from low to high, whole, > 0.
        down: Steps from high to low, whole, > 0; ``up`` by default.
        amplitude: Factor on the height: a number or a schedule. Where ``high`` is below ``low`` it makes small values
            from the difference of larger ones: they are within 8 float32 ulp of ``low``.

    Raises:
        ValueError: If ``up`` or ``down`` is not a positive whole number.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.cyclic(0.0, 1.0, up=2, amplitude=js.step_decay(1.0, every=4, factor=0.5))(jnp.arange(8))
        Array([0.  , 0.5 , 1.  , 0.5 , 0.  , 0.25, 0.5 , 0.25], dtype=float32)
    """
    down = up if down is None else down
    period = jnp.asarray(up, jnp.int32) + jnp.asarray(down, jnp.int32)
    at = step % period
    rises = at < up
    length = jnp.where(rises, up, down)
    high_part = fraction(jnp.where(rises, at, period - at), length)
    low_part = fraction(jnp.where(rises, up - at, at - up), length)
    height = value_at(amplitude, step)
    return low * (low_part + high_part * (1.0 - height)) + high * (high_part * height)


def _rise(steps: Whole, up: Whole | None) -> Whole:
    # Three tenths of steps up to 2**31 - 1, in int32: 3 * steps would overflow.
    return steps // 10 * 3 + steps % 10 * 3 // 10 if up is None else up


@composition
def one_cycle(
    peak: Number,
    steps: WholeLength,
    up: WholeLength | None = None,
    start: Number | None = None,
    floor: Number | None = None,
    shape: Annotated[str, choice("cosine", "linear")] = "cosine",
    three_phase: bool = False,
) -> Schedule:
    """The one-cycle policy: up to ``peak`` and down to ``floor``, in two or three phases (arXiv:1708.07120).

    Two phases: ``start`` to ``peak`` in ``up`` steps, ``peak`` to ``floor`` at ``steps``. Three: ``start`` to ``peak``
    and back in ``up`` steps each, ``start`` to ``floor`` at ``steps``. (torch's OneCycleLR peaks a step earlier and
    ends a step earlier: ``ports.torch.OneCycleLR``.)

    Args:
        peak: Value at step ``up``.
        steps: Total length in steps: a whole number.
        up: Steps of the rise: a whole number below ``steps`` (below half of it for three phases); three tenths of
            ``steps``, rounded down, by default.
        start: Value at step 0; ``peak / 25`` by default.
        floor: Value from ``steps`` on; ``start / 10_000`` by default.
        shape: "cosine" or "linear".
        three_phase: Whether to return to ``start`` in ``up`` steps before the decay to ``floor``.

    Raises:
        ValueError: If ``up`` leaves no steps for the decay, or the shape is unknown.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.one_cycle(1.0, steps=6, up=2, start=0.5, floor=0.0, shape="linear")(jnp.arange(8))
        Array([0.5 , 0.75, 1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ], dtype=float32)
    """
    rise = _rise(steps, up)
    last = steps - (2 * rise if three_phase else rise)
    if is_host_number(rise) and rise <= 0:
        raise ValueError(f"one_cycle: steps={short(steps)} is too short for a rise of three tenths; pass up=...")
    if is_host_number(last) and last <= 0:
        part = "half of steps" if three_phase else "steps"
        raise ValueError(f"one_cycle: up must be below {part}, got up={short(rise)} of steps={short(steps)}")
    start = peak / 25.0 if start is None else start
    floor = start / 1e4 if floor is None else floor
    way = _WAYS[shape]
    if three_phase:
        return sequential([way(start, peak, rise), way(peak, start, rise), way(start, floor, last)], [rise, 2 * rise])
    return sequential([way(start, peak, rise), way(peak, floor, last)], [rise])


_WAYS = {"linear": linear, "cosine": lambda start, end, steps: cosine(start, steps, floor=end)}


@composition
def one_cycle_momentum(
    steps: WholeLength,
    up: WholeLength | None = None,
    low: Number = 0.85,
    high: Number = 0.95,
    shape: Annotated[str, choice("cosine", "linear")] = "cosine",
    three_phase: bool = False,
) -> Schedule:
    """The momentum beside a `one_cycle` learning rate: ``low`` where the rate is high, and the reverse.

    ``one_cycle(low, steps, up, start=high, floor=high, ...)``.

    Args:
        steps: Total length in steps.
        up: Steps of the rise of the learning rate, in which the momentum falls; as for `one_cycle`.
        low: Value at step ``up``.
        high: Value at step 0 and at the end.
        shape: "cosine" or "linear".
        three_phase: As for `one_cycle`; the third phase stays at ``high``.

    Raises:
        ValueError: If ``up`` leaves no steps for the decay, or the shape is unknown.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.schedules.one_cycle_momentum(steps=6, up=2, low=0.5, high=1.0, shape="linear")(jnp.arange(8))
        Array([1.   , 0.75 , 0.5  , 0.625, 0.75 , 0.875, 1.   , 1.   ], dtype=float32)
    """
    return one_cycle(low, steps, up, start=high, floor=high, shape=shape, three_phase=three_phase)
