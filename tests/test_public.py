"""Every public name has a docstring and stands in the reference."""

import runpy
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
