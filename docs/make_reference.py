"""Writes docs/reference.md: every public name with the first line of its docstring.

Run: python docs/make_reference.py
"""

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import jaxsched

TARGET = Path(__file__).with_name("reference.md")


def public_names(module: ModuleType) -> dict[str, object]:
    """What a module offers: its names without an underscore that are defined in jaxsched and are no modules."""
    own = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return {
        name: value
        for name, value in own.items()
        if not inspect.ismodule(value) and str(getattr(value, "__module__", "")).startswith("jaxsched")
    }


def port_names(module: ModuleType) -> dict[str, object]:
    """What a port offers: what is written in it, or in a private file beside it."""
    return {
        name: value
        for name, value in public_names(module).items()
        if value.__module__ == module.__name__ or value.__module__.startswith(f"{module.__name__}.")
    }


def ports() -> dict[str, ModuleType]:
    package = importlib.import_module("jaxsched.ports")
    return {name: importlib.import_module(f"jaxsched.ports.{name}") for name in dir(package)}


def first_line(value: object) -> str:
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")


def table(names: dict[str, object], prefix: str) -> list[str]:
    rows = [f"| `{prefix}{name}` | {first_line(value)} |" for name, value in sorted(names.items())]
    return ["| name | |", "|---|---|", *rows, ""]


def reference() -> str:
    lines = ["# Reference", "", "Made by `docs/make_reference.py`; `help(name)` in Python shows the whole.", ""]
    lines += ["## jaxsched", "", *table(public_names(jaxsched), "js.")]
    for name, module in ports().items():
        lines += [f"## jaxsched.ports.{name}", "", first_line(module), "", *table(port_names(module), f"{name}.")]
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
