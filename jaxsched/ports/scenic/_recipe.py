"""The recipe that scenic's trainers follow, from a config, which is never executed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Rule, ndim, regex
from jaxsched.ports import shared
from jaxsched.ports.scenic._optimizers import Optimizer, optimizer_settings
from jaxsched.ports.scenic._schedules import ARGUMENTS, Factors, schedule_of
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Schedule, constant

_CHANGERS = {
    "l2_decay_factor": "it is a part of the loss: half of it times the sum of the squares of all but vectors",
    "explicit_weight_decay": "trainers of some projects decay by it",
    "frozen_params": "trainers of some projects freeze by it",
    "frozen_patterns": "trainers of some projects freeze by it",
    "not_frozen_patterns": "trainers of some projects freeze by it",
    "layer_prefix_to_base_lrs": "trainers of some projects give layers their own lr by it",
    "backbone_lr_configs": "trainers of some projects give the backbone an lr of its own by it",
}
"""Settings that change the update, but not as scenic's own trainers do."""
_MASKED = ("sgd", "adamw", "lamb", "adamaxw", "lars")
"""The optimizers that scenic gives the mask of skip_scale_and_bias_regularization."""
_CLIPS = {"clip_by_global_norm": "clip_norm", "clip": "clip_value"}


def recipe(
    config: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    arg: str | None = None,
    images: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe that scenic's ``train_lib`` makes of a config.

    The learning rate is the product of factors that ``lr_configs`` names. The optimizer is one of optax, with optax's
    arguments in ``optimizer_configs`` or the older ones beside it: ``momentum`` is ``sgd`` with 0.9, and ``adam`` with
    a weight decay is ``adamw``. With ``skip_scale_and_bias_regularization`` and a ``weight_decay`` parameters of one
    axis do not decay (the groups ``decay`` and ``no_decay``); ``freeze_params_reg_exp`` freezes (``frozen``).

    Args:
        config: The path to a config, of which the function ``get_config`` is followed but not executed; or to its JSON;
            or the values.
        arg: What follows the colon in --config file.py:arg.
        images: Examples of the training data; needed where num_training_epochs counts the run.
        overrides: Values in place of the config's, such as lr_configs.base_learning_rate=0.03, by a dotted name.

    Returns:
        A recipe; ``notes`` lists the settings that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is not known without running the file, missing or out of its range.

    Examples:
        >>> import jaxsched as js
        >>> lr_configs = dict(learning_rate_schedule="compound", factors="constant * linear_warmup * linear_decay",
        ...     base_learning_rate=0.1, warmup_steps=10, total_steps=100)
        >>> config = dict(optimizer="momentum", lr_configs=lr_configs, num_training_steps=100, batch_size=8)
        >>> recipe = js.ports.scenic.recipe(config)
        >>> js.curves(recipe, [0, 5, 10, 55])["all"]["lr"].round(6).tolist()
        [0.0, 0.05000000074505806, 0.10000000149011612, 0.05000000074505806]
    """
    where, values = shared.read_config(config, arg, overrides, {})
    a = shared.ConfigSettings(where, values)
    size = a.count("batch_size", None, least=1)
    steps, epoch = _length(a, size, images)
    notes: list[str] = []
    lr = _lr(a, steps, notes)
    inner, name = optimizer_settings(a)
    skips = bool(inner.take("skip_scale_and_bias_regularization", None) and inner.values.get("weight_decay"))
    frozen = inner.take("freeze_params_reg_exp", None)
    if skips and name not in _MASKED:
        what = f"{inner.at('skip_scale_and_bias_regularization')} has no effect on {short(name)}"
        notes.append(f"{what}: scenic gives it no mask, and all parameters decay")
        skips = False
    clips, is_own_clip = _clips(a, inner)
    optimizer = Optimizer(inner, name)
    if optimizer.is_sgd and optimizer.decay and is_own_clip:  # max_grad_norm clips before the optimizer has them
        raise ValueError(f"{inner.at('weight_decay')} of sgd is added before the gradients are clipped; not ported")
    if frozen is not None and "clip_norm" in clips:
        text = f"{inner.at('freeze_params_reg_exp')}: scenic counts frozen parameters in the norm that is clipped"
        notes.append(caution("left-out", text))
    if skips and not optimizer.is_sgd:
        text = f"{inner.at('skip_scale_and_bias_regularization')}: with flax 0.7.1 or newer scenic loses the mask"
        notes.append(caution("version-open", f"{text}, and decays all parameters; if that run is meant, remove it"))
    rules, groups = _groups(inner, optimizer, skips, frozen)
    for key, what in _CHANGERS.items():
        if a.take(key, None):
            notes.append(caution("left-out", f"{a.at(key)} is left out: {what}"))
    if "state_dtype" in optimizer.values:
        notes.append(
            f"{', '.join(optimizer.values['state_dtype'])}: averaged in float32, where optax rounds the weights"
        )
    try:
        return Recipe(
            optimizer.name,
            {optimizer.lr_name: lr, **optimizer.decays(), **optimizer.values},
            groups=groups,
            rules=rules,
            **clips,
            steps=steps,
            steps_per_epoch=epoch,
            batch_size=size,
            notes=(*notes, *_others(a)),
            origin={optimizer.lr_name: f"{where}: lr_configs"},
        )
    except (TypeError, ValueError) as error:
        text = str(error)
        raise type(error)(text if where in text else f"{inner.where}: {text}") from None


def _length(a: shared.Settings, size: int | None, images: int | None) -> tuple[int, int | None]:
    """The steps of the run and of an epoch; a last batch that is smaller is dropped."""
    steps, epochs = a.count("num_training_steps", None, least=1), a.number("num_training_epochs", None, low=0.0)
    if steps is not None and epochs:
        raise ValueError(f"{a.where}: num_training_steps and num_training_epochs are both given; keep one")
    epoch = None
    if images is not None and size is not None:
        epoch = shared.as_count("images", images) // size or None
    if steps is not None:
        return steps, epoch
    if not epochs:
        raise ValueError(f"{a.where}: 'num_training_steps' is missing; add it, or num_training_epochs")
    if size is None:
        raise ValueError(f"{a.where}: 'batch_size' is missing; add it")
    if epoch is None:
        raise shared.MissingError(a.where, f"num_training_epochs counts epochs of batches of {size}", ("images",))
    return shared.as_count(a.at("num_training_epochs"), int(epoch * epochs)), epoch


def _lr(a: shared.Settings, steps: int, notes: list[str]) -> Schedule:
    s = Factors(a.at("lr_configs"), a.take("lr_configs"))
    if "base_learning_rate" not in s.values:
        s.number("base_learning_rate")  # which says that it is missing
    kind = s.take("learning_rate_schedule", None)
    if kind is None:
        lr: Schedule = constant(s.number("base_learning_rate", low=0.0))
    elif kind == "compound":
        lr = schedule_of(s, steps)
    else:
        raise ValueError(f"{s.at('learning_rate_schedule')} must be 'compound', got {short(kind)}")
    notes += s.rest(aside=ARGUMENTS)
    return lr


def _clips(a: shared.Settings, inner: shared.Settings) -> tuple[dict[str, Any], bool]:
    """The clipping by the trainer's ``max_grad_norm`` or by the optimizer's settings, and whether it is the latter."""
    norm = None if a.values.get("max_grad_norm") is None else a.positive("max_grad_norm")
    own = inner.take("grad_clip", None)
    if own is None:
        return ({} if norm is None else {"clip_norm": norm}), False
    if norm is not None:
        raise ValueError(f"{a.where}: max_grad_norm and grad_clip are both given, and both clip; keep one")
    clip = shared.ConfigSettings(inner.at("grad_clip"), own)
    method, value = clip.take("clip_method", None), clip.number("clip_value", None, low=0.0, or_none=True)
    clip.finish()
    if method is None or value is None:
        return {}, False
    if method not in _CLIPS:
        raise ValueError(f"{clip.at('clip_method')} must be one of {', '.join(_CLIPS)}, got {short(method)}")
    return {_CLIPS[method]: value}, True


def _groups(
    inner: shared.Settings, optimizer: Optimizer, skips: bool, frozen: Any
) -> tuple[tuple[Rule, ...], dict[str, Mapping[str, Any] | None]]:
    rules: list[Rule] = []
    groups: dict[str, Mapping[str, Any] | None] = {}
    if frozen is not None:
        try:
            rules.append(Rule(regex(frozen), "frozen", optional=True))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{inner.at('freeze_params_reg_exp')}: {error}") from None
        groups["frozen"] = None
    if skips:
        rules += [Rule(ndim(1), "no_decay", optional=True), Rule("**", "decay", optional=True)]
        groups |= {"no_decay": {optimizer.decay_name: 0.0}, "decay": {}}
    else:
        rules.append(Rule("**", "all", optional=True))
    return tuple(rules), groups


def _others(a: shared.Settings) -> list[str]:
    return a.rest(aside=list(a.values))
