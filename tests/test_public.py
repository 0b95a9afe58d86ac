"""Every public name has a docstring and stands in the reference."""

import ast
import importlib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import jaxsched as js

MADE = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "make_reference.py"))
NAMES = {f"js.{name}": value for name, value in MADE["public_names"](js).items()}
PORTS = {f"{port}.{n}": v for port, module in MADE["ports"]().items() for n, v in MADE["port_names"](module).items()}


@pytest.mark.parametrize("name", [*NAMES, *PORTS])
def test_every_public_name_has_a_docstring(name):
    doc = {**NAMES, **PORTS}[name].__doc__
    assert doc, name
    assert len(doc) > 20, name


def test_the_reference_is_up_to_date():
    assert MADE["TARGET"].read_text(encoding="utf-8") == MADE["reference"](), "run: python docs/make_reference.py"


def test_there_are_no_names_with_two_meanings():
    """What jaxsched and jaxsched.schedules or .optimizers both export is one thing."""
    for package in (js.schedules, js.optimizers):
        for name in MADE["public_names"](package):
            if hasattr(js, name):
                assert getattr(js, name) is getattr(package, name), name


def test_type_checkers_see_the_names_that_are_there():
    """The stub holds every name, and each is what its room has."""
    tree = ast.parse(Path(js.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    seen = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            seen.update({alias.asname: (node.module, alias.name) for alias in node.names})
    assert {name for name in dir(js) if not name.startswith("_")} >= set(seen)
    assert set(MADE["public_names"](js)) <= set(seen)
    for name, (module, original) in seen.items():
        assert name == original
        room = importlib.import_module(module)
        assert getattr(js, name) is getattr(room, name), name


def test_a_star_brings_all_of_them():
    brought: dict = {}
    exec("from jaxsched import *", brought)
    assert {*MADE["public_names"](js), "ports", "schedules"} <= set(brought)


def test_importing_jaxsched_imports_nothing_else():
    """Not even jax: what that costs, and the garbage collection that its import leaves due, is for who uses it."""
    report = "import sys; before = set(sys.modules); import jaxsched; print(*(set(sys.modules) - before))"
    loaded = _python(report).split()
    assert [name for name in loaded if name.split(".")[0] == "jaxsched"] == ["jaxsched"]
    assert not {name for name in loaded if name.split(".")[0] in ("jax", "jaxlib", "optax", "numpy")}


def test_using_jaxsched_imports_no_more_than_jax_and_optax():
    """To train needs no package beside them, and nothing of what reports on a recipe."""
    use = "js.sgd, js.cosine, js.Recipe, js.ema, js.labels, js.plateau"
    report = f"import sys, jax, optax; before = set(sys.modules); import jaxsched as js; {use}; "
    loaded = _python(report + "print(*(set(sys.modules) - before))").split()
    foreign = {name.split(".")[0] for name in loaded} - {"jaxsched"}
    assert foreign <= sys.stdlib_module_names, foreign
    own = {name.split(".")[1] for name in loaded if name.startswith("jaxsched.")}
    assert not own & {"report", "ports", "cli", "_diff", "_json", "_plot"}, own


def _python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
