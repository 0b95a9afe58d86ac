"""The optimizers of projects that build on Detectron2 and bring their own: which it is, and its groups.

Two habits are found. Mask2Former's (also MaskFormer, MaskDINO) decays norms by WEIGHT_DECAY_NORM and embeddings by
WEIGHT_DECAY_EMBED; Sparse R-CNN's (also DiffusionDet, DiffusionInst, and Detic's with USE_CUSTOM_SOLVER) decays all
parameters alike. Both multiply the lr of what has "backbone" in its name by BACKBONE_MULTIPLIER, and neither treats
biases apart. Panoptic-DeepLab has Detectron2's groups, and Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxsched.groups import Condition, Rule, contains, glob, role
from jaxsched.recipe import caution
from jaxsched.schedules import Schedule


class Project(NamedTuple):
    """What a project does.

    Attributes:
        optimizer: The optimizer where its config says nothing.
        backbone_multiplier: BACKBONE_MULTIPLIER where its config says nothing.
        decays_alike: Whether all parameters have the same decay.
        nesterov: Whether SGD obeys NESTEROV.
    """

    optimizer: str
    backbone_multiplier: float
    decays_alike: bool
    nesterov: bool = False


_BY_ARCHITECTURE = {
    "MaskFormer": Project("ADAMW", 0.1, False),
    "MaskDINO": Project("ADAMW", 0.1, False),
    "SparseRCNN": Project("ADAMW", 1.0, True),
    "DiffusionDet": Project("ADAMW", 1.0, True),
    "DiffusionInst": Project("ADAMW", 1.0, True),
    "PanopticDeepLab": Project("ADAM", 1.0, False, nesterov=True),
}
_CUSTOM = Project("SGD", 1.0, True, nesterov=True)
_UNKNOWN = Project("SGD", 1.0, False)
OPTIMIZERS = {"SGD": "sgd", "ADAM": "adam", "ADAMW": "adamw"}


def project_of(solver: Mapping[str, Any]) -> Project | None:
    """Whose optimizer a config asks for; None for Detectron2's own."""
    if solver["USE_CUSTOM_SOLVER"] is not None:
        return _CUSTOM if solver["USE_CUSTOM_SOLVER"] else None
    if solver["ARCHITECTURE"] in _BY_ARCHITECTURE:
        return _BY_ARCHITECTURE[solver["ARCHITECTURE"]]
    said = any(solver[name] is not None for name in ("OPTIMIZER", "BACKBONE_MULTIPLIER", "WEIGHT_DECAY_EMBED"))
    return _UNKNOWN if said else None


def cautions_of(where: str, project: Project) -> list[str]:
    if project is not _UNKNOWN:
        return []
    names = ", ".join(_BY_ARCHITECTURE)
    text = (
        f"{where}: OPTIMIZER is of a project that MODEL.META_ARCHITECTURE does not tell ({names} are known): norms and "
        "embeddings decay by their own settings, as in Mask2Former; in Sparse R-CNN all parameters decay alike"
    )
    return [caution("unknown-project", text)]


def groups_of(
    project: Project, solver: Mapping[str, Any], lr: Callable[[float], Schedule]
) -> tuple[tuple[Rule, ...], dict[str, dict[str, Any]]]:
    """The rules, and what each group overrides."""
    everything = Condition("all", ())
    decays: list[tuple[str, Condition, float]] = [("weight", everything, solver["WEIGHT_DECAY"])]
    if not project.decays_alike:
        position = contains("relative_position_bias_table") | contains("absolute_pos_embed")
        decays = [
            ("position", position, 0.0),
            ("embed", glob("**/embedding"), solver["WEIGHT_DECAY_EMBED"] or 0.0),
            ("norm", role("norm", "norm_bias"), solver["WEIGHT_DECAY_NORM"]),
            *decays,
        ]
    scale = solver["BACKBONE_MULTIPLIER"]
    scales = [("backbone", contains("backbone"), project.backbone_multiplier if scale is None else scale)]
    if project is _CUSTOM and solver["CUSTOM_MULTIPLIER_NAME"]:
        custom = Condition("any", tuple(map(contains, solver["CUSTOM_MULTIPLIER_NAME"])))
        both = scales[0][1] & custom, scales[0][2] * solver["CUSTOM_MULTIPLIER"]
        scales = [("custom_backbone", *both), ("custom", custom, solver["CUSTOM_MULTIPLIER"]), *scales]
    rules, groups = [], {}
    for name, condition, decay in decays:
        for prefix, where, factor in [*scales, ("", everything, 1.0)]:
            group = f"{prefix}_{name}" if prefix else name
            if prefix and factor == 1.0:
                continue
            rules.append(Rule(where & condition if prefix else condition, group, optional=True))
            own = {} if factor == 1.0 else {"lr": lr(solver["BASE_LR"] * factor)}
            groups[group] = {**own, "weight_decay": decay}
    return tuple(rules), groups
