"""Errors of the command line: one line on stderr, exit status 2."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import typer

from jaxsched.checks import did_you_mean, one_line

LONGEST_ERROR = 600
"""Characters of an error: what a port shows of a user's values is short already."""
_MOST_BESIDE = 10_000
"""Files of a folder whose names are compared with one that does not exist."""


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Print an error as one line on stderr, and exit with status 2."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        said = str(error)
        if isinstance(error, OSError) and error.filename:
            said = f"{error.filename}: {error.strerror}{_beside(error)}"
        if not isinstance(error, OSError | ImportError | TypeError | ValueError):
            said = f"{type(error).__name__}: {said}; this is a bug in jaxsched: please report it with the file"
        line = one_line(re.sub(r"\s*\n\s*", "; ", said), LONGEST_ERROR)
        typer.echo(f"error: {line}", err=True)
        raise typer.Exit(2) from None


def _beside(error: OSError) -> str:
    """What to say of a file that does not exist: the name in its folder that is like it, or that there is no folder."""
    if not isinstance(error, FileNotFoundError):
        return ""
    path = Path(error.filename)
    if not path.parent.is_dir():
        return f"; there is no folder {one_line(str(path.parent))}"
    return did_you_mean(path.name, (one.name for one in itertools.islice(path.parent.iterdir(), _MOST_BESIDE)))
