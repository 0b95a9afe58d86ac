"""Layer-wise decay of the learning rate: a parameter's layer by its path, and ``rate ** (top - layer)`` of each layer.

The packages differ in how they number layers, in what they keep from weight decay, and in the names of their options:
MMDetection 3.3.0, MMSegmentation 1.2.2, MMPose 1.3.2, MMAction2 1.2.0, MMPretrain 1.2.0, and MMSelfSup 0.11.0 and
1.0.0, which have the options in ``optimizer``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.groups import Condition, contains, glob, ndim, role
from jaxsched.ports.openmmlab import _paramwise_options
from jaxsched.ports.openmmlab._paramwise import REST, Groups, Multipliers, classes, custom_keys
from jaxsched.ports.openmmlab._settings import Settings, bare
from jaxsched.ports.shared import TOKENS, Layers, blocks_of, swin_layers, vit_layers

CONSTRUCTORS = (
    "LearningRateDecayOptimizerConstructor",  # MMDetection, MMSegmentation, MMAction2
    "LayerDecayOptimizerConstructor",  # MMSegmentation's of BEiT, and research code after it
    "LayerDecayOptimWrapperConstructor",  # MMPose
    "LearningRateDecayOptimWrapperConstructor",  # MMPretrain, and MMSelfSup 1.0
    "TransformerFinetuneConstructor",  # MMSelfSup 0.x
)


_BACKBONE = "backbone/"
_OF_OPENMMLAB = ("layers",)


def vit(depth: int, blocks: Sequence[str] = _OF_OPENMMLAB, tokens: Sequence[str] = TOKENS) -> Layers:
    return vit_layers(depth, _BACKBONE, blocks, tokens)


def convnext(layers: int) -> Layers:
    """Three blocks of the long stage are one layer."""
    paths = {f"backbone/{token}": 0 for token in TOKENS}
    paths |= {f"backbone/downsample_layers/{k}/**": layer for k, layer in enumerate((0, 2, 3, layers))}
    paths |= {"backbone/stages/0/**": 1, "backbone/stages/1/**": 2}
    paths |= {f"backbone/stages/2/{j}/**": 3 + j // 3 for j in blocks_of(3 * layers)}
    return Layers({**paths, "backbone/stages/3/**": layers}, layers + 1, "backbone/stages/2/0/**")


def convnext_stages(layers: int) -> Layers:
    paths = {f"backbone/{token}": 0 for token in TOKENS} | {"backbone/downsample_layers/**": 0}
    paths |= {f"backbone/stages/{k}/**": k + 1 for k in range(4)}
    return Layers(paths, layers + 1, "backbone/stages/2/**")


_VIT_LAYERS = {
    **dict.fromkeys(("s", "small"), 8),
    **dict.fromkeys(("b", "base", "deit-t", "deit-tiny", "deit-s", "deit-small", "deit-b", "deit-base"), 12),
    **dict.fromkeys(("dinov2-s", "dinov2-small"), 12),
    **dict.fromkeys(("l", "large"), 24),
    **dict.fromkeys(("h", "huge"), 32),
    **dict.fromkeys(("eva-g", "eva-giant", "dinov2-g", "dinov2-giant"), 40),
}
_SWIN_DEPTHS = {"t": (2, 2, 6, 2), "tiny": (2, 2, 6, 2)} | dict.fromkeys(
    ("s", "small", "b", "base", "l", "large"), (2, 2, 18, 2)
)
_CONVNEXT_SHORT = ("atto", "femto", "pico", "nano", "tiny")
_CONVNEXT_LONG = ("small", "base", "large", "xlarge", "huge")
_OF_MMPRETRAIN = ("VisionTransformer", "BEiTViT", "MAEViT", "SwinTransformer", "ConvNeXt")


Decay = tuple[str, Condition, float]
"""A part of each layer: its name, which parameters it has, and the factor on their weight decay."""


def groups(
    constructor: str, settings: Settings, model: Any, optimizer: Settings, options: Any, hyperparameters: Sequence[str]
) -> Groups:
    """The groups of a constructor with layer-wise decay.

    Args:
        constructor: One of `CONSTRUCTORS`.
        settings: The paramwise_cfg.
        model: The config's model, whose backbone is numbered.
        optimizer: The optimizer, which has some options.
        options: The paramwise_options, of MMSelfSup 0.x.
        hyperparameters: Those of the optimizer.
    """
    decays = "weight_decay" in optimizer.values
    backbone = model.get("backbone") if isinstance(model, Mapping) else None
    backbone = backbone if isinstance(backbone, Mapping) else {}
    kind = bare(backbone.get("type"))
    kind = kind if isinstance(kind, str) else ""
    notes: list[str] = []
    decay: list[Decay]
    if constructor == "TransformerFinetuneConstructor":
        rate = optimizer.number("layer_decay", 0.0)
        numbering = _by_model_type(optimizer.take("model_type", None), backbone, anywhere=True) if rate else vit(0)
        rate = rate or 1.0
        decay = _decays_by_options(options or {}, optimizer, hyperparameters, notes)
    elif "model_type" in optimizer.values:
        rate = optimizer.number("layer_decay_rate", 1.0)
        numbering = _by_model_type(optimizer.take("model_type"), backbone)
        decay = _decays_of_mmselfsup(settings)
    elif constructor == "LearningRateDecayOptimWrapperConstructor":
        rate = settings.number("layer_decay_rate", 1.0)
        numbering = _by_architecture(kind, backbone)
        decay = _decays_of_mmpretrain(settings, decays, notes)
    else:
        layers = settings.count("num_layers", least=3)
        numbering = _by_constructor(constructor, kind, settings, layers)
        old = "layer_decay_rate" if constructor.startswith("LayerDecay") else "decay_rate"
        rate = settings.number(old if old in settings.values else "decay_rate")
        undecayed: Condition = ndim(1) | role("bias", "norm_bias")
        if constructor == "LayerDecayOptimWrapperConstructor":
            undecayed = undecayed | contains("pos_embed")
        elif not kind.startswith(("MViT", "VisionTransformer")):
            undecayed = undecayed | glob("pos_embed") | glob("cls_token")
        decay = [("no_decay", undecayed, 0.0), ("decay", glob("**"), 1.0)]
    rules, multipliers = [], {}
    factors = {name: factor for name, _, factor in decay}
    for rule, layer, part in numbering.rules([(name, match) for name, match, _ in decay]):
        rules.append(rule)
        multipliers[rule.group] = Multipliers(rate ** (numbering.top - layer), factors[part])
    notes.append(f"paramwise_cfg: layer decay expects names such as {numbering.block}")
    if aside := list(settings.values):
        notes.append(f"paramwise_cfg: not used by {constructor}: {', '.join(map(str, aside))}")
    return Groups(tuple(rules), multipliers, tuple(notes))


def _by_constructor(constructor: str, kind: str, settings: Settings, layers: int) -> Layers:
    if constructor.startswith("LayerDecay"):
        return vit(layers, ("layers", "blocks"))  # OpenMMLab's name, and that of the code of BEiT and ViTDet
    decay_type = settings.text("decay_type", "layer_wise")
    if "layer_wise" not in decay_type and decay_type != "stage_wise":
        raise ValueError(f"{settings.where}: decay_type must be 'layer_wise' or 'stage_wise', got {decay_type!r}")
    if kind and not any(known in kind for known in ("ConvNeXt", "BEiT", "MAE", "MViT", "VisionTransformer")):
        raise ValueError(f"{settings.where}: layer decay is not known for the backbone {kind!r}; {_WAY_ON}")
    if decay_type == "stage_wise":
        if kind and "ConvNeXt" not in kind:
            raise ValueError(f"{settings.where}: decay_type 'stage_wise' is for ConvNeXt, not {kind!r}")
        return convnext_stages(layers)
    if "BEiT" in kind or "MAE" in kind:
        return vit(layers)
    if "MViT" in kind or "VisionTransformer" in kind:
        return vit(layers, ("blocks",))
    return convnext(layers)


_WAY_ON = "write its groups as rules of the recipe"


def _by_architecture(kind: str, backbone: Mapping[str, Any]) -> Layers:
    """MMPretrain's backbones number their layers themselves, by their ``arch``."""
    arch = backbone.get("arch", "tiny" if kind in ("ConvNeXt", "SwinTransformer") else "base")
    own = arch if isinstance(arch, Mapping) else {}
    name = arch.lower() if isinstance(arch, str) else ""
    if kind in ("VisionTransformer", "BEiTViT", "MAEViT"):
        layers = own.get("num_layers", _VIT_LAYERS.get(name))
        if isinstance(layers, int):
            return vit(layers, tokens=("cls_token", "pos_embed"))
    elif kind == "SwinTransformer":
        depths = own.get("depths", _SWIN_DEPTHS.get(name))
        if isinstance(depths, list | tuple):
            return swin_layers(depths, _BACKBONE, "stages")
    elif kind == "ConvNeXt":
        depths = own.get("depths")
        longer = depths[-2] > 9 if isinstance(depths, list | tuple) else name in _CONVNEXT_LONG
        if depths is not None or name in (*_CONVNEXT_SHORT, *_CONVNEXT_LONG):
            found = convnext(12 if longer else 6)
            kept = {path: layer for path, layer in found.paths.items() if path.endswith("**")}  # it has no tokens
            return found._replace(paths=kept)
    which = f"the backbone {kind!r}" + (f" with arch {arch!r}" if kind in _OF_MMPRETRAIN else "")
    raise ValueError(
        f"paramwise_cfg: layer decay is not known for {which if kind else 'a model without backbone'}; {_WAY_ON}"
    )


