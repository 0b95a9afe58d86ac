"""The YAML configs of RT-DETR, D-FINE and DEIM, over the files of ``__include__``, and changes as of ``-u``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared

_INCLUDE = "__include__"
_OWN = {_INCLUDE, "epoches", "lr_warmup_scheduler", "lrsheduler"}
"""Names that no other source has."""


def fits(file: shared.File) -> bool:
    """Whether a file is such a config."""
    optimizer = file.mapping.get("optimizer")
    typed = isinstance(optimizer, dict) and "type" in optimizer
    return bool(_OWN & file.names) or (typed and bool({"use_ema", "clip_max_norm"} & file.names))


def merged(config: Any, update: Mapping[str, Any], root: str | os.PathLike[str] | None) -> tuple[str, dict[str, Any]]:
    """What a config is called in errors, and its content over that of the files that it includes."""
    given = shared.file_or_dict(config, "a YAML file")
    content: dict[str, Any] = {}
    if isinstance(given, shared.File):
        where = given.name
        folder = shared.configs_root(given.path) if root is None else Path(root)
        _include(content, given, shared.Files(folder, (".yml", ".yaml")))
    else:
        where = "config"
        _merge(content, given)
    for name, value in update.items():
        *outer, last = name.split(".")
        change = {last: value}
        for section in reversed(outer):
            change = {section: change}
        _merge(content, change)
    content.pop(_INCLUDE, None)
    return where, content


def _include(content: dict[str, Any], file: shared.File, files: shared.Files) -> None:
    """Merge the included files in their order, each after those that it includes, then the file itself."""
    with files.following(file):
        if all(not line.strip() or line.lstrip().startswith("#") for line in file.text.splitlines()):
            return
        names = file.content.get(_INCLUDE) or []
        if not isinstance(names, list | dict):
            raise TypeError(f"{file.name}: {_INCLUDE} must be a list of files, got {short(names)}")
        for name in names:
            _include(content, files.base(name, file), files)
        _merge(content, file.content)


def _merge(content: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Put values over others in place, a section over a section name by name; a list replaces a list."""
    for name, value in over.items():
        if isinstance(value, Mapping):
            old = content.get(name)
            content[name] = dict(old) if isinstance(old, dict) else {}
            _merge(content[name], value)
        else:
            content[name] = value
