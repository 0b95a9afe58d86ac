"""SOLVER of a Detectron2 config: its defaults, and reading it from a dict or from files, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.ports.detectron2._projects import OPTIMIZERS

Config = Mapping[str, Any]

DEFAULTS: Mapping[str, Any] = {
    "LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    "MAX_ITER": 40000,
    "BASE_LR": 0.001,
    "BASE_LR_END": 0.0,
    "MOMENTUM": 0.9,
    "NESTEROV": False,
    "WEIGHT_DECAY": 0.0001,
    "WEIGHT_DECAY_NORM": 0.0,
    "GAMMA": 0.1,
    "STEPS": (30000,),
    "NUM_DECAYS": 3,
    "WARMUP_FACTOR": 1.0 / 1000,
    "WARMUP_ITERS": 1000,
    "WARMUP_METHOD": "linear",
    "RESCALE_INTERVAL": False,
    "CHECKPOINT_PERIOD": 5000,
    "IMS_PER_BATCH": 16,
    "REFERENCE_WORLD_SIZE": 0,
    "BIAS_LR_FACTOR": 1.0,
    "WEIGHT_DECAY_BIAS": None,
    "CLIP_GRADIENTS": {"ENABLED": False, "CLIP_TYPE": "value", "CLIP_VALUE": 1.0, "NORM_TYPE": 2.0},
    "AMP": {"ENABLED": False},
    "OPTIMIZER": None,
    "BACKBONE_MULTIPLIER": None,
    "WEIGHT_DECAY_EMBED": None,
    "POLY_LR_POWER": 0.9,
    "POLY_LR_CONSTANT_ENDING": 0.0,
    "USE_CUSTOM_SOLVER": None,
    "CUSTOM_MULTIPLIER": 1.0,
    "CUSTOM_MULTIPLIER_NAME": (),
}
"""What SOLVER has where a config says nothing; the last eight are of projects that build on it."""


def solver_of(cfg: shared.File | str | os.PathLike[str] | Config, root: Any = None) -> tuple[str, dict[str, Any]]:
    """What to call it in errors, and SOLVER with its defaults, checked.

    ARCHITECTURE is what MODEL is, and AVERAGED whether a project averages its parameters.
    """
    if isinstance(cfg, Mapping):
        is_whole = bool(cfg.keys() & {"SOLVER", "MODEL", "DATASETS"})
        _check_spelling("cfg", cfg if is_whole else {})
        where, given = "SOLVER", cfg.get("SOLVER", {}) if is_whole else cfg
        architecture, averaged = _architecture(cfg if is_whole else {}), _averaged(cfg if is_whole else {})
    elif isinstance(cfg, shared.File | str | os.PathLike):
        file = cfg if isinstance(cfg, shared.File) else shared.File.read(cfg)
        files = shared.Files(shared.configs_root(file.path) if root is None else Path(root), (".yaml", ".yml"))
        merged = _merged_sections(file, files)
        where, given = f"{file.name}: SOLVER", merged["SOLVER"]
        architecture, averaged = _architecture(merged), _averaged(merged)
        if others := [name for name in ("OPT", "MAX_EPOCH", "SCHED") if name in given]:
            raise ValueError(
                f"{where}: {others[0]!r}, which a file that it is based on has, is fast-reid's and not Detectron2's: "
                "no port reads it; write the recipe with js.Recipe"
            )
    else:
        raise TypeError(f"expected a path to a YAML file or a dict, got {short(cfg)}")
    return where, {
        **_checked(shared.YacsSettings(where, given, DEFAULTS)),
        "ARCHITECTURE": architecture,
        "AVERAGED": averaged,
    }


def _merged_sections(file: shared.File, files: shared.Files) -> dict[str, dict[str, Any]]:
    """SOLVER, MODEL and MODEL_EMA of a file, over those of the files it is based on."""
    with files.following(file):
        bases = file.content.get("_BASE_", [])
        merged: dict[str, dict[str, Any]] = {"SOLVER": {}, "MODEL": {}, "MODEL_EMA": {}}
        for base in bases if isinstance(bases, list) else [bases]:
            sections = _merged_sections(files.base(base, file), files)
            merged = {name: _merged(merged[name], sections[name]) for name in merged}
    _check_spelling(file.name, file.content)
    for name in merged:
        section = file.content.get(name) or {}
        if isinstance(section, dict):
            merged[name] = _merged(merged[name], section)
        elif name == "SOLVER":
            raise TypeError(f"{file.name}: SOLVER must hold names and values, got {short(section)}")
    return merged


def _check_spelling(where: str, cfg: Config) -> None:
    sections = shared.YacsSettings(where, cfg)
    model = sections.take("MODEL", None)
    sections.take("SOLVER", None)
    sections.check_spelling({"SOLVER": DEFAULTS})
    if isinstance(model, Mapping):
        inner = shared.YacsSettings(f"{where}: MODEL", model)
        inner.take("META_ARCHITECTURE", None)
        inner.check_spelling()


def _architecture(cfg: Config) -> str:
    model = cfg.get("MODEL")
    name = model.get("META_ARCHITECTURE") if isinstance(model, Mapping) else None
    return name if isinstance(name, str) else ""


def _averaged(cfg: Config) -> bool:
    average = cfg.get("MODEL_EMA")
    return isinstance(average, Mapping) and average.get("ENABLED") is True


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Settings, and those of CLIP_GRADIENTS and AMP, one by one."""

    def one(name: str) -> Any:
        old, new = base.get(name), over[name]
        return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new

    return {**base, **{name: one(name) for name in over}}


