"""The recipe of a run of YOLOX (0.3.0), from an ``Exp`` file, which is never executed, or from its values."""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Mapping
from typing import Any

from jaxsched.ports import shared
from jaxsched.ports.yolox._exp import Exp, arguments_of, read_exp, returned_call
from jaxsched.ports.yolox._schedules import LRScheduler
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Schedule, exponential_ramp, piecewise

DEFAULTS: Mapping[str, Any] = {
    "max_epoch": 300,
    "warmup_epochs": 5,
    "warmup_lr": 0,
    "min_lr_ratio": 0.05,
    "basic_lr_per_img": 0.01 / 64.0,
    "scheduler": "yoloxwarmcos",
    "no_aug_epochs": 15,
    "ema": True,
    "weight_decay": 5e-4,
    "momentum": 0.9,
}
"""What YOLOX's own ``Exp`` assigns; a file changes some."""
_DECAY, _RAMP = 0.9998, 2000
"""Of the average of the parameters, as the Trainer sets it."""


class _Exp(shared.Settings):
    """Settings of which some may be known to the running file alone."""

    def read(self, where: str, value: Any) -> Any:
        if isinstance(value, shared.Unknown):
            raise ValueError(
                f"{self.where}:{value.line}: {where.rpartition(': ')[2]} is `{value.source}`, which is not known "
                "without running the file; write the number"
            )
        return value


def recipe(
    exp: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    batch_size: int,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    world_size: int = 1,
) -> Recipe:
    """The recipe that YOLOX's Trainer follows.

    SGD with Nesterov's momentum, for the groups ``weight`` (decayed), ``norm`` and ``bias`` (not decayed; no difference
    otherwise). The lr after the warm-up is ``basic_lr_per_img * batch_size``; it changes at each iteration. The average
    of the parameters has the decay ``0.9998 * (1 - exp(-t / 2000))`` at the t-th update.

    Of a file the recipe takes what ``Exp.__init__`` assigns to ``self``, through the classes of the file up to
    ``yolox.exp.Exp``. A ``get_lr_scheduler`` of its own is read where it returns ``LRScheduler(...)``; one that does
    more, and a ``get_optimizer`` or ``get_trainer`` of its own, is an error.

    Args:
        exp: The path to an ``Exp`` file, or the values of its attributes.
        batch_size: Images in a batch, of all devices together: ``-b`` of ``tools/train.py``.
        steps_per_epoch: Batches in an epoch.
        images: Images of the training set, in place of ``steps_per_epoch``.
        world_size: How many processes train.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is not known without running the file, or out of its range.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.ports.yolox.recipe(dict(max_epoch=100), batch_size=64, steps_per_epoch=50)
        >>> js.curves(recipe, [0, 125, 250, 4999])["weight"]["lr"].round(6).tolist()
        [0.0, 0.0024999999441206455, 0.009999999776482582, 0.0005000000237487257]
    """
    where, read = _read(exp)
    a = _Exp(where, read.values, DEFAULTS)
    for name in ("get_optimizer", "get_trainer"):
        if name in read.methods:
            line = read.methods[name].lineno
            raise ValueError(f"{where}:{line}: {name} is the file's own, and no code of it is run; write the recipe")
    batch_size = shared.as_count("batch_size", batch_size)
    processes = shared.as_count("world_size", world_size)
    if images is not None and steps_per_epoch is None:  # each process has its share of both, rounded down
        images, share = shared.as_count("images", images) // processes, max(batch_size // processes, 1)
        nb = shared.epoch_length(where, None, max(images, 1), share)
    else:
        nb = shared.epoch_length(where, steps_per_epoch, images, batch_size)
    epochs = a.count("max_epoch", least=1)
    peak = a.number("basic_lr_per_img", low=0.0) * batch_size
    name, lr = _lr(a, read, peak, epochs, nb)
    decay, average = a.number("weight_decay", low=0.0), a.flag("ema")
    notes = [f"{where}: lr is {peak:.6g} = basic_lr_per_img x {batch_size}"]
    if read.without_effect:
        lost = ", ".join(sorted(set(read.without_effect) & DEFAULTS.keys()))
        if lost:
            text = f"{where}: {lost} of the class has no effect: YOLOX's __init__ assigns it; assign it in __init__"
            notes.append(caution("left-out", text))
    return Recipe(
        "sgd",
        {"lr": lr, "momentum": a.beta("momentum"), "nesterov": True, "weight_decay": 0.0},
        groups={"weight": {"weight_decay": decay}},
        ema=exponential_ramp(_DECAY, _RAMP) if average else None,
        steps=shared.as_count("max_epoch x steps_per_epoch", epochs * nb),
        steps_per_epoch=nb,
        batch_size=batch_size,
        notes=(*notes, *a.rest(mixed=True)),
        origin={"lr": f"{where}: scheduler {name}", "weight.weight_decay": f"{where}: weight_decay"},
    )


