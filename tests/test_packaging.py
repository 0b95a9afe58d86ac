"""What a packager gets, and what a program may not do to the process that it runs in."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_source_distribution_is_the_package_and_small():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = [ROOT / name.strip("/") for name in content["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]]
    assert {path.name for path in included} == {"jaxsched", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"}
    assert all(path.exists() for path in included)
    files = [file for path in included for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    files = [file for file in files if "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files) < 3e6  # it was 12 MB with tests and recorded runs
    assert (ROOT / "jaxsched" / "__init__.pyi") in files


def test_the_lower_bounds_are_said_and_tested_at():
    lines = (ROOT / "tests" / "lower_bounds.txt").read_text(encoding="utf-8").split()
    oldest = dict(line.split("==") for line in lines)
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = dict(dependency.split(">=") for dependency in content["project"]["dependencies"])
    start = " ".join((ROOT / "docs" / "start.md").read_text(encoding="utf-8").split())
    for name, version in needed.items():
        assert oldest[name].startswith(version)
        assert f"{name} {oldest[name]}" in start
    assert f"Flax {oldest['flax']}." in start


def test_no_program_replaces_the_process_that_it_runs_in():
    """Running itself anew for another allocator lost a notebook's kernel and what was piped in."""
    for path in [*(ROOT / "examples").rglob("*.py"), *(ROOT / "jaxsched").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert not (
                    node.attr.startswith(("exec", "spawn", "posix_spawn")) and ast.unparse(node.value) == "os"
                ), path


def test_the_extras_that_errors_name_exist():
    """``extra("yaml", "yaml")`` says to install ``jaxsched[yaml]``: it exists, and the page on installing lists it."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    start = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    named = set()
    for path in sorted((ROOT / "jaxsched").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "extra":
                named.add(ast.literal_eval(node.args[1]))
    assert named
    assert named <= set(extras)
    assert [name for name in named if f"| `{name}` |" not in start] == []