def _checked(solver: shared.YacsSettings) -> dict[str, Any]:
    clip, amp = solver.section("CLIP_GRADIENTS"), solver.section("AMP")
    checked = {
        **{name: solver.text(name) for name in ("LR_SCHEDULER_NAME", "WARMUP_METHOD")},
        **{name: solver.count(name, least=1) for name in ("MAX_ITER", "NUM_DECAYS", "CHECKPOINT_PERIOD")},
        **{name: solver.count(name, least=0) for name in ("WARMUP_ITERS", "REFERENCE_WORLD_SIZE")},
        **{name: solver.number(name, low=0.0) for name in _NOT_NEGATIVE},
        **{name: solver.flag(name) for name in ("NESTEROV", "RESCALE_INTERVAL")},
        "IMS_PER_BATCH": solver.count("IMS_PER_BATCH", least=1),
        "BASE_LR": solver.positive("BASE_LR"),
        "GAMMA": _at_most_1(solver, "GAMMA"),
        "STEPS": tuple(solver.counts("STEPS", least=0)),
        "CLIP_GRADIENTS": {
            "ENABLED": clip.flag("ENABLED"),
            "CLIP_TYPE": clip.text("CLIP_TYPE"),
            **{name: clip.positive(name) for name in ("CLIP_VALUE", "NORM_TYPE")},
        },
        "AMP": {"ENABLED": amp.flag("ENABLED")},
        "POLY_LR_POWER": solver.positive("POLY_LR_POWER"),
        "POLY_LR_CONSTANT_ENDING": solver.number("POLY_LR_CONSTANT_ENDING", low=0.0, high=1.0),
        "CUSTOM_MULTIPLIER_NAME": _texts(solver, "CUSTOM_MULTIPLIER_NAME"),
        **{name: solver.number(name, low=0.0) for name in ("BACKBONE_MULTIPLIER", "WEIGHT_DECAY_EMBED")},
        "OPTIMIZER": _optimizer(solver),
        "USE_CUSTOM_SOLVER": solver.choice("USE_CUSTOM_SOLVER", (None, True, False)),
        "CUSTOM_MULTIPLIER": solver.number("CUSTOM_MULTIPLIER", low=0.0),
    }
    for section in (clip, amp, solver):
        section.finish()
    return checked


def _optimizer(solver: shared.YacsSettings) -> str | None:
    """The name in capitals: forks write ``AdamW``."""
    value = solver.take("OPTIMIZER")
    name = value.upper() if isinstance(value, str) else value
    if name is not None and name not in OPTIMIZERS:
        raise ValueError(f"{solver.at('OPTIMIZER')} must be one of {', '.join(OPTIMIZERS)}, got {short(value)}")
    return name


def _texts(solver: shared.YacsSettings, name: str) -> tuple[str, ...]:
    value = solver.take(name)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{solver.at(name)} must be a list of strings, got {short(value)}")
    return tuple(value)


def _at_most_1(solver: shared.YacsSettings, name: str) -> float:
    value = solver.positive(name)
    return shared.within(solver.at(name), value, 0.0, 1.0)


def choice(where: str, values: Config, name: str, allowed: Mapping[str, Any]) -> Any:
    if values[name] not in allowed:
        raise ValueError(f"{where}: {name} must be one of {', '.join(allowed)}, got {short(values[name])}")
    return allowed[values[name]]


_NOT_NEGATIVE = (
    "BASE_LR_END",
    "MOMENTUM",
    "WEIGHT_DECAY",
    "WEIGHT_DECAY_NORM",
    "WARMUP_FACTOR",
    "BIAS_LR_FACTOR",
    "WEIGHT_DECAY_BIAS",
)