def _read(exp: Any) -> tuple[str, Exp]:
    given = shared.file_or_dict(exp, "an Exp file")
    return (given.name, read_exp(given)) if isinstance(given, shared.File) else ("exp", Exp(given, {}, []))


def _lr(a: _Exp, read: Exp, peak: float, epochs: int, nb: int) -> tuple[str, Schedule]:
    """The name of the scheduler, and the schedule."""
    own = read.methods.get("get_lr_scheduler")
    warm, start = a.number("warmup_epochs", low=0.0), a.number("warmup_lr", low=0.0)
    given = {
        "warmup_epochs": warm,
        "warmup_lr_start": start,
        "no_aug_epochs": a.take("no_aug_epochs"),
        "min_lr_ratio": a.take("min_lr_ratio"),
    }
    name = a.text("scheduler")
    if own is not None:
        name, epochs, given = _own_scheduler(a, own, {**DEFAULTS, **read.values})
    try:
        lr = LRScheduler(name, peak, nb, epochs, **given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{a.where}: {error}") from None
    first = start if warm > 0 else peak  # the optimizer's own lr, as the scheduler is first asked after an update
    return name, lr if math.isclose(float(lr(0)), first, rel_tol=1e-6) else piecewise([first, lr], at=[1])


def _own_scheduler(a: _Exp, method: ast.FunctionDef, values: Mapping[str, Any]) -> tuple[str, int, dict[str, Any]]:
    """The arguments of the ``LRScheduler`` that a method of the file returns."""
    where = f"{a.where}:{method.lineno}"
    call = returned_call(method, "LRScheduler")
    parameters = [argument.arg for argument in method.args.args]
    if call is None or len(parameters) < 3:
        raise ValueError(f"{where}: get_lr_scheduler is the file's own, and more than a call of LRScheduler")
    me, lr, length = parameters[:3]

    def look_up(node: ast.expr) -> Any:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == me:
            return values.get(node.attr, shared.Unknown(node.lineno, shared.source_of(node)))
        return shared.Unknown(node.lineno, shared.source_of(node))

    names = ("name", "lr", "iters_per_epoch", "total_epochs")
    given: dict[str, Any] = {}
    for key, node in arguments_of(call):
        key = names[key] if isinstance(key, int) and key < 4 else str(key)
        passed = {"lr": lr, "iters_per_epoch": length}.get(key)
        if passed is not None:
            if not (isinstance(node, ast.Name) and node.id == passed):
                raise ValueError(f"{where}: get_lr_scheduler passes another {key} than its own; write the recipe")
            continue
        given[key] = a.read(f"{where}: {key}", shared.value_of(node, look_up))
    if "name" not in given or "total_epochs" not in given:
        raise ValueError(f"{where}: get_lr_scheduler gives LRScheduler no name or no total_epochs")
    return given.pop("name"), shared.as_count(f"{where}: total_epochs", given.pop("total_epochs")), given
