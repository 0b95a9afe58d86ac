"""RF-DETR's groups of parameters: its encoder by layers, its decoder, and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.groups import Condition, Rule, contains, glob
from jaxsched.ports import shared
from jaxsched.ports.shared import Settings
from jaxsched.schedules import Schedule

_ENCODER = "backbone/0/encoder"
_BARE = ("gamma", "pos_embed", "rel_pos", "bias", "norm", "embeddings")
"""Parameters of the encoder without weight decay have one of these in their name."""

Groups = dict[str, Mapping[str, Any] | None]


def groups(a: Settings, unit: Schedule, outputs: Sequence[int] | None) -> tuple[tuple[Rule, ...], Groups]:
    """The rules and what each group has.

    Args:
        a: The arguments.
        unit: The schedule of an lr of 1.
        outputs: The layers of the encoder that the model takes features from.

    Raises:
        MissingError: If ``outputs`` are needed and None.
    """
    lr, component = a.number("lr", low=0.0), a.number("lr_component_decay", low=0.0, high=1.0)
    encoder, layer_decay = a.number("lr_encoder", low=0.0), a.number("lr_vit_layer_decay", low=0.0, high=1.0)
    frozen = a.flag("freeze_encoder")
    places = {f"{_ENCODER}/**": 0}
    if layer_decay != 1.0 and not frozen:
        if outputs is None:
            why = "its learning rates depend on the layers of the encoder that the model uses"
            raise shared.MissingError(a.where, why, ["model"])
        depth = outputs[-1] + 1
        blocks = {f"{_ENCODER}/**/layer/{j}/**": depth - j for j in shared.blocks_of(depth)}
        places = {f"{_ENCODER}/**/embeddings/**": depth + 1, **blocks, **places}
    bare = Condition("any", tuple(contains(name) for name in _BARE))
    rules, found = list[Rule](), Groups()
    for path, below in places.items():
        for match, part in ((glob(path) & bare, "no_decay"), (glob(path), "decay")):
            name = f"encoder_{below}_below_{part}"
            rules.append(Rule(match, name, optional=not (path.endswith("/layer/0/**") and part == "decay")))
            own = {"lr": encoder * layer_decay**below * component**2 * unit}
            found[name] = None if frozen else own | ({"weight_decay": 0.0} if part == "no_decay" else {})
    rules.append(Rule(contains("transformer/decoder"), "decoder", optional=component == 1.0))
    rules.append(Rule("**", "other", optional=True))
    return tuple(rules), found | {"decoder": {"lr": lr * component * unit}, "other": {"lr": lr * unit}}
