"""YOLOX's learning rates (0.3.0, ``yolox/utils/lr_scheduler.py``), by the arguments that its LRScheduler takes."""

from __future__ import annotations

from typing import Any

from jaxsched.checks import short
from jaxsched.ports.shared import as_count, as_number, check_names
from jaxsched.schedules import Schedule, constant, cosine, multi_step, piecewise, sequential, warmup

NAMES = ("yoloxwarmcos", "warmcos", "cos", "multistep")


def LRScheduler(name: str, lr: float, iters_per_epoch: int, total_epochs: int, **kwargs: Any) -> Schedule:
    """The lr at each iteration that YOLOX's class of this name sets.

    With ``T``, ``W`` and ``N`` the iterations of the run, of the warm-up and without augmentation, at iteration ``i``:

    - yoloxwarmcos (``warmup_epochs``, ``warmup_lr_start=0``, ``no_aug_epochs``, ``min_lr_ratio=0.2``):
      ``start + (lr - start) * (i / W) ** 2`` up to ``W``, then half a cosine to ``lr * min_lr_ratio`` at ``T - N``,
      where it stays.
    - warmcos (``warmup_epochs``, ``warmup_lr_start=1e-6``): a line to ``lr``, then half a cosine to 0 at ``T``.
    - cos: half a cosine to 0 at ``T``.
    - multistep (``milestones`` in epochs, ``gamma=0.1``): times ``gamma`` at ``int(T * milestone / total_epochs)``.

    As in YOLOX, arguments of the others are passed over. ``yoloxsemiwarmcos`` is not ported.

    Args:
        name: One of the above.
        lr: The lr after the warm-up, ``basic_lr_per_img`` times the batch size.
        iters_per_epoch: Iterations in an epoch, > 0.
        total_epochs: Epochs of the run, > 0.
        kwargs: The arguments of the schedule.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If ``name`` is not known, an argument is missing or out of its range.

    Examples:
        >>> from jaxsched.ports import yolox
        >>> lr = yolox.LRScheduler("yoloxwarmcos", 1.0, 2, 5, warmup_epochs=1, no_aug_epochs=2, min_lr_ratio=0.5)
        >>> [round(float(lr(step)), 3) for step in range(8)]
        [0.0, 0.25, 1.0, 0.927, 0.75, 0.573, 0.5, 0.5]
    """
    if name not in NAMES:
        raise ValueError(f"LRScheduler: name must be one of {', '.join(NAMES)}, got {short(name)}")
    lr, nb = as_number("lr", lr), as_count("iters_per_epoch", iters_per_epoch)
    total = as_count("total_epochs x iters_per_epoch", as_count("total_epochs", total_epochs) * nb)
    required = {"multistep": ["milestones"], "warmcos": ["warmup_epochs"]}.get(name, [])
    required += ["warmup_epochs", "no_aug_epochs"] if name == "yoloxwarmcos" else []
    check_names(f"LRScheduler: {name}", list(kwargs), list(kwargs), required)
    if name == "cos":
        return cosine(lr, total)
    if name == "multistep":
        return _multistep(lr, total, total_epochs, **kwargs)
    warm = _whole("warmup_epochs", kwargs["warmup_epochs"], nb)
    start = as_number("warmup_lr_start", kwargs.get("warmup_lr_start", 0 if name == "yoloxwarmcos" else 1e-6))
    if name == "warmcos":
        return _warmed(lr, warm, start, "linear", total)
    floor = lr * as_number("min_lr_ratio", kwargs.get("min_lr_ratio", 0.2))
    end = total - _whole("no_aug_epochs", kwargs["no_aug_epochs"], nb)
    falls = _warmed(lr, warm, start, "quadratic", end, floor)
    return piecewise([falls, floor], at=[end]) if warm < end < total else falls


def _whole(name: str, epochs: Any, nb: int) -> int:
    """Epochs as iterations; fractions of an epoch must give whole ones."""
    return as_count(f"{name} x iters_per_epoch", as_number(name, epochs) * nb, least=0)


def _warmed(lr: float, warm: int, start: float, shape: str, end: int, floor: float = 0.0) -> Schedule:
    """A rise to ``lr`` at iteration ``warm``, this one included, then half a cosine to ``floor`` at ``end``."""
    rise = warmup(constant(lr), warm, start, shape=shape) if warm else constant(lr)
    if end <= warm:
        return piecewise([rise, floor], at=[warm + 1])
    falls = cosine(lr, end - warm, floor)
    return sequential([rise, falls], at=[warm]) if warm else falls


def _multistep(lr: float, total: int, epochs: int, milestones: Any, gamma: Any = 0.1, **others: Any) -> Schedule:
    del others
    if not isinstance(milestones, list | tuple):
        raise TypeError(f"milestones must be a list of epochs, got {short(milestones)}")
    at = [int(total * as_number(f"milestones[{i}]", item) / epochs) for i, item in enumerate(milestones)]
    if any(step < 0 for step in at):
        raise ValueError(f"milestones must be >= 0, got {short(milestones)}")
    return multi_step(lr, sorted(at), as_number("gamma", gamma)) if at else constant(lr)
