"""The options that all commands share: what the ports say that the command line can give beside a file."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from jaxsched.checks import one_line
from jaxsched.cli._source import Given, flag, kinds

LONGEST_LITERAL = 10_000
"""Characters of a value that is parsed as Python's literal."""
_SHORT = {"steps_per_epoch": "-s", "epochs": "-e", "batch_size": "-b"}


def options() -> dict[str, Any]:
    """For each option of any kind of file its annotation: its type, its help, and which kinds have it."""
    readable = [kind for kind in kinds() if kind.read]
    names = list(dict.fromkeys(name for kind in readable for name in kind.options))
    found: dict[str, Any] = {}
    for name in names:
        having = [kind for kind in readable if name in kind.options]
        option = having[0].options[name]
        text = next((kind.options[name].help for kind in having if kind.options[name].help), "")
        whose = "" if len(having) == len(readable) else f" ({', '.join(kind.name for kind in having)})"
        extra: dict[str, Any] = {"min": 1} if option.type is int else {}
        declared = (flag(name), *([_SHORT[name]] if name in _SHORT else []))
        annotation: Any = option.type
        if option.type is dict:
            annotation, extra = list[str], {"metavar": "NAME=VALUE"}
            declared = (flag(name), *([flag(name[:-1])] if name.endswith("s") else []))
        help_ = re.sub(r"``(.+?)``", lambda match: flag(match[1]) if match[1] in names else match[1], text) + whose
        found[name] = Annotated[annotation | None, typer.Option(*declared, help=help_, show_default=False, **extra)]
    return found


def _literals() -> dict[str, bool]:
    """For each option that is a mapping whether its values are literals."""
    found = (item for kind in kinds() for item in kind.options.items())
    return {name: option.literals for name, option in found if option.type is dict}


def _mapping(name: str, entries: list[str], literals: bool) -> dict[str, Any]:
    """``["a=1", "b.c=x"]`` as ``{"a": 1, "b.c": "x"}``: a value that is not a literal is a string."""
    result: dict[str, Any] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, got {one_line(repr(entry))}", param_hint=flag(name))
        result[key] = value
        if literals and len(value) < LONGEST_LITERAL:
            with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                result[key] = ast.literal_eval(value)
    return result


def _common() -> dict[str, Any]:
    names = ", ".join(kind.name for kind in kinds() if kind.read)
    return {
        "kind": Annotated[
            str | None,
            typer.Option(
                "--as",
                metavar="KIND",
                help=f"What the file is, if it is not recognised by its content: {names}.",
                autocompletion=lambda: names.split(", "),
            ),
        ],
        "strict": Annotated[
            bool, typer.Option("--strict", help="An unknown setting in the file is an error, not a note.")
        ],
    }


def options_for_given(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options in the place of its argument ``given``."""
    signature = inspect.signature(command, eval_str=True)
    ours, common, literals = options(), _common(), _literals()
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.annotation is not Given:
            parameters.append(parameter)
            continue
        for name, annotation in {**ours, **common}.items():
            default = False if name == "strict" else None
            parameters.append(parameter.replace(name=name, annotation=annotation, default=default))

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        values = {name: value for name in ours if (value := arguments.pop(name)) not in (None, [])}
        for name in literals.keys() & values.keys():
            values[name] = _mapping(name, values[name], literals[name])
        given = Given(values, arguments.pop("kind"), arguments.pop("strict"))
        command(**arguments, given=given)

    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options
