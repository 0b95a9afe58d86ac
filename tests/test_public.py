"""Every public name has a docstring, and the root's names stand in its stub."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxsched as js

ROOMS = ("groups", "metric", "optimizers", "recipe", "report", "schedules", "transforms", "verification")


def public_names(module):
    """What a module offers: its names without an underscore that are defined in jaxsched and are no modules."""
    own = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return {
        name: value
        for name, value in own.items()
        if not inspect.ismodule(value) and str(getattr(value, "__module__", "")).startswith("jaxsched")
    }


ROOT = public_names(js)
MODULES = [getattr(js, room) for room in ROOMS] + [getattr(js.ports, port) for port in dir(js.ports)]
NAMES = {
    f"{module.__name__}.{name}": value
    for module in (js, *MODULES)
    for name, value in public_names(module).items()
    if value.__module__.startswith(module.__name__)
}


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring(name):
    doc = NAMES[name].__doc__
    assert doc, name
    assert len(doc) > 15, name


UNUSED = {"name"}
"""Arguments that have no effect: Keras' names of schedules."""


def _described(value):
    """The docstring of a function; of a class with those of its bases, which describe what they share."""
    found = value.__mro__ if inspect.isclass(value) else [value]
    return "\n".join(one.__doc__ or "" for one in found if getattr(one, "__module__", "").startswith("jaxsched"))


def _arguments(value):
    if inspect.isclass(value):
        fields = getattr(value, "_fields", None) or [
            field.name for field in getattr(value, "__dataclass_fields__", {}).values()
        ]
        return [name for name in fields if not name.startswith("_")]
    return [name for name in inspect.signature(value).parameters if name not in UNUSED]


def test_every_argument_is_described():
    """``help()`` of a public name says what each of its arguments or fields is."""
    missing = {
        name: [one for one in _arguments(value) if not re.search(rf"\b{one}\b", _described(value))]
        for name, value in NAMES.items()
        if callable(value)
    }
    assert {name: found for name, found in missing.items() if found} == {}


def test_what_people_call_has_an_example():
    """The root's names, and all functions of the ports."""
    called = [name for name, value in NAMES.items() if callable(value) and value in ROOT.values()]
    called += [
        name for name, value in NAMES.items() if name.startswith("jaxsched.ports.") and inspect.isfunction(value)
    ]
    assert len(called) > 100
    assert [name for name in called if ">>>" not in NAMES[name].__doc__] == []


def test_the_errors_that_a_function_raises_itself_are_described():
    def raises(value):
        return re.search(r"^ +raise ", inspect.getsource(value).split('"""')[-1], re.MULTILINE)

    functions = {name: value for name, value in NAMES.items() if inspect.isfunction(value)}
    assert [name for name, value in functions.items() if raises(value) and "Raises:" not in value.__doc__] == []


def test_there_are_no_names_with_two_meanings():
    """What jaxsched and jaxsched.schedules or .optimizers both export is one thing."""
    for package in (js.schedules, js.optimizers):
        for name in public_names(package):
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
    assert set(public_names(js)) <= set(seen)
    for name, (module, original) in seen.items():
        assert name == original
        room = importlib.import_module(module)
        assert getattr(js, name) is getattr(room, name), name


def test_a_star_brings_all_of_them():
    brought: dict = {}
    exec("from jaxsched import *", brought)
    assert {*public_names(js), "ports", "schedules"} <= set(brought)


def test_importing_jaxsched_imports_nothing_else():
    """Not even jax: what that costs, and the garbage collection that its import leaves due, is for who uses it."""
    report = "import sys; before = set(sys.modules); import jaxsched; print(*(set(sys.modules) - before))"
    loaded = _python(report).split()
    assert [name for name in loaded if name.split(".")[0] == "jaxsched"] == ["jaxsched"]
    assert not {name for name in loaded if name.split(".")[0] in ("jax", "jaxlib", "optax", "numpy")}


def test_using_jaxsched_imports_no_more_than_jax_and_optax():
    """To train needs no package beside them, and nothing of what reports on a recipe."""
    use = "js.sgd, js.cosine, js.Recipe, js.ema, js.groups.labels, js.plateau"
    report = f"import sys, jax, optax; before = set(sys.modules); import jaxsched as js; {use}; "
    loaded = _python(report + "print(*(set(sys.modules) - before))").split()
    foreign = {name.split(".")[0] for name in loaded} - {"jaxsched"}
    assert foreign <= sys.stdlib_module_names, foreign
    own = {name.split(".")[1] for name in loaded if name.startswith("jaxsched.")}
    assert not own & {"report", "ports", "cli", "_diff", "_json", "_plot"}, own


def _python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("AdamW", "; did you mean 'adamw'?"),
        ("OneCycleLR", "; it is jaxsched.ports.torch.OneCycleLR"),
        ("maximum", "; it is jaxsched.schedules.maximum"),
    ],
)
def test_the_error_for_a_missing_name_says_where_it_is(name, hint):
    with pytest.raises(AttributeError, match=f"has no attribute {name!r}" + re.escape(hint)):
        getattr(js, name)
