"""``python -m examples.detector train | validate | detect | export``; ``--help`` lists the options of each."""

from __future__ import annotations

from typing import Annotated

import tyro

from examples.detector.detect import Detect, detect
from examples.detector.export import Export, export
from examples.detector.options import Options
from examples.detector.train import run_command
from examples.detector.validate import Validate, validate

COMMANDS = {Options: run_command, Validate: validate, Detect: detect, Export: export}


def main(arguments: list[str] | None = None) -> None:
    """The command line; errors in the input are printed as one line."""
    names = {Options: "train"}
    kinds = tuple(Annotated[kind, tyro.conf.subcommand(names.get(kind, kind.__name__.lower()))] for kind in COMMANDS)
    try:
        options = tyro.cli(  # type: ignore
            kinds[0] | kinds[1] | kinds[2] | kinds[3],
            prog="python -m examples.detector",
            description=__doc__,
            args=arguments,
        )
        COMMANDS[type(options)](options)  # type: ignore[operator]
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
