"""OpenMMLab's paramwise_cfg as rules for groups and factors on each group's hyperparameters.

The originals walk torch modules (mmcv 1.7.2 and mmengine 0.10.7 ``default_constructor.py``, MMDetection
``layer_decay_optimizer_constructor.py``). Here a parameter has a path and a role, so: a key is searched in the path
with ``/`` for its dots, a norm's parameters are those of role ``norm`` and ``norm_bias``, and ``bias`` is the role
``bias``.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from jaxsched.checks import short
from jaxsched.groups import Condition, Match, Rule, contains, glob, ndim, role
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.recipe import caution

REST = "weight"
"""The group of all parameters that no option names."""


_MULTIPLIERS = (
    *("bias_lr_mult", "bias_decay_mult", "norm_decay_mult"),
    *("dwconv_decay_mult", "dcn_offset_lr_mult", "flat_decay_mult"),
)
NAMES = {*_MULTIPLIERS, "custom_keys", "bypass_duplicate"}
"""The options of a paramwise_cfg."""


MOST_CUSTOM_KEYS = 1000


class Multipliers(NamedTuple):
    """Per-group factors on the base hyperparameters.

    Attributes:
        other: Hyperparameters that it sets itself (mmengine's custom_keys only).
    """

    lr: float = 1.0
    decay: float = 1.0
    other: Mapping[str, Any] = {}


class Groups(NamedTuple):
    rules: tuple[Rule, ...]
    multipliers: dict[str, Multipliers]
    notes: tuple[str, ...] = ()


def default_groups(
    settings: Settings,
    generation: int,
    decays: bool,
    depthwise: Match | None,
    hyperparameters: Collection[str] = (),
    forced: bool = False,
) -> Groups:
    """The groups of the default constructor; ``forced``: the options act on what a custom key matches, too."""
    notes: list[str] = []
    keys = custom_keys(settings, generation, decays, hyperparameters, notes)
    set_to = {name: settings.number(name, None) for name in _MULTIPLIERS}
    if settings.flag("bypass_duplicate"):
        notes.append("paramwise_cfg: bypass_duplicate: a tree of parameters holds each once")
    if generation == 1 and set_to["flat_decay_mult"] is not None:
        notes.append(
            caution("unknown-key", "paramwise_cfg: flat_decay_mult is not known to mmcv 1.x, which ignores it")
        )
        set_to["flat_decay_mult"] = None
    notes += settings.ignored()
    needing = ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")
    if not decays and any(set_to[name] is not None for name in needing):
        raise ValueError("paramwise_cfg: a decay_mult needs a weight_decay in the optimizer")

    others = classes(set_to, generation, depthwise, notes)
    rules, multipliers = [], {}
    for key, own in keys.items():
        group = _name(key, own, keys)
        if forced:
            if 1 in set_to.values() and own.decay != 1:
                raise ValueError(
                    "paramwise_cfg: force_default_settings with a multiplier of 1 is not read: remove the multiplier"
                )
            for name, match, other in others:
                inside = f"{group}, {name}"
                rules.append(Rule(_in_path(key) & match, inside, optional=True))
                multipliers[inside] = Multipliers(
                    own.lr if other.lr == 1 else other.lr, own.decay if other.decay == 1 else other.decay, own.other
                )
        rules.append(Rule(_in_path(key), group, optional=True))
        multipliers[group] = own
    for name, match, other in others:
        rules.append(Rule(match, name, optional=True))
        multipliers[name] = other
    rules.append(Rule("**", REST, optional=True))
    return Groups(tuple(rules), multipliers, tuple(notes))


def custom_keys(
    settings: Settings, generation: int, decays: bool, hyperparameters: Collection[str], notes: list[str]
) -> dict[str, Multipliers]:
    """The longest key contained in the path wins (alphabetically among equals); no other option applies then."""
    keys = settings.take("custom_keys", {})
    if not isinstance(keys, Mapping):
        raise TypeError(f"paramwise_cfg: custom_keys must be a dict, got {short(keys)}")
    if not all(isinstance(key, str) for key in keys):
        raise TypeError(f"paramwise_cfg: custom_keys must be parts of names, got {short(list(keys))}")
    if len(keys) > MOST_CUSTOM_KEYS:
        raise ValueError(f"paramwise_cfg: at most {MOST_CUSTOM_KEYS} custom_keys are read, got {len(keys)}")
    found: dict[str, Multipliers] = {}
    for key in sorted(sorted(keys), key=len, reverse=True):
        entry = Settings(f"paramwise_cfg: custom_keys[{key!r}]", keys[key])
        lr, decay = entry.number("lr_mult", 1.0), entry.number("decay_mult", None)
        if decay is not None and not decays:
            raise ValueError(f"{entry.where}: decay_mult needs a weight_decay in the optimizer")
        other = {}
        if generation == 2:  # mmengine copies the entry into the group, and torch ignores what it does not know
            other = {name: entry.take(name) for name in list(entry.values) if name in hyperparameters}
        notes += entry.ignored(meant={"wd_mult": "decay_mult"})
        found[key] = Multipliers(lr, 1.0 if decay is None else decay, dict(other))
    if found:
        notes.append(
            "paramwise_cfg: custom_keys are searched in the paths of the parameters, with / for their dots: "
            + ", ".join(sorted(found))
        )
    return found


_CLASSES = ("conv_offset", "norm", "norm_bias", "depthwise", "depthwise_bias", "bias", "flat", REST)


def _name(key: str, multiple: Multipliers, found: Mapping[str, Multipliers]) -> str:
    """A group has the name of its key, or of its settings where several keys set the same."""
    if sum(other == multiple for other in found.values()) > 1:
        parts = {"lr_mult": multiple.lr, "decay_mult": multiple.decay, **multiple.other}
        return ", ".join(f"{name}={value!r}" for name, value in parts.items())
    return f"custom_keys.{key}" if key in _CLASSES else key


def _in_path(key: str) -> Condition:
    text = key.replace(".", "/")
    spellings = [text]
    if text.rpartition("/")[2] == "weight":  # torch's word, for which Flax has three
        spellings += [f"{text.removesuffix('weight')}{name}" for name in ("kernel", "scale", "embedding")]
    # the original writes a parameter of the root as ".name", but not one of a module of the root
    ways = [contains(one) for one in spellings] + [glob(f"{one[1:]}*") for one in spellings if one.startswith("/")]
    return functools.reduce(operator.or_, ways)


def classes(
    set_to: Mapping[str, Any], generation: int, depthwise: Match | None, notes: list[str]
) -> list[tuple[str, Condition, Multipliers]]:
    """The options by the parameters they apply to, the most specific first. The two generations differ:

    - mmcv 1.x: a norm falls to norm_decay_mult, else a depthwise convolution to dwconv_decay_mult, else a bias to
      bias_decay_mult; an option left out is 1 and still claims its class, so a norm's bias keeps its decay.
    - mmengine: norm, bias, depthwise, flat; an option left out claims nothing, so a norm's bias falls to
      bias_decay_mult.
    """

    def first(*options: str) -> float:
        chosen = options[:1] if generation == 1 else options
        return next((set_to[name] for name in chosen if set_to[name] is not None), 1.0)

    def is_set(*options: str) -> bool:
        return any(set_to[name] is not None for name in options)

    norm, bias, dw, flat = "norm_decay_mult", "bias_decay_mult", "dwconv_decay_mult", "flat_decay_mult"
    bias_lr = 1.0 if set_to["bias_lr_mult"] is None else set_to["bias_lr_mult"]
    classes: list[tuple[str, Condition, Multipliers]] = []
    if is_set("dcn_offset_lr_mult", "bias_lr_mult", bias, flat):
        offset = 1.0 if set_to["dcn_offset_lr_mult"] is None else set_to["dcn_offset_lr_mult"]
        classes.append(("conv_offset", contains("conv_offset"), Multipliers(lr=offset)))
    norms = Multipliers(decay=first(norm, flat)), Multipliers(decay=first(norm, bias, flat))
    if norms[0] == norms[1]:
        classes.append(("norm", role("norm", "norm_bias"), norms[0]))
    else:
        classes += [("norm", role("norm"), norms[0]), ("norm_bias", role("norm_bias"), norms[1])]
    if depthwise is not None:
        inside = depthwise if isinstance(depthwise, Condition) else glob(depthwise)  # type: ignore[arg-type]
        decay = first(dw) if generation == 1 else first(bias, dw, flat)
        classes.append(("depthwise_bias", inside & role("bias"), Multipliers(bias_lr, decay)))
        classes.append(("depthwise", inside & role("weight"), Multipliers(decay=first(dw))))
    elif set_to[dw] not in (None, 1):
        raise ValueError(
            "paramwise_cfg: dwconv_decay_mult needs depthwise=, a glob such as '**/depthwise/**': a tree of parameters "
            "does not tell which convolutions are depthwise"
        )
    elif generation == 1 and set_to[bias] not in (None, 1):
        notes.append("paramwise_cfg: in mmcv 1.x biases of depthwise convolutions keep their decay: pass depthwise=")
    if is_set("bias_lr_mult", bias, flat):
        classes.append(("bias", role("bias"), Multipliers(bias_lr, first(bias, flat))))
    if is_set(flat):
        classes.append(("flat", ndim(1), Multipliers(decay=first(flat))))
    return classes
