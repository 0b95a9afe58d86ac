"""The training loop of YOLOv5, its forks and Ultralytics; the fields are what differs between them."""

from __future__ import annotations

import bisect
import dataclasses
from typing import Any, Literal

import numpy as np

from jaxsched.recipe import Accumulation, caution
from jaxsched.schedules import Schedule, constant, cosine, delayed, linear, per_epoch, piecewise, warmup

Curve = Literal["line", "short line", "cosine", "flat cosine", "flat"]
MOST_BATCHES = 4096
"""Most batches per update, since each number of batches up to it costs a comparison at every step."""


@dataclasses.dataclass(frozen=True)
class Loop:
    """How lr, momentum and accumulation follow from the epoch and the iteration.

    With ``e`` the epoch and ``lf(e)`` the curve, the lr is ``peak * lf(e)``. Warm-up goes from a start to that value in
    a line, over the iterations up to ``warmup_steps``, this one included.

    The fields of lengths may be arrays where only `lr_at` is called: many lengths are then tried at once.

    Attributes:
        epochs: Epochs of the run, ``E``.
        steps_per_epoch: Batches in an epoch.
        batch_size: Images in a batch.
        nominal_batch: Images per update.
        curve: ``lf(e)``, from 1 to ``floor``: a line or half a cosine over ``E``; ``"short line"`` is over ``E - 1``;
            ``"flat cosine"`` stays at 1 for half the epochs; ``"flat"`` is 1.
        floor: The end of the curve.
        warmup_steps: Length of warm-up in iterations; 0: none.
        late: The lr after warm-up is that of the epoch before: ``lf(e - 1)``; the epoch in which warm-up ends keeps
            ``lf(e)``.
        open_warmup: Warm-up leaves out the iteration ``warmup_steps``: what it reached before stays, lr to the end of
            the epoch, momentum and accumulation for good.
        aligned: An update is at the iterations that ``accumulate`` divides; else ``accumulate`` after the last.
        drop: What is gathered and not used by the end of an epoch is dropped.
        rounded: Accumulation climbs to the rounded number of batches, ``round(nominal_batch / batch_size)``; else to
            ``nominal_batch / batch_size`` itself, rounded on the way.
        capped: Accumulation is at most the batches of the run.
    """

    epochs: Any
    steps_per_epoch: Any
    batch_size: int
    nominal_batch: int = 64
    curve: Curve = "line"
    floor: float = 0.01
    warmup_steps: Any = 0
    late: bool = False
    open_warmup: bool = False
    aligned: bool = False
    drop: bool = False
    rounded: bool = False
    capped: bool = False

    @property
    def gathered(self) -> int:
        """Batches per update, by which decay is scaled too."""
        return max(round(self.nominal_batch / self.batch_size), 1)

    def scaled_decay(self, decay: float) -> float:
        """The weight decay, in proportion to the images that an update really has."""
        return decay * self.batch_size * self.gathered / self.nominal_batch

    def lr(self, peak: float, start: float) -> Schedule:
        """The lr of a group whose warm-up begins at ``start``."""
        by_epoch = _by_epoch(self.curve, peak, self.epochs, peak * self.floor)
        on_time = per_epoch(by_epoch, self.steps_per_epoch)
        late = per_epoch(delayed(by_epoch, by=1), self.steps_per_epoch) if self.late else on_time
        if not self.warmup_steps:
            return late
        warm = warmup(on_time, self.warmup_steps, start)
        last = self.warmup_steps // self.steps_per_epoch
        held = (self._last_warm // self.steps_per_epoch + 1) * self.steps_per_epoch
        if self.open_warmup and held > self.warmup_steps:
            reached = float(self.lr_at(np.asarray(self._last_warm), start, peak))
            return piecewise([warm, reached, on_time], at=[self.warmup_steps, held])
        if not self.late or last + 1 >= self.epochs:
            return warm
        return piecewise([warm, late], at=[(last + 1) * self.steps_per_epoch])

    def lr_at(self, step: Any, start: Any = 0.0, peak: Any = 1.0) -> np.ndarray:
        """`lr` in float64 on the host; the arguments and the lengths are arrays that broadcast."""
        if self.open_warmup:  # what is reached is held to the end of its epoch
            reached = np.maximum(self._last_warm, 0)
            same = step // self.steps_per_epoch == reached // self.steps_per_epoch
            step = np.where((self.warmup_steps > 0) & (step > reached) & same, reached, step)
        epoch = step // self.steps_per_epoch
        target = peak * self.factor(epoch)
        after = target
        if self.late:
            before = peak * self.factor(np.maximum(epoch - 1, 0))
            after = np.where(
                (epoch <= self.warmup_steps // self.steps_per_epoch) & (self.warmup_steps > 0), target, before
            )
        slope = (target - start) / np.maximum(self.warmup_steps, 1)
        return np.where((step <= self._last_warm) & (self.warmup_steps > 0), slope * step + start, after)

    @property
    def _last_warm(self) -> Any:
        """The last iteration of warm-up."""
        return self.warmup_steps - self.open_warmup

    def factor(self, epoch: Any) -> np.ndarray:
        """``lf(e)`` in float64."""
        epoch, epochs = np.asarray(epoch, float), self.epochs
        if self.curve == "line":
            return (1 - epoch / epochs) * (1.0 - self.floor) + self.floor
        if self.curve == "short line":
            return (1 - epoch / np.maximum(epochs - 1, 1)) * (1.0 - self.floor) + self.floor
        if self.curve == "cosine":
            return (1 - np.cos(epoch * np.pi / epochs)) / 2 * (self.floor - 1) + 1
        if self.curve == "flat cosine":
            half = np.maximum(epochs // 2, 1)
            return (1 - np.cos(np.maximum(epoch - epochs // 2, 0) * np.pi / half)) / 2 * (self.floor - 1) + 1
        return np.ones_like(epoch)

    def warmed(self, start: float, value: float) -> Any:
        """The momentum of an optimizer whose momentum is warmed up."""
        if not self.warmup_steps:
            return value
        rising = warmup(constant(value), self.warmup_steps, start)
        if not self.open_warmup:
            return rising
        reached = start + (value - start) * self._last_warm / self.warmup_steps
        return piecewise([rising, reached], at=[self.warmup_steps])

    def accumulation(self) -> Accumulation | None:
        """How many batches make an update."""
        stairs = self._stairs()
        if stairs == [(0, 1)]:
            return None
        at = [step for step, _ in stairs[1:]]
        every = piecewise([batches for _, batches in stairs], at) if at else stairs[0][1]
        return Accumulation(every, drop_at_epoch_end=self.drop, at_multiples=self.aligned)

    def updates(self) -> int:
        """How many updates the run has."""
        stairs, total = self._stairs(), self.epochs * self.steps_per_epoch
        ends = [min(step, total) for step, _ in stairs[1:]] + [total]
        count, last = 0, -1
        for (begin, every), end in zip(stairs, ends, strict=True):
            first = -(-begin // every) * every if self.aligned else max(begin, last + every)
            if first < end:
                more = (end - 1 - first) // every
                count, last = count + 1 + more, first + more * every
        return count

    def _stairs(self) -> list[tuple[int, int]]:
        """From which step on ``accumulate`` has which value; halves are rounded to even in float64, as there."""
        most = min(self.gathered, self.steps_per_epoch * self.epochs) if self.capped else self.gathered
        if not self.warmup_steps:
            return [(0, most)]
        target = most if self.rounded else self.nominal_batch / self.batch_size

        def climb(step: int) -> int:
            return max(1, int(np.interp(step, [0, self.warmup_steps], [1, target]).round()))

        values = range(2, climb(self._last_warm) + 1)
        steps = range(self._last_warm + 1)
        return [(0, 1), *((bisect.bisect_left(steps, value, key=climb), value) for value in values)]


def warmup_steps(epochs: float, steps_per_epoch: Any, shortest: int) -> Any:
    """Iterations of warm-up. Halves are rounded to even, as the originals do; lengths may be an array."""
    if isinstance(steps_per_epoch, np.ndarray):
        return np.maximum(np.rint(epochs * steps_per_epoch), shortest)
    return max(round(epochs * steps_per_epoch), shortest)


def longer_warmup(where: str, epochs: float, steps_per_epoch: int, steps: int) -> list[str]:
    """A caution where warm-up takes twice as long as its setting asks for, or more: the release has a least length."""
    asked = round(epochs * steps_per_epoch)
    if steps < 2 * max(asked, 1):
        return []
    text = f"{where}: warm-up takes {steps} iterations, which are {steps / steps_per_epoch:.3g} epochs"
    text += f": warmup_epochs {epochs:g} asks for {asked}, its release for {steps} at least"
    return [caution("warmup-floor", text)]


def _by_epoch(curve: Curve, peak: float, epochs: int, floor: float) -> Schedule:
    if curve == "line":
        return linear(peak, floor, epochs)
    if curve == "short line":
        return linear(peak, floor, max(epochs - 1, 1))
    if curve == "cosine":
        return cosine(peak, epochs, floor)
    if curve == "flat cosine":
        return delayed(cosine(peak, max(epochs // 2, 1), floor), by=epochs // 2)
    return constant(peak)


def what_differs(ours: Loop, other: Loop, starts: tuple[float, ...], others: tuple[float, ...] | None = None) -> str:
    """How the lr and the updates of another loop differ, in words; empty where they do not.

    Args:
        ours: A loop.
        other: Another of the same lengths.
        starts: Where warm-up begins, for each group, relative to the peak.
        others: The same in the other loop, if different.
    """
    total = ours.epochs * ours.steps_per_epoch
    nb = ours.steps_per_epoch
    longest = max(ours.warmup_steps, other.warmup_steps)
    warm = min(total, (longest // nb + 2) * nb)  # beyond it the lr is one number an epoch
    stride = -(-warm // _MOST_COMPARED)
    steps = np.arange(0, warm, stride)
    pairs = list(zip(starts, others or starts, strict=True))
    within = [_unequal(ours.lr_at(steps, a), other.lr_at(steps, b)) for a, b in pairs]
    skip = max(-(-(ours.epochs - warm // nb) // _MOST_COMPARED), 1)
    later = np.arange(warm // nb, ours.epochs, skip) * nb
    beyond = _unequal(ours.lr_at(later), other.lr_at(later))
    count = int(np.logical_or.reduce(within).sum()) * stride + int(beyond.sum()) * nb * skip
    texts = []
    if count:
        about = "about " if max(stride, skip) > 1 else ""
        texts.append(f"lr differs at {about}{min(count, total):,} of {total:,} steps")
    ours_, others_ = ours.updates(), other.updates()
    if ours_ != others_:
        texts.append(f"{others_:,} updates instead of {ours_:,}")
    elif (ours._stairs(), ours.aligned) != (other._stairs(), other.aligned) and ours.gathered > 1:
        texts.append("updates at other steps")
    if ours.open_warmup != other.open_warmup and longest:
        texts.append("momentum differs after warm-up")
    if ours.drop != other.drop and (ours.gathered > 1):
        texts.append(f"what is gathered at an epoch's end is {'dropped' if other.drop else 'kept'}")
    return ", ".join(texts)


_MOST_COMPARED = 2**20


def _unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ~np.isclose(a, b, rtol=1e-7, atol=1e-12)
