"""The constructor of InternImage: layer-wise decay, with factors of their own for the offsets of its convolutions."""

from __future__ import annotations

from jaxsched.groups import Rule, contains, glob, ndim, role
from jaxsched.ports.openmmlab._paramwise import Groups, Multipliers
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.shared import blocks_of

CONSTRUCTOR = "CustomLayerDecayOptimizerConstructor"
_SMALL = 0.1
"""What ``backbone_small_lr`` and ``dino_head`` multiply a learning rate by."""


def groups(settings: Settings) -> Groups:
    """The groups of the constructor.

    Each block is a layer, counted through all stages; patches and ``level_embeds`` are layer 0, and a downsampling or a
    norm of a stage belongs to the last block of its stage, but to that of the third in the fourth. All else is the top
    layer, and ``lr`` is multiplied by ``layer_decay_rate ** (top - layer)``. Vectors, biases, norms, position biases
    and offsets do not decay. Offsets and reference points take ``offset_lr_scale`` too, or with ``dino_head`` 0.1 in
    the top layer.
    """
    top, rate = settings.count("num_layers", least=1) + 1, settings.number("layer_decay_rate")
    depths = settings.counts("depths")
    offsets = settings.number("offset_lr_scale", 1.0)
    small, head = settings.flag("backbone_small_lr", False), settings.flag("dino_head", False)
    offset, moved = contains("sampling_offsets"), contains("sampling_offsets") | contains("reference_points")
    undecayed = ndim(1) | role("bias", "norm_bias") | contains("relative_position") | contains("norm") | offset
    rules, multipliers = [], {}
    for path, layer in (*_layers(depths).items(), ("**", top)):
        scale = rate ** (top - layer)
        scale *= _SMALL if small and scale < 1 else 1.0
        of_offsets = _SMALL if head and layer == top else offsets
        for name, match, decay, factor in (
            ("offsets_no_decay", moved & undecayed, 0.0, of_offsets),
            ("offsets_decay", moved, 1.0, of_offsets),
            ("no_decay", undecayed, 0.0, 1.0),
            ("decay", glob("**"), 1.0, 1.0),
        ):
            group = f"layer_{layer}_{name}"
            rules.append(Rule(glob(path) & match, group, optional=True))
            multipliers[group] = Multipliers(scale * factor, decay)
    notes = ["paramwise_cfg: layer decay expects names such as backbone/levels/0/blocks/0/dcn"]
    if aside := list(settings.values):
        notes.append(f"paramwise_cfg: not used by {CONSTRUCTOR}: {', '.join(map(str, aside))}")
    return Groups(tuple(rules), multipliers, tuple(notes))


def _layers(depths: list[int]) -> dict[str, int]:
    """Layers by glob; of globs that fit, the first one counts."""
    paths = {"backbone/patch_embed*/**": 0, "**/level_embeds*": 0, "level_embeds*": 0}
    for stage, depth in enumerate(depths):
        before, through = sum(depths[: min(stage, 3)]), sum(depths[: min(stage, 2) + 1])
        for levels in ("levels", "layers"):
            paths |= {f"backbone/{levels}/{stage}/{name}/**": 1 + through for name in ("downsample", "norm")}
            paths |= {f"backbone/{levels}/{stage}/*/{j}/**": 1 + before + j for j in blocks_of(depth)}
    return paths
