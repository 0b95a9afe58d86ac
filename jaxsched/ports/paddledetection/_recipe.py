"""The recipe in a config of PaddleDetection (its commit 666f597f, after release 2.8)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import one_line, short
from jaxsched.ports import shared
from jaxsched.ports.paddledetection._config import merged, set_somewhere
from jaxsched.ports.paddledetection._optimizer import optimizer
from jaxsched.ports.paddledetection._rates import rate
from jaxsched.ports.paddledetection._shapes import debiased
from jaxsched.ports.shared import Settings
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Value, exponential_ramp
from jaxsched.transforms import ratio_ramp

_OF_LAYERS = frozenset({"lr_mult", "lr_mult_list", "norm_decay", "freeze_at", "freeze_norm"})
"""Settings of a model that give layers another lr or decay, or freeze them."""
_HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "freeze_at": (-1,),
    "freeze_norm": (False,),
    "norm_decay": (0,),
    "lr_mult": (1,),
}
_FREEZING = ("ResNet", "Res2Net", "SENet", "HRNet", "LiteHRNet", "PPHGNetV2")
_FROZEN: Mapping[str, Any] = {"freeze_at": 0, "freeze_norm": True}
"""What a section of these backbones has where a config says nothing."""


def recipe(
    config: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    world_size: int = 1,
    root: str | os.PathLike[str] | None = None,
) -> Recipe:
    """The recipe that PaddleDetection's Trainer follows.

    A decay by epochs (PiecewiseDecay, CosineDecay) and before it a warm-up by iterations (LinearWarmup, ExpWarmup,
    BurninWarmup). The L2 regularizer is a decay of weights and biases (groups ``weight`` and ``bias``); norms have
    none, as in PaddleDetection's models. AdamW decays all; ``param_groups`` are found by their regular expressions on
    the paths of the parameters (groups ``group_0``, ... and ``rest``).

    Two of the original's own ways: a ``gamma`` that is a number is divided by 10 from milestone to milestone; a
    ``learning_rate`` of a group is a factor.

    Args:
        config: The config as a dict, or the path to a YAML file.
        steps_per_epoch: Batches in an epoch, of each process.
        images: Images of the training set, in place of ``steps_per_epoch``.
        world_size: How many processes (GPUs) train; TrainReader's batch size is that of each.
        root: The folder that the files of ``_BASE_`` must be in. Default: the outermost folder around the file that
            holds a folder ``configs``, else the folder above the file's own.

    Returns:
        A recipe; ``notes`` lists what is left out.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a setting is not known, missing or out of its range.

    Examples:
        >>> import jaxsched as js
        >>> decay, warmup = dict(name="CosineDecay", max_epochs=10), dict(name="LinearWarmup", steps=50, start_factor=0)
        >>> config = dict(epoch=10, LearningRate=dict(base_lr=0.1, schedulers=[decay, warmup]))
        >>> recipe = js.ports.paddledetection.recipe(config, steps_per_epoch=100)
        >>> js.curves(recipe, [0, 25, 50, 525, 999])["weight"]["lr"].round(5).tolist()
        [0.0, 0.05000000074505806, 0.10000000149011612, 0.05000000074505806, 0.0]
    """
    where, content = merged(config, root)
    a = Settings(where, {name: value for name, value in content.items() if isinstance(name, str)})
    epochs, world = a.count("epoch", least=1), shared.as_count("world_size", world_size)
    reader = Settings(a.at("TrainReader"), a.take("TrainReader", {}) or {})
    batch, drop = reader.count("batch_size", 1, least=1), reader.flag("drop_last", True)
    if images is not None and steps_per_epoch is None:
        images = -(-shared.as_count("images", images) // world)
    nb = shared.epoch_length(where, steps_per_epoch, images, batch, drop_last=drop)
    notes: list[str] = []
    lr = rate(where, a.take("LearningRate", {}) or {}, nb, epochs, notes)
    bare = a.flag("reset_norm_param_attr", False)  # norms then lose the attribute that spares them the decay
    fields = optimizer(where, a.take("OptimizerBuilder", {}) or {}, lr, bare, notes)
    whole = {name: {**_FROZEN, **content[name]} for name in _FREEZING if isinstance(content.get(name), dict)}
    for path, value in set_somewhere({**content, **whole}, _OF_LAYERS):
        if value not in _HARMLESS.get(path.rpartition(".")[2], ()):
            text = (
                f"{where}: {one_line(path, 80)}: {short(value)} is left out: it gives layers a rate or decay of their "
            )
            notes.append(caution("left-out", text + "own, or freezes them; give them a group"))
    average = _average(a, notes) if a.flag("use_ema", False) else None
    a.check_spelling({"LearningRate": ("base_lr", "schedulers"), "OptimizerBuilder": ("regularizer",)})
    reader.check_spelling()
    return Recipe(
        **fields,
        ema=average,
        steps=epochs * nb,
        steps_per_epoch=nb,
        batch_size=batch * world,
        notes=tuple(notes),
        origin={"lr": f"{where}: LearningRate", "weight_decay": f"{where}: OptimizerBuilder"},
    )


def _average(a: Settings, notes: list[str]) -> Value:
    """The decay of the average of the parameters."""
    decay = a.number("ema_decay", 0.9998, low=0.0, high=1.0)
    kind = a.choice("ema_decay_type", ("threshold", "exponential", "normal"), "threshold")
    cycle, without = a.number("cycle_epoch", -1), a.take("ema_black_list", None)
    if cycle > 0:
        text = f"{a.at('cycle_epoch')}: the average begins again every {cycle:g} snapshots there, and goes on here"
        notes.append(caution("left-out", text))
    if without:
        notes.append(f"{a.at('ema_black_list')}: {short(without)} have no average there, and have one here")
    if kind == "exponential":
        return exponential_ramp(decay, 2000)
    if kind == "normal":
        return debiased(decay) if 0 < decay < 1 else decay
    return ratio_ramp(decay, steps=9, shift=1)
