"""A config of Swin-Transformer: a YAML file over those under BASE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxsched.ports import shared


def merged(cfg: Any) -> tuple[str, dict[str, Any]]:
    """What to call the config in errors, and its sections over those of the files under BASE."""
    if isinstance(cfg, Mapping):
        return "cfg", dict(cfg)
    file = cfg if isinstance(cfg, shared.File) else shared.File.read(cfg)
    return file.name, _with_bases(file, shared.Files(file.path.resolve().parent, (".yaml", ".yml")))


def _with_bases(file: shared.File, files: shared.Files) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    with files.following(file):
        bases = file.content.get("BASE") or []
        for name in bases if isinstance(bases, list) else [bases]:
            merged = _over(merged, _with_bases(files.base(name, file), files)) if name else merged
    return _over(merged, file.content)


def _over(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = [name for name in own if isinstance(own[name], dict) and isinstance(base.get(name), dict)]
    return {**base, **own, **{name: _over(base[name], own[name]) for name in both}}


def get(section: Any, name: str) -> Any:
    return section.get(name) if isinstance(section, Mapping) else None


def fits(file: shared.File) -> bool:
    """Whether a file is such a config: by the settings of TRAIN that no other system has, or by its model alone."""
    train, model = file.mapping.get("TRAIN"), file.mapping.get("MODEL")
    names = {"BASE_LR", "WARMUP_EPOCHS", "LR_SCHEDULER", "OPTIMIZER", "EPOCHS", "MIN_LR"}
    if isinstance(train, dict) and not names.isdisjoint(train):
        return isinstance(train.get("OPTIMIZER", {}), dict)
    return str(get(model, "TYPE")).startswith("swin") and any(str(name).startswith("SWIN") for name in model or ())
