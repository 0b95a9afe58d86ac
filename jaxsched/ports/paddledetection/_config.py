"""PaddleDetection's YAML configs, over the files of ``_BASE_``; a tag such as ``!CosineDecay`` names a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared

_OWN = {"LearningRate", "OptimizerBuilder", "TrainReader", "snapshot_epoch", "architecture"}


def fits(file: shared.File) -> bool:
    """Whether a file is such a config; one that has little but ``_BASE_`` has names in small letters too."""
    learning = file.mapping.get("LearningRate")
    if isinstance(learning, dict) and {"base_lr", "schedulers"} & learning.keys():
        return True
    based = isinstance(file.mapping.get("_BASE_"), list) and not all(str(name).isupper() for name in file.names)
    return based or len(_OWN & file.names) > 1


def merged(config: Any, root: str | os.PathLike[str] | None) -> tuple[str, dict[str, Any]]:
    """What a config is called in errors, and its content over that of its bases."""
    given = shared.file_or_dict(config, "a YAML file")
    if not isinstance(given, shared.File):
        return "config", given
    folder = shared.configs_root(given.path) if root is None else Path(root)
    return given.name, _with_bases(given, shared.Files(folder, (".yml", ".yaml")))


def _with_bases(file: shared.File, files: shared.Files) -> dict[str, Any]:
    """Later bases are over earlier ones, and the file is over all."""
    found: dict[str, Any] = {}
    with files.following(file):
        bases = file.content.get("_BASE_", [])
        for name in bases if isinstance(bases, list) else [bases]:
            found = _over(found, _with_bases(files.base(name, file), files))
    return _over(found, {name: value for name, value in file.content.items() if name != "_BASE_"})


def _over(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = [name for name in own if isinstance(own[name], dict) and isinstance(base.get(name), dict)]
    return {**base, **own, **{name: _over(base[name], own[name]) for name in both}}


def named(where: str, value: Any) -> tuple[str, dict[Any, Any]]:
    """The class and the arguments of ``!Name {...}``, or of a dict with ``name``."""
    if isinstance(value, shared.Opaque):
        if value.fields is None:
            raise TypeError(f"{where}: {short(value)} must have its arguments by name, as {{max_epochs: 300}}")
        return value.tag.lstrip("!"), value.fields
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return value["name"], {key: item for key, item in value.items() if key != "name"}
    raise TypeError(f"{where} must be a scheduler such as !CosineDecay {{max_epochs: 300}}, got {short(value)}")


def set_somewhere(value: Any, names: frozenset[str], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Where in a config a name of ``names`` has a value, with the value."""
    if isinstance(value, shared.Opaque):
        value = value.fields
    if isinstance(value, list):
        for item in value:
            yield from set_somewhere(item, names, path)
    elif isinstance(value, dict):
        for name, item in value.items():
            here = (*path, str(name))
            if name in names:
                yield ".".join(here), item
            else:
                yield from set_somewhere(item, names, here)
