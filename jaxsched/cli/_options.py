"""The options that all commands share: what the ports say that the command line can give beside a file."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from jaxsched.cli._source import Given, flag, kinds

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
        help_ = re.sub(r"``(.+?)``", lambda match: flag(match[1]) if match[1] in names else match[1], text) + whose
        found[name] = Annotated[option.type | None, typer.Option(*declared, help=help_, show_default=False, **extra)]
    return found


def _common() -> dict[str, Any]:
    names = ", ".join(kind.name for kind in kinds() if kind.read)
    return {
        "kind": Annotated[
            str | None,
            typer.Option(
                "--as",
                metavar="KIND",
                help=f"What the file is, if not told by its content: {names}.",
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
    ours, common = options(), _common()
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
        values = {name: value for name in ours if (value := arguments.pop(name)) is not None}
        given = Given(values, arguments.pop("kind"), arguments.pop("strict"))
        command(**arguments, given=given)

    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options
