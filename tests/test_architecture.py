"""The arrows between the rooms of the package; see docs/design.md. Imports inside functions count too."""

import ast
import sys
from pathlib import Path

import pytest

import jaxsched

ROOT = Path(jaxsched.__file__).parent
CORE = ("numerics", "checks", "groups", "schedules", "metric", "optimizers", "transforms", "recipe")
MAY_IMPORT = {room: set(CORE[:i]) for i, room in enumerate(CORE)} | {
    "schedules": {"numerics", "checks"},
    "ports": set(CORE),
    "report": set(CORE),
    "verification": {*CORE, "ports", "report"},
    "cli": {*CORE, "ports", "report", "verification"},
}
"""For each room the rooms that it may import from, itself apart."""
CORE_NEEDS = {"jax", "optax", "numpy"}


def module_name(path):
    return ".".join(("jaxsched", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(module):
    """The modules that a module imports, each with its line."""
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{FILES[module]}:{node.lineno}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in FILES else node.module), node.lineno


def room(module):
    name = module.split(".")[1] if "." in module else ""
    return "" if name == "__main__" else name


def is_inside(module, package):
    return module == package or module.startswith(f"{package}.")


def why_not(module, used):
    """Why a module may not import another, or None."""
    if used.split(".")[0] == "examples":
        return "the package does not know the examples"
    if not is_inside(used, "jaxsched"):
        foreign = used.split(".")[0]
        if room(module) in CORE and foreign not in CORE_NEEDS | sys.stdlib_module_names:
            return f"the core needs {', '.join(sorted(CORE_NEEDS))} alone"
        return None
    mine, other = room(module), room(used)
    if mine and other and mine != other and other not in MAY_IMPORT[mine]:
        return f"{mine} may import from {', '.join(sorted(MAY_IMPORT[mine])) or 'no room'}"
    package, _, name = used.rpartition(".")
    if name.startswith("_") and name != "__main__" and not is_inside(module, package):
        return f"a private module of {package}: use {package} or {package}.internal"
    if mine == other == "ports" and module != "jaxsched.ports" != used:
        ports = {module.split(".")[2], used.split(".")[2]}
        if len(ports) > 1 and used.split(".")[2] != "shared":
            return "no port imports another: what both need is in ports.shared"
    return None


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_what_it_may(module):
    wrong = [
        f"{FILES[module]}:{line}: {module} imports {used}: {why}"
        for used, line in imports(module)
        if (why := why_not(module, used))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other():
    graph = {
        module: {used for used, _ in imports(module) if used in FILES and used not in ("jaxsched", "jaxsched.ports")}
        for module in FILES
    }
    done, path = set(), []

    def visit(module):
        if module in done:
            return
        assert module not in path, "a circle: " + " -> ".join([*path[path.index(module) :], module])
        path.append(module)
        for used in sorted(graph[module] - {module}):
            visit(used)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def test_the_root_holds_no_private_module():
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}
