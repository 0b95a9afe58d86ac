"""Optional dependencies."""

from __future__ import annotations

import importlib
from typing import Any


def extra(module: str, name: str) -> Any:
    """An optional dependency, or an error that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(f"this needs {module}, which is an extra: pip install 'jaxsched[{name}]'") from None
