"""A hook of MkDocs: the line ``@@ jaxsched.schedules`` in a page becomes the API of that room, name by name.

``@@@ jaxsched.ports`` does so for each module in a package. A name without documentation fails the build.
"""

import importlib
import inspect
import re
import sys
from types import ModuleType


def public_names(module: ModuleType) -> list[str]:
    """What a module offers: names without an underscore, defined in the room, that are not modules; classes last."""
    names = {
        name: inspect.isclass(value)
        for name, value in inspect.getmembers(module)
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and str(getattr(value, "__module__", "")).startswith(module.__name__)
    }
    return sorted(names, key=lambda name: (names[name], name))


def undocumented(module: ModuleType) -> list[str]:
    """Public names without a docstring of their own, and public methods of classes without one."""
    missing = []
    for name in public_names(module):
        value = getattr(module, name)
        members = inspect.getmembers(value, inspect.isfunction) if inspect.isclass(value) else []
        fields = getattr(value, "__dataclass_fields__", {})  # which are in the class's docstring
        members = [member for member in members if member[0] not in fields]
        own = [(name, value), *((f"{name}.{key}", one) for key, one in members if not key.startswith(("_", "tree_")))]
        missing += [key for key, one in own if len((inspect.getdoc(one) or "").strip()) < 10]
    return missing


def api(module: ModuleType) -> str:
    """The summary of a module and a directive for each of its names."""
    if missing := undocumented(module):
        raise ValueError(f"{module.__name__} has public names without documentation: {', '.join(missing)}")
    summary = (inspect.getdoc(module) or "").split("\n\n")[0]
    return "\n\n".join([summary, *(f"::: {_path(module, name)}" for name in public_names(module))])


def _path(module: ModuleType, name: str) -> str:
    """Where a name is found: ``report.lint`` is a function, and a package that has it too."""
    path = f"{module.__name__}.{name}"
    return f"{path}.{name}" if path in sys.modules else path


def on_page_markdown(markdown: str, **_: object) -> str:
    def one(match: re.Match[str]) -> str:
        return api(importlib.import_module(match[1]))

    def each(match: re.Match[str]) -> str:
        package = importlib.import_module(match[1])
        modules = {name: getattr(package, name) for name in sorted(dir(package))}
        return "\n\n".join(
            f"## {name}\n\n{api(module)}"
            for name, module in modules.items()
            if inspect.ismodule(module) and not name.startswith("_") and name != "shared"
        )

    return re.sub(r"^@@ (\S+)$", one, re.sub(r"^@@@ (\S+)$", each, markdown, flags=re.MULTILINE), flags=re.MULTILINE)