def _by_model_type(model_type: Any, backbone: Mapping[str, Any], anywhere: bool = False) -> Layers:
    """MMSelfSup says what its backbone is like, since it has classes of its own (``CAEViT``).

    Args:
        model_type: ``"vit"`` or ``"swin"``.
        backbone: Of the config's model.
        anywhere: Whether a ViT's tokens are layer 0 wherever they are, if not in a block.
    """
    kind = {"vit": "VisionTransformer", "swin": "SwinTransformer"}.get(model_type)
    if kind is None:
        raise ValueError(f"optimizer: layer decay is not known for model_type {model_type!r}; {_WAY_ON}")
    found = _by_architecture(kind, {"arch": "base", **backbone})
    blocks = {path: layer for path, layer in found.paths.items() if layer}
    if kind == "SwinTransformer":
        return found._replace(paths={**_named("mask_token", "patch_embed"), **blocks})
    if anywhere:
        return found._replace(paths={**blocks, **_named("pos_embed", "cls_token", "patch_embed")})
    return found._replace(paths={"backbone/mask_token": 0, **found.paths})


def _named(*texts: str) -> dict[str, int]:
    return {f"**/*{text}*/**": 0 for text in texts}


def _decays_of_mmselfsup(settings: Settings) -> list[Decay]:
    """MMSelfSup 1.0's: the shortest key that is in the name counts."""
    found = custom_keys(settings, 2, True, (), [])
    if any(one.decay not in (0, 1) for one in found.values()):
        raise ValueError(f"{settings.where}: decay_mult is read as 0 or 1 only: a group takes the first of its decays")
    keys = [key for key in reversed(found) if found[key].decay == 0 or len(set(found.values())) > 1]
    parts = [("no_decay" if found[key].decay == 0 else "decay", _contained(key), found[key].decay) for key in keys]
    return [*parts, ("decay", glob("**"), 1.0)]


