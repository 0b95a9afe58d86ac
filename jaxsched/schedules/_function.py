"""Schedules from a table of values, and from a Python function that jax cannot trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.checks import WholeLength, number, short
from jaxsched.schedules._declarations import Mark
from jaxsched.schedules._schedule import Schedule, composition, schedule


def _values(name: str, value: Any) -> Any:
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        # Item by item: np.asarray would build an array of whatever is nested in them.
        values = np.asarray([number(f"{name}[{i}]", item) for i, item in enumerate(value)])
    else:
        values = value if isinstance(value, np.ndarray) else np.empty(0)
    if values.ndim != 1 or not values.size or not np.issubdtype(values.dtype, np.number):
        raise ValueError(f"{name} must be a sequence of numbers, one for each step, got {short(value)}")
    if not np.all(np.isfinite(values)):
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"{name}[{at}] must be finite, got {short(values[at])}")
    return values.astype(np.float64)


@schedule(moments=lambda a, run: [Mark(len(a["values"]) - 1, "end")])
def table(step: jax.Array, values: Annotated[Any, _values]) -> jax.Array:
    """``values[step]``; after the last value, the last value.

    Args:
        values: One number for each step, from step 0 on.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.table([3.0, 1.0, 2.0])(jnp.arange(5))
        Array([3., 1., 2., 2., 2.], dtype=float32)
    """
    values = jnp.asarray(values, dtype=jnp.result_type(float))
    return values[jnp.minimum(step, len(values) - 1)]


@composition
def tabulate(function: Callable[[int], float], steps: WholeLength) -> Schedule:
    """The `table` of a Python function that jax cannot trace: it is called once for each step, on the host.

    Args:
        function: From a Python int to a number.
        steps: Number of steps, from 0; after them the last value stays.

    Raises:
        ValueError: If ``steps`` is not a whole number > 0 or a value is not finite.

    Examples:
        >>> import jaxsched as js
        >>> js.tabulate(lambda epoch: 0.5 if epoch in {1, 2} else 1.0, steps=4)
        table(values=[1.0, 0.5, 0.5, 1.0])
    """
    return table(np.asarray([function(step) for step in range(int(steps))], np.float64))
