"""torch's schedulers that call a function of the step (torch 2.13.0, ``torch/optim/lr_scheduler.py``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxsched.checks import short
from jaxsched.ports.torch._base import LastEpoch, Rule, Scheduler, WholeLength, why_untraceable
from jaxsched.ports.torch._shapes import counted
from jaxsched.schedules import Schedule, table


@dataclasses.dataclass(frozen=True)
class LambdaLR(Scheduler):
    """``lr * lr_lambda(t)``.

    Args:
        lr_lambda: A function of the step, or a list of them, one for each group. Without ``steps`` it is traced by jax,
            so it must be written with arithmetic or jax.numpy, and is computed in float32 as it is written.
        steps: If given, the function is called on the host for that many steps, in float64; the last value is held
            after them.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.torch.LambdaLR(lambda epoch: 1 / (1 + epoch))(1.0)(jnp.arange(3))
        Array([1.        , 0.5       , 0.33333334], dtype=float32)
        >>> js.ports.torch.LambdaLR(lambda epoch: 0.1 if epoch < 2 else 1.0, steps=3)(1.0)(jnp.arange(4))
        Array([0.1, 0.1, 1. , 1. ], dtype=float32)
    """

    acts_on_lr = False
    per_group = ("lr_lambda",)
    lr_lambda: Callable[[Any], Any] | Sequence[Callable[[Any], Any]]
    last_epoch: LastEpoch = -1
    steps: WholeLength | None = None

    def _check(self) -> None:
        for function in self.lr_lambda if isinstance(self.lr_lambda, tuple) else (self.lr_lambda,):
            if not callable(function):
                self._fail(f"lr_lambda must be a function, or a list of them; got {short(function)}")
            if self.steps is None and (trouble := why_untraceable(function)):
                self._fail(
                    f"lr_lambda cannot be traced by jax ({trouble}); give steps=..., the length of the run, and it is "
                    "called on the host"
                )

    def _factor(self, t: int) -> float:
        return float(self.lr_lambda(t))  # type: ignore[operator]

    def _schedule(self, lr: Any) -> Schedule:
        if self.steps is None:
            return lr * counted(self.lr_lambda)  # type: ignore[arg-type]
        return lr * table([self._factor(t) for t in range(self.steps)])

    def _rule(self, base: float, steps: int) -> Rule:
        return lambda lr, t: base * self._factor(t)


@dataclasses.dataclass(frozen=True)
class MultiplicativeLR(Scheduler):
    """``lr * lr_lambda(1) * lr_lambda(2) * ... * lr_lambda(t)``: ``lr`` at step 0.

    Within `SequentialLR` it continues, as in torch, from the current learning rate times ``lr_lambda(0)``.

    Args:
        lr_lambda: A function of the step, or a list of them, one for each group; called on the host.
        steps: The number of steps; the last value is held after them. Needed unless it is a member of a scheduler that
            has a length.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.torch.MultiplicativeLR(lambda epoch: 0.5, steps=4)(1.0)(jnp.arange(5))
        Array([1.   , 0.5  , 0.25 , 0.125, 0.125], dtype=float32)
    """

    continues_from_current = True
    per_group = ("lr_lambda",)
    lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]
    last_epoch: LastEpoch = -1
    steps: WholeLength | None = None

    @property
    def is_factor(self) -> bool:  # type: ignore[override]
        return self.steps is not None

    def _check(self) -> None:
        for function in self.lr_lambda if isinstance(self.lr_lambda, tuple) else (self.lr_lambda,):
            if not callable(function):
                self._fail(f"lr_lambda must be a function, or a list of them; got {short(function)}")

    def _factor(self, t: int) -> float:
        return float(self.lr_lambda(t))  # type: ignore[operator]

    def _schedule(self, lr: Any) -> Schedule:
        if self.steps is None:
            self._fail("it has no closed form: give steps=..., the length of the run")
        return lr * table(np.cumprod([1.0, *(self._factor(t) for t in range(1, self.steps))]))

    def _rule(self, base: float, steps: int) -> Rule:
        return lambda lr, t: lr * self._factor(t) if t else lr

    def _taken_over(self, lr: float) -> float:
        return lr * self._factor(0)
