"""The keys that identify schedules in files.

``"cosine"`` is ``jaxsched.schedules.cosine``; ``"timm.cosine_cycles"`` is in ``SCHEDULES`` of the port timm. Keys are
stable: they do not change when code moves, so that old files stay readable.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from jaxsched import metric, schedules, transforms
from jaxsched.schedules import Schedule

Maker = Callable[..., Schedule]
_PORT_KEY = re.compile(r"([a-z][a-z0-9_]*)\.([A-Za-z_][A-Za-z0-9_]*)")


def key_of(maker: Maker) -> str | None:
    """The key of a maker, or None if it has none, as for a user's own schedule."""
    name = maker.__name__
    if _of_core(name) is maker:
        return name
    package, _, rest = maker.__module__.partition("jaxsched.ports.")
    port = rest.split(".")[0]
    return f"{port}.{name}" if not package and port and _of_port(port).get(name) is maker else None


def maker_of(key: Any) -> Maker | None:
    """The maker with this key, or None."""
    if not isinstance(key, str):
        return None
    found = _PORT_KEY.fullmatch(key)
    maker = _of_port(found[1]).get(found[2]) if found else _of_core(key)
    return maker if _is_maker(maker) else None


def _of_core(name: str) -> Any:
    found = (getattr(room, name, None) for room in (schedules, metric, transforms))
    return next((maker for maker in found if maker is not None), None)


def _of_port(port: str) -> Mapping[str, Maker]:
    """``SCHEDULES`` of a port, by name. A port is imported only when a file names it."""
    module = f"jaxsched.ports.{port}"
    if importlib.util.find_spec(module) is None:
        return {}
    return {maker.__name__: maker for maker in getattr(importlib.import_module(module), "SCHEDULES", ())}


def _is_maker(value: Any) -> bool:
    """Whether `schedule` decorated it: it wraps a function of the step and returns a Schedule."""
    is_wrapper = inspect.isfunction(value) and hasattr(value, "__wrapped__")
    return is_wrapper and inspect.signature(value).return_annotation == "Schedule"
