"""OpenMMLab's paramwise_cfg for trees of parameters: rules that make groups, and what each group multiplies.

The originals walk torch modules (mmcv 1.7.2 and mmengine 0.10.7 ``default_constructor.py``, MMDetection
``layer_decay_optimizer_constructor.py``). Here a parameter has a path and a role, so: a key is searched in the path
with ``/`` for its dots, a norm's parameters are those of role ``norm`` and ``norm_bias``, and ``bias`` is the role
``bias``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxsched.groups import Condition, Match, Rule, contains, glob, ndim, role
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.openmmlab.config import require

REST = "weight"
"""The group of all parameters that no option names."""


class Multiples(NamedTuple):
    """What a group makes of the base values."""

    lr: float = 1.0
    decay: float = 1.0
    other: Mapping[str, Any] = {}
    """Hyperparameters that it sets itself (mmengine's custom_keys only)."""


class Groups(NamedTuple):
    rules: tuple[Rule, ...]
    multiples: dict[str, Multiples]
    notes: tuple[str, ...] = ()


def groups(config: Any, *, generation: int, decays: bool, constructor: Any, depthwise: Match | None) -> Groups:
    """The groups that a ``paramwise_cfg`` makes.

    Args:
        config: The dict, or None.
        generation: 1 for mmcv 1.x, 2 for mmengine; they differ in which option a parameter falls to.
        decays: Whether the optimizer has a weight decay.
        constructor: The name of the constructor in the config, or None.
        depthwise: Which parameters belong to depthwise convolutions.
    """
    if constructor == "LearningRateDecayOptimizerConstructor":
        return _layer_decay(Settings("paramwise_cfg", config or {}))
    if constructor not in (None, "DefaultOptimizerConstructor", "DefaultOptimWrapperConstructor"):
        raise ValueError(f"constructor {constructor!r} is not known: write its groups as rules of the recipe")
    if not config:
        return Groups((Rule("**", REST),), {})
    return _default(Settings("paramwise_cfg", config), generation, decays, depthwise)


def _default(settings: Settings, generation: int, decays: bool, depthwise: Match | None) -> Groups:
    notes: list[str] = []
    rules, multiples = _custom_keys(settings, generation, decays, notes)
    names = ("bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult", "dcn_offset_lr_mult")
    set_to = {name: settings.number(name, None) for name in (*names, "flat_decay_mult")}
    if settings.flag("bypass_duplicate"):
        notes.append("paramwise_cfg: bypass_duplicate: a tree of parameters holds each once")
    if generation == 1 and set_to["flat_decay_mult"] is not None:
        raise ValueError("paramwise_cfg: flat_decay_mult is not known to mmcv 1.x, which ignores it: take it out")
    settings.finish()
    needing = ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")
    if not decays and any(set_to[name] is not None for name in needing):
        raise ValueError("paramwise_cfg: a decay_mult needs a weight_decay in the optimizer")

    for name, match, multiple in _classes(set_to, generation, depthwise, notes):
        rules.append(Rule(match, name, optional=True))
        multiples[name] = multiple
    rules.append(Rule("**", REST, optional=True))
    return Groups(tuple(rules), multiples, tuple(notes))


def _custom_keys(
    settings: Settings, generation: int, decays: bool, notes: list[str]
) -> tuple[list[Rule], dict[str, Multiples]]:
    """The longest key that is in the path wins, the first in the alphabet among equals; no other option acts then."""
    keys = settings.take("custom_keys", {})
    if not isinstance(keys, Mapping):
        raise TypeError(f"paramwise_cfg: custom_keys must be a dict, got {keys!r}")
    found: dict[str, Multiples] = {}
    for key in sorted(sorted(keys), key=len, reverse=True):
        entry = Settings(f"paramwise_cfg: custom_keys[{key!r}]", keys[key])
        lr, decay = entry.number("lr_mult", 1.0), entry.number("decay_mult", None)
        if decay is not None and not decays:
            raise ValueError(f"{entry.where}: decay_mult needs a weight_decay in the optimizer")
        other = require(entry.values, entry.where) if generation == 2 else {}
        if generation == 1:
            entry.finish()
        found[key] = Multiples(lr, 1.0 if decay is None else decay, dict(other))
    names = {key: _name(key, multiple, found) for key, multiple in found.items()}
    rules = [Rule(_in_path(key), names[key], optional=True) for key in found]
    if found:
        notes.append(
            "paramwise_cfg: custom_keys are searched in the paths of the parameters, with / for their dots: "
            + ", ".join(sorted(found))
        )
    return rules, {names[key]: multiple for key, multiple in found.items()}


_CLASSES = ("conv_offset", "norm", "norm_bias", "depthwise", "depthwise_bias", "bias", "flat", REST)


def _name(key: str, multiple: Multiples, found: Mapping[str, Multiples]) -> str:
    """A group is named after its key; after what they set, where several keys set the same."""
    if sum(other == multiple for other in found.values()) > 1:
        parts = {"lr_mult": multiple.lr, "decay_mult": multiple.decay, **multiple.other}
        return ", ".join(f"{name}={value!r}" for name, value in parts.items())
    return f"custom_keys.{key}" if key in _CLASSES else key


def _in_path(key: str) -> Condition:
    text = key.replace(".", "/")
    if not text.startswith("/"):
        return contains(text)
    # mmcv writes a parameter of the root as ".name"; a path has no leading slash
    return contains(text) | glob(f"{text[1:]}*") | glob(f"{text[1:]}*/**")


def _classes(
    set_to: Mapping[str, Any], generation: int, depthwise: Match | None, notes: list[str]
) -> list[tuple[str, Match, Multiples]]:
    """Which option a parameter falls to, most special first. The two generations differ:

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
    classes: list[tuple[str, Match, Multiples]] = []
    if is_set("dcn_offset_lr_mult", "bias_lr_mult", bias, flat):
        offset = 1.0 if set_to["dcn_offset_lr_mult"] is None else set_to["dcn_offset_lr_mult"]
        classes.append(("conv_offset", contains("conv_offset"), Multiples(lr=offset)))
    norms = Multiples(decay=first(norm, flat)), Multiples(decay=first(norm, bias, flat))
    if norms[0] == norms[1]:
        classes.append(("norm", role("norm", "norm_bias"), norms[0]))
    else:
        classes += [("norm", role("norm"), norms[0]), ("norm_bias", role("norm_bias"), norms[1])]
    if depthwise is not None:
        inside = depthwise if isinstance(depthwise, Condition) else glob(depthwise)  # type: ignore[arg-type]
        decay = first(dw) if generation == 1 else first(bias, dw, flat)
        classes.append(("depthwise_bias", inside & role("bias"), Multiples(bias_lr, decay)))
        classes.append(("depthwise", inside & role("weight"), Multiples(decay=first(dw))))
    elif set_to[dw] not in (None, 1):
        raise ValueError(
            "paramwise_cfg: dwconv_decay_mult needs depthwise=, a glob such as '**/depthwise/**': a tree of parameters "
            "does not tell which convolutions are depthwise"
        )
    elif generation == 1 and set_to[bias] not in (None, 1):
        notes.append("paramwise_cfg: in mmcv 1.x biases of depthwise convolutions keep their decay: pass depthwise=")
    if is_set("bias_lr_mult", bias, flat):
        classes.append(("bias", role("bias"), Multiples(bias_lr, first(bias, flat))))
    if is_set(flat):
        classes.append(("flat", ndim(1), Multiples(decay=first(flat))))
    return classes


def _layer_decay(settings: Settings) -> Groups:
    """A smaller learning rate for each layer further down ConvNeXt: ``decay_rate`` to the power of its distance."""
    layers = settings.count("num_layers", least=3)
    rate = settings.number("decay_rate")
    kind = settings.take("decay_type", "layer_wise")
    if not isinstance(kind, str) or ("layer_wise" not in kind and kind != "stage_wise"):
        raise ValueError(f"paramwise_cfg: decay_type must be 'layer_wise' or 'stage_wise', got {kind!r}")
    aside = list(settings.values)
    top = layers + 1
    tokens = [f"backbone/{name}" for name in ("cls_token", "mask_token", "pos_embed")]
    if "layer_wise" in kind:
        downsample = {0: 0, 1: 2, 2: 3, 3: layers}
        # three blocks of the long stage are one layer
        blocks = {f"backbone/stages/2/{j}/**": 3 + j // 3 for j in range(3 * layers)}
        paths = dict.fromkeys(tokens, 0)
        paths |= {f"backbone/downsample_layers/{k}/**": layer for k, layer in downsample.items()}
        paths |= {"backbone/stages/0/**": 1, "backbone/stages/1/**": 2, **blocks, "backbone/stages/3/**": layers}
    else:
        paths = dict.fromkeys((*tokens, "backbone/downsample_layers/**"), 0)
        paths |= {f"backbone/stages/{k}/**": k + 1 for k in range(4)}
    undecayed = ndim(1) | role("bias", "norm_bias") | glob("pos_embed") | glob("cls_token")
    rules, multiples = [], {}
    for path, layer in (*paths.items(), ("**", top)):
        for name, match, decay in (("no_decay", glob(path) & undecayed, 0.0), ("decay", glob(path), 1.0)):
            group = f"layer_{layer}_{name}"
            rules.append(Rule(match, group, optional=True))
            multiples[group] = Multiples(rate ** (top - layer), decay)
    notes = ["paramwise_cfg: layer decay expects the names of ConvNeXt, such as backbone/stages/2/0/depthwise_conv"]
    if aside:
        notes.append(f"paramwise_cfg: not used by LearningRateDecayOptimizerConstructor: {', '.join(aside)}")
    return Groups(tuple(rules), multiples, tuple(notes))
