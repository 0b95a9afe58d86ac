"""A hook of MkDocs: the line ``@@ jaxsched.schedules`` in a page becomes the API of that room, name by name."""

import importlib
import inspect
import re
from types import ModuleType


def public_names(module: ModuleType) -> list[str]:
    """What a module offers: names without an underscore, defined in the room, that are no modules."""
    return sorted(
        name
        for name, value in inspect.getmembers(module)
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and str(getattr(value, "__module__", "")).startswith(module.__name__)
    )


def on_page_markdown(markdown: str, **_: object) -> str:
    def api(match: re.Match[str]) -> str:
        module = importlib.import_module(match[1])
        summary = (inspect.getdoc(module) or "").split("\n\n")[0]
        return "\n\n".join([summary, *(f"::: {match[1]}.{name}" for name in public_names(module))])

    return re.sub(r"^@@ (\S+)$", api, markdown, flags=re.MULTILINE)