def _contained(key: str) -> Condition:
    return contains(key.replace(".", "/"))


def _decays_by_options(
    options: Any, optimizer: Settings, hyperparameters: Sequence[str], notes: list[str]
) -> list[Decay]:
    """MMSelfSup 0.x's paramwise_options, of which only weight decays are read beside layers."""
    base = optimizer.number("weight_decay", 0.0) if "weight_decay" in optimizer.values else 0.0
    optimizer.values["weight_decay"] = base
    result = []
    for match, values in _paramwise_options.cells(options, optimizer, hyperparameters, notes):
        if set(values) - {"weight_decay"}:
            raise ValueError(f"optimizer: paramwise_options: beside layers only weight_decay is read, got {values}")
        own = values.get("weight_decay", _paramwise_options.Times(1.0))
        factor = own.factor if isinstance(own, _paramwise_options.Times) else own / base if base else 0.0
        result.append(("no_decay" if not factor else "decay" if factor == 1 else f"decay={factor!r}", match, factor))
    return result


def _decays_of_mmpretrain(settings: Settings, decays: bool, notes: list[str]) -> list[Decay]:
    """As mmengine's own constructor, without its learning rates and depthwise convolutions."""
    found = custom_keys(settings, 2, decays, (), notes)
    set_to = {name: settings.number(name, None) for name in ("bias_decay_mult", "norm_decay_mult", "flat_decay_mult")}
    set_to |= dict.fromkeys(("bias_lr_mult", "dwconv_decay_mult", "dcn_offset_lr_mult"))
    result: list[Decay] = []
    for key in found:
        result.append((f"decay={found[key].decay!r}", contains(key.replace(".", "/")), found[key].decay))
    for name, match, multipliers in classes(set_to, 2, None, notes):
        result.append((name, match, multipliers.decay))
    return [*result, (REST, glob("**"), 1.0)]
