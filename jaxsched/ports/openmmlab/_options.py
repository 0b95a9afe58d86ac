"""Changes to a config from outside, as ``--cfg-options`` of OpenMMLab's tools makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_options(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The config with each dotted option set; a number in it is the place in a list.

    Raises:
        ValueError: If an option leads through something that holds no names or places.

    Examples:
        >>> with_options(dict(optimizer=dict(lr=0.1), hooks=[1, 2]), {"optimizer.lr": 0.2, "hooks.1": 3})
        {'optimizer': {'lr': 0.2}, 'hooks': [1, 3]}
    """
    result: Any = dict(config)
    for path, value in options.items():
        result = _set(result, str(path).split("."), value, f"options[{path!r}]")
    return result


def _set(holder: Any, path: list[str], value: Any, where: str) -> Any:
    if not path:
        # a dict is merged into what is there, as the originals do
        if isinstance(value, Mapping) and isinstance(holder, Mapping) and not value.get("_delete_", False):
            for name, inner in value.items():
                holder = _set(holder, [str(name)], inner, where)
            return holder
        return {k: v for k, v in value.items() if k != "_delete_"} if isinstance(value, Mapping) else value
    first, *rest = path
    if isinstance(holder, list | tuple):
        if not first.isdigit() or int(first) >= len(holder):
            raise ValueError(f"{where}: {first!r} is not a position in a list of {len(holder)}")
        items = list(holder)
        items[int(first)] = _set(items[int(first)], rest, value, where)
        return type(holder)(items)
    if holder is not None and not isinstance(holder, Mapping):
        raise ValueError(f"{where}: there is nothing to set at {first!r}, as a {type(holder).__name__} holds no names")
    inner = dict(holder or {})
    inner[first] = _set(inner.get(first), rest, value, where)
    return inner
