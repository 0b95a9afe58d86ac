"""The recipe in a YAML config of Model Garden: ``trainer.optimizer_config``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from jaxsched.checks import one_line, short
from jaxsched.ports import shared
from jaxsched.ports.modelgarden._optimizers import optimizer
from jaxsched.ports.modelgarden._rates import rate
from jaxsched.ports.modelgarden._section import Section
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Value, piecewise
from jaxsched.transforms import ratio_ramp


def recipe(config: shared.File | str | os.PathLike[str] | Mapping[str, Any], *, steps: int | None = None) -> Recipe:
    """The recipe that Model Garden's trainer follows.

    Learning rates: constant, stepwise, exponential, polynomial, cosine, with a linear or polynomial warm-up, during
    which the decay goes on. Optimizers: sgd, adam, adamw, rmsprop, as tf_keras has them; their clipping and the average
    of parameters. ``task.losses.l2_weight_decay`` is the ``weight_decay`` of the group ``weight``: leave it out of the
    loss. What ``adamw`` excludes from its decay is the group ``no_decay``.

    A YAML file of the repository lies over an experiment in Python, and may not have all settings. The ``params.yaml``
    that a run saves in its ``model_dir`` has.

    Args:
        config: The config as a dict, or the path to a YAML file.
        steps: Batches of the run, in place of ``train_steps``.

    Returns:
        A recipe; ``notes`` lists the settings that the file leaves to its experiment.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a setting is not known, missing, not ported or out of its range.

    Examples:
        >>> import jaxsched as js
        >>> stepwise = dict(boundaries=[60, 80], values=[0.8, 0.08, 0.008])
        >>> settings = dict(
        ...     optimizer=dict(type="sgd", sgd=dict(momentum=0.9)),
        ...     learning_rate=dict(type="stepwise", stepwise=stepwise),
        ...     warmup=dict(type="linear", linear=dict(warmup_steps=10)))
        >>> recipe = js.ports.modelgarden.recipe(dict(trainer=dict(train_steps=100, optimizer_config=settings)))
        >>> js.curves(recipe, [0, 5, 10, 60, 61, 99])["weight"]["lr"].round(4).tolist()
        [0.0, 0.4000000059604645, 0.800000011920929, 0.800000011920929, 0.07999999821186066, 0.00800000037997961]
    """
    where, content = shared.read(config, "config")
    sections = Section(where, content)
    trainer, task = (_inner(sections, name) for name in ("trainer", "task"))
    losses, data = (_inner(task, name) for name in ("losses", "train_data"))
    a = Section(trainer.at("optimizer_config"), trainer.take("optimizer_config"))
    notes: list[str] = []
    policy, lr = rate(a, notes)
    if "l2_weight_decay" not in losses.values and task.given:
        text = f"{losses.at('l2_weight_decay')} is not in the file; it is 0 here, and may be another in the experiment"
        notes.append(caution("left-out", text))
    l2 = losses.number("l2_weight_decay", 0.0, low=0.0)
    fields = optimizer(a, lr, l2, notes)
    if l2 and (fields["clip_norm"] or fields["clip_each_norm"] or fields["clip_value"]):
        text = f"{a.at('optimizer')} clips gradients with that of the L2 term; here the decay is added after clipping"
        notes.append(caution("left-out", text))
    for path, value in _freezes("task", content.get("task")):
        text = f"{where}: {one_line(path, 80)}: {short(value)} freezes parameters there and nothing here; give them a "
        notes.append(caution("freeze", text + "group that is None"))
    average = _average(a)
    a.finish()
    length = shared.as_count("steps", steps) if steps is not None else trainer.count("train_steps", 0)
    batch = data.count("global_batch_size", 0)
    sections.check_spelling({"trainer": ("train_steps", "optimizer_config"), "task": ("losses", "train_data")})
    trainer.check_spelling({"optimizer_config": ("optimizer", "learning_rate", "warmup", "ema")})
    task.check_spelling({"losses": ("l2_weight_decay",), "train_data": ("global_batch_size",)})
    for each in (losses, data):
        each.check_spelling()
    if not length:
        raise shared.MissingError(where, "it does not say how long the run is (train_steps)", ["steps"])
    return Recipe(
        **fields,
        ema=average,
        steps=length,
        batch_size=batch or None,
        notes=tuple(notes),
        origin={"lr": f"{where}: {policy}", "weight.weight_decay": f"{where}: l2_weight_decay"},
    )


def _inner(outer: Section, name: str) -> Section:
    return Section(outer.at(name), outer.take(name, None) or {})


def _freezes(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What keeps parameters from training, such as ``freeze_backbone``, with its path."""
    for name, item in value.items() if isinstance(value, Mapping) else ():
        here = f"{path}.{name}"
        if isinstance(item, Mapping):
            yield from _freezes(here, item)
        elif item and any(word in str(name) for word in ("freeze", "frozen")):
            yield here, item


def _average(a: Section) -> Value | None:
    """The decay of the average at an update's index: tf counts the update before it averages."""
    given = a.take("ema", None)
    if given is None:
        return None
    own = Section(a.at("ema"), given)
    decay, start = own.number("average_decay", 0.99, low=0.0, high=1.0), own.count("start_step", 0)
    grows = own.flag("dynamic_decay", True)
    for aside in ("name", "trainable_weights_only", "clipnorm", "clipvalue", "global_clipnorm"):
        own.take(aside, None)
    own.finish()
    ramp: Value = ratio_ramp(decay, steps=9, shift=2 - start) if grows else decay
    return piecewise([0.0, ramp], at=[start - 1]) if start > 1 else ramp
