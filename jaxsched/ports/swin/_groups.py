"""The groups of Swin-Transformer: without and with decay, and with LAYER_DECAY such a pair for each layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Condition, Rule
from jaxsched.ports import shared
from jaxsched.ports.swin._config import get
from jaxsched.schedules import Schedule

NO_DECAY: Mapping[str, tuple[str, ...]] = {
    "swin": ("absolute_pos_embed", "relative_position_bias_table"),
    "swinv2": ("absolute_pos_embed", "relative_position_bias_table", "cpb_mlp", "logit_scale"),
    "swin_moe": (
        *("absolute_pos_embed", "relative_position_bias_table", "cpb_mlp", "fc1_bias", "fc2_bias"),
        *("temperature", "cosine_projector", "sim_matrix"),
    ),
    "swin_mlp": ("absolute_pos_embed", "relative_position_bias_table"),
    "vit": ("pos_embed", "cls_token"),
}
"""MODEL.TYPE of Swin-Transformer and (``vit``) of SimMIM: names of parameters without decay."""


def groups(
    a: shared.YacsSettings,
    kind: str,
    model: Any,
    every: int,
    stays: Condition,
    decay: float,
    lr: Callable[[float], Schedule],
    notes: list[str],
) -> tuple[tuple[Rule, ...], dict[str, dict[str, Any]]]:
    """Parameters without and with decay; with LAYER_DECAY a pair of groups for each layer."""
    rate = a.number("LAYER_DECAY", low=0.0)
    own = {"no_decay": {}, "decay": {"weight_decay": decay}}
    at = f"{a.at('LAYER_DECAY')} {rate:g}"
    if every > 1 and (rate != 1.0 or kind == "vit" or str(get(model, "NAME")).startswith("simmim")):
        # it steps the scheduler by the number of the batch, and clips the gradients of each batch
        why = at if rate != 1.0 else f"{a.at('ACCUMULATION_STEPS')} {every}"
        raise ValueError(f"{why}: SimMIM accumulates by other rules than main.py; set ACCUMULATION_STEPS to 1")
    if rate == 1.0:
        return (Rule(stays, "no_decay", optional=True), Rule("**", "decay", optional=True)), own
    try:
        layers = _layers(f"{at}: MODEL", kind, model)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(at) else f"{at}: {text}") from None
    notes += [
        "LAYER_DECAY is read as main_simmim_ft.py does; main.py and pre-training ignore it",
        f"layer decay expects names such as {layers.block}",
    ]
    rules, found = [], {}
    for rule, layer, part in layers.rules([("no_decay", stays), ("decay", Condition("all", ()))]):
        rules.append(rule)
        found[rule.group] = {"lr": lr(rate ** (layers.top - layer)), **own[part]}
    return tuple(rules), found


def _layers(where: str, kind: str, model: Any) -> shared.Layers:
    section = shared.YacsSettings(f"{where}.{kind.upper()}", get(model, kind.upper()) or {})
    if kind == "vit":
        return shared.vit_layers(section.count("DEPTH", 12, least=1))
    if kind not in ("swin", "swinv2"):
        raise ValueError(
            f"{where}: TYPE must be swin, swinv2 or vit, got {short(kind)}; write groups with js.layer_decay"
        )
    return shared.swin_layers(section.counts("DEPTHS", [2, 2, 6, 2]))
