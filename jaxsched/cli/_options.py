"""The options that all commands share: what the command line says beside a file."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from jaxsched.cli._source import Given

OPTIONS: dict[str, Any] = {
    "steps_per_epoch": Annotated[
        int | None, typer.Option("--steps-per-epoch", "-s", min=1, help="Batches in an epoch.")
    ],
    "epochs": Annotated[int | None, typer.Option("--epochs", "-e", min=1, help="Epochs, where the file does not say.")],
    "batch_size": Annotated[
        int | None, typer.Option("--batch-size", "-b", min=1, help="Images in a batch, all devices.")
    ],
    "images": Annotated[
        int | None,
        typer.Option(min=1, help="Images of the training set; with the batch size in place of steps per epoch."),
    ],
    "classes": Annotated[
        int | None, typer.Option(min=1, help="Classes of the data set (Ultralytics, optimizer=auto).")
    ],
    "optimizer": Annotated[str | None, typer.Option(help="SGD, Adam or AdamW (YOLOv5, Ultralytics).")],
    "cos_lr": Annotated[
        bool | None, typer.Option("--cos-lr", help="Half a cosine in place of a line (YOLOv5, Ultralytics).")
    ],
    "outputs": Annotated[
        str | None,
        typer.Option(
            help="Which axis of a kernel is the outputs, last (Flax; the default) or first (Ultralytics' MuSGD)."
        ),
    ],
}
"""For each field of `Given` its option."""


def options_for_given(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options in the place of its argument ``given``."""
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.annotation is not Given:
            parameters.append(parameter)
            continue
        parameters += [parameter.replace(name=name, annotation=of, default=None) for name, of in OPTIONS.items()]

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        given = Given(**{name: arguments.pop(name) for name in OPTIONS})
        command(**arguments, given=given)

    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options
