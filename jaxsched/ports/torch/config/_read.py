"""The recipe in a config that names torch's classes: of Lightning's command line, or of Hydra."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import one_line
from jaxsched.groups import Rule
from jaxsched.ports import shared
from jaxsched.ports.torch._base import Scheduler
from jaxsched.ports.torch._schedulers import ReduceLROnPlateau
from jaxsched.ports.torch.config._lightning import Trainer, callbacks
from jaxsched.ports.torch.config._nodes import Node, References, is_optimizer, is_scheduler, nodes
from jaxsched.ports.torch.config._scheduler import Clock, scheduler_of
from jaxsched.recipe import Accumulation, Recipe, caution

_ELSEWHERE = {
    "transformers": "js.ports.huggingface.get_scheduler",
    "timm": "js.ports.timm",
    "detectron2": "js.ports.detectron2",
    "fvcore": "js.ports.detectron2",
    "deepspeed": "js.ports.deepspeed",
}
"""Packages whose schedulers another port has, by name; no port imports another."""
_BESIDE = ("interval", "frequency", "name", "strict")
"""What Lightning takes beside a scheduler, and some programs among its arguments."""
_OPTIMIZER_KEYS = ("optimizer", "optim", "opt")
_SCHEDULER_KEYS = ("scheduler", "lr_scheduler", "sched", "lr_schedule", "lr_multiplier")


def read(
    config: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    interval: str | None = None,
    optimizer: str | None = None,
    scheduler: str | None = None,
) -> Recipe:
    """The recipe in a config that names an optimizer of torch by its path, and a scheduler; one group, ``all``.

    A class is named by ``class_path`` and ``init_args`` (Lightning's command line), or by ``_target_`` (Hydra), at
    any depth. Nothing is imported or executed by its name. References such as ``${trainer.max_epochs}`` are followed
    within the file. Of ``trainer`` the recipe has ``accumulate_grad_batches``, ``gradient_clip_val``,
    ``gradient_clip_algorithm``, ``max_epochs`` and ``max_steps``.

    A scheduler is stepped by its ``interval`` and ``frequency``, which are beside it or in it. Lightning's command line
    steps the scheduler at the top of its file once per epoch; elsewhere code decides, so that ``interval`` is needed if
    the file does not say it.

    Args:
        config: The path to a YAML or JSON file, or its content.
        steps_per_epoch: Batches in an epoch.
        epochs: Epochs of the run, in place of the trainer's.
        steps: Batches of the run, in place of the trainer's.
        interval: ``"epoch"`` or ``"step"``: how often the scheduler is stepped.
        optimizer: The keys to the optimizer, joined by dots, if the file has several.
        scheduler: The keys to the scheduler, joined by dots, if the file has several; ``"none"`` for none of them.

    Returns:
        A recipe; ``notes`` lists what is left out.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If there is not one optimizer of torch, an argument is not known, missing or out of its range, or a
            class is another library's.

    Examples:
        >>> import jaxsched as js
        >>> config = dict(
        ...     optimizer=dict(class_path="torch.optim.SGD", init_args=dict(lr=0.1, momentum=0.9)),
        ...     lr_scheduler=dict(class_path="torch.optim.lr_scheduler.StepLR", init_args=dict(step_size=2, gamma=0.5)),
        ...     trainer=dict(max_epochs=4, gradient_clip_val=1.0))
        >>> recipe = js.ports.torch.read(config, steps_per_epoch=100)
        >>> js.curves(recipe, [0, 199, 200])["all"]["lr"].round(4).tolist()
        [0.10000000149011612, 0.10000000149011612, 0.05000000074505806]
    """
    where, content = shared.read(config, "config")
    fit = content.get("fit")  # of a command line with subcommands
    root = fit if isinstance(fit, Mapping) and {"trainer", "optimizer", "model"} & fit.keys() else content
    found, references = list(nodes(root)), References(root)
    chosen = _one(where, "optimizer", found, is_optimizer, _OPTIMIZER_KEYS, optimizer)
    if chosen is None:
        raise ValueError(f"{where} names no optimizer of torch: it is made in code; write the recipe with js.Recipe")
    planned = _one(where, "scheduler", found, is_scheduler, _SCHEDULER_KEYS, scheduler)
    at = f"{where}: {chosen.path}" if chosen.path else where
    settings = shared.Settings(at, _arguments(at, chosen, references))
    ours, values = shared.torch_optimizer(at, chosen.short_name, settings)
    trainer = _trainer(where, root, references)
    nb = None if steps_per_epoch is None else shared.as_count("steps_per_epoch", steps_per_epoch)
    if nb is None and (trainer.every > 1 or epochs is not None):
        raise shared.MissingError(where, "it does not say how long an epoch is", ["steps_per_epoch"])
    clock = None if planned is None else _clock(where, planned, references, interval, trainer.every, nb)
    length = _length(where, trainer, steps, epochs, nb)
    notes = [*trainer.notes, *callbacks(where, found)]
    if planned is None or clock is None:
        notes.append(f"{where} names no scheduler: lr is constant, unless the program makes one")
    else:
        under = f"{where}: {planned.path}"
        made = scheduler_of(under, planned.short_name, _arguments(under, planned, references), clock.counts(length))
        values |= _scheduled(under, made, clock, ours, values)
        notes += _of_metric(where, planned, clock)
    if chosen.key != chosen.path:
        notes.append(f"{at} is given its parameters by code: there may be groups, which a file does not show")
    if "defaults" in content and isinstance(content["defaults"], list):
        text = "the files of its defaults list are not read; give the config that a run leaves in .hydra/config.yaml"
        notes.append(caution("left-out", f"{where}: {text}"))
    if nb is not None and nb % trainer.every:
        text = f"the last update of an epoch divides {nb % trainer.every} gradients by {trainer.every} there"
        notes.append(caution("left-out", f"{where}: {text}, here by their number"))
    return Recipe(
        ours,
        values,
        rules=(Rule("**", "all"),),
        clip_norm=trainer.clip_norm,
        clip_value=trainer.clip_value,
        accumulate=_accumulation(trainer.every, nb),
        steps=length,
        steps_per_epoch=nb,
        notes=tuple(notes),
        origin={"lr": f"{where}: {chosen.path if planned is None else planned.path}"},
    )


def _one(where: str, what: str, found: list[Node], is_ours: Any, keys: tuple[str, ...], path: Any) -> Node | None:
    """The node that is the optimizer or the scheduler; a class of another library is refused by name."""
    if path == "none":
        return None
    others = [node for node in found if node.key in keys and not node.name.startswith("torch.optim.")]
    fitting = [node for node in found if is_ours(node) or node in others]
    if path is None:  # what is within another is its argument
        fitting = [node for node in fitting if not any(_is_within(node, other) for other in fitting)]
    else:
        fitting = [node for node in fitting if node.path == path]
        if not fitting:
            raise ValueError(f"{where}: there is no {what} at {one_line(repr(path), 100)}")
    if len(fitting) > 1:
        listed = ", ".join(one_line(node.path, 100) for node in fitting[:5])
        raise ValueError(f"{where} has {len(fitting)} {what}s: {listed}; say which with {what}=...")
    if not fitting:
        return None
    (node,) = fitting
    if not is_ours(node):
        remedy = "write the recipe with js.Recipe, and its optimizer by the name of one of jaxsched or optax"
        if what == "scheduler":
            port = _ELSEWHERE.get(node.name.split(".")[0], "jaxsched.schedules")
            remedy = f'take the optimizer alone with scheduler="none", and write the schedule with {port}'
        raise ValueError(f"{where}: {node.path}: {one_line(node.name, 100)} is not a class of torch; {remedy}")
    return node


def _is_within(node: Node, other: Node) -> bool:
    return node.path.startswith(f"{other.path}.") or (not other.path and bool(node.path))


def _arguments(at: str, node: Node, references: References) -> dict[str, Any]:
    """Its arguments, references resolved; what the program gives in their place is left out."""
    given = {key: value for key, value in node.arguments.items() if key not in _BESIDE}
    for key in ("params", "optimizer"):
        if given.get(key) is None or isinstance(given[key], str):
            given.pop(key, None)
    if "_args_" in given:
        raise ValueError(f"{at}: _args_ has no names; write the arguments with theirs")
    return {key: references.resolved(f"{at}: {key}", value, f"{node.path}.{key}") for key, value in given.items()}


def _trainer(where: str, root: Mapping[str, Any], references: References) -> Trainer:
    values = root.get("trainer")
    if not isinstance(values, Mapping):
        return Trainer()
    inner = values.get("init_args")
    values = {**values, **inner} if isinstance(inner, Mapping) else values
    taken = ("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "max_epochs", "max_steps")
    at = f"{where}: trainer"
    own = {
        key: references.resolved(f"{at}: {key}", value, f"trainer.{key}") if key in taken else value
        for key, value in values.items()
        if key not in ("class_path", "init_args", "_target_")
    }
    return Trainer.of(at, own)


def _clock(where: str, node: Node, references: References, interval: Any, every: int, nb: int | None) -> Clock:
    """Lightning's own settings stand beside the scheduler; some programs put them among its arguments."""
    around, at = node.path.rpartition(".")[0], f"{where}: {node.path}"
    said = {
        key: references.resolved(f"{at}: {key}", value, f"{around}.{key}")
        for key, value in {**node.beside, **node.arguments}.items()
        if key in ("interval", "frequency")
    }
    a = shared.Settings(at, {**said, **({} if interval is None else {"interval": interval})})
    frequency = a.count("frequency", 1, least=1)
    by = a.choice("interval", ("epoch", "step")) if "interval" in a.values else None
    if by is None and node.path == "lr_scheduler" and node.is_lightning:
        by = "epoch"
    if by is None:
        raise shared.MissingError(where, f"it does not say how often {node.path} is stepped", ["interval"])
    if by == "epoch" and nb is None:
        raise shared.MissingError(where, f"{node.path} is stepped by epochs", ["steps_per_epoch"])
    if by == "step" and frequency > 1 and (every > 1 or nb is None or nb % frequency):
        raise ValueError(
            f"{a.at('frequency')} must be 1, or divide steps_per_epoch with one batch per update, got {frequency}: "
            "Lightning counts it anew in each epoch"
        )
    return Clock(by, frequency, every, nb)


def _scheduled(where: str, made: Scheduler, clock: Clock, ours: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that the scheduler sets."""
    values = {**shared.defaults_of(ours), **values}
    try:
        lr, momentum = made(float(values["lr"])), made.momentum
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from None
    if isinstance(made, ReduceLROnPlateau):
        return {"lr": lr}
    found: dict[str, Any] = {"lr": clock.by_batch(lr)}
    if momentum is not None:
        if "betas" in values:
            found["betas"] = (clock.by_batch(momentum), *values["betas"][1:])
        elif "momentum" in values:
            found["momentum"] = clock.by_batch(momentum)
        else:
            raise ValueError(f"{where} cycles the momentum, which {ours} does not have; set cycle_momentum to false")
    return found


def _of_metric(where: str, node: Node, clock: Clock) -> list[str]:
    if node.short_name != "ReduceLROnPlateau":
        return []
    metric = node.arguments.get("monitor", node.beside.get("monitor", "its metric"))
    often = clock.interval if clock.frequency == 1 else f"{clock.frequency} {clock.interval}s"
    return [f"{where}: report {one_line(str(metric), 60)} with js.report_metric once per {often}"]


def _length(where: str, trainer: Trainer, steps: Any, epochs: Any, nb: int | None) -> int | None:
    if steps is not None:
        return shared.as_count("steps", steps)
    if epochs is not None and nb is not None:
        return shared.as_count("epochs", shared.as_count("epochs", epochs) * nb)
    return trainer.length(where, nb)


def _accumulation(every: int, nb: int | None) -> Accumulation | None:
    if every == 1 or nb is None:
        return None
    return Accumulation(every if nb % every == 0 else shared.batches_to_an_update(every, nb), mean=True)
