"""The kind of a file, recognised by its content, and the recipe in it: a loop over the kinds that the ports declare."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsched import ports
from jaxsched.checks import one_line
from jaxsched.ports.shared import File, Kind, MissingError, in_time
from jaxsched.recipe import Recipe, cautions
from jaxsched.verification import read_log

LARGEST = 64 * 2**20
"""Bytes of a recipe's JSON, which may hold tables; settings have at most `ports.shared.LARGEST_FILE`."""
_MOST_FOLDERS = 1000
"""Paths at each level below a folder that are looked at for the folder of a run."""


@dataclasses.dataclass(frozen=True)
class Given:
    """What the command line says beside a file.

    Attributes:
        values: The options that are given, by name.
        kind: The kind of the file, by name; recognised by its content where None.
        strict: Whether a `caution` of the port is an error.
        lenient: Whether options that have no meaning for a file are passed over: several files share one command line.
    """

    values: Mapping[str, Any]
    kind: str | None = None
    strict: bool = False
    lenient: bool = False


def read(words: Sequence[str], given: Given) -> Recipe:
    """The recipe in a file, or in the words of a training script's command line.

    Args:
        words: A path (``-`` is standard input, a folder is that of a run), or a command line: several words, one like
            ``--lr=0.1``, or all of it as one string.
        given: What is said beside it.

    Raises:
        OSError: If the file cannot be read.
        TypeError, ValueError: If it is of no known kind, or a setting in it is wrong.
    """
    source: File | Mapping[str, Any]
    if len(words) > 1 or words[0].startswith("--") or (" --" in words[0] and not os.path.exists(words[0])):
        kind, settings = _command_line(words, given)
        source, where = settings, "the command line"
    else:
        kind, file = _file(Path(words[0]), given)
        source, where = file, file.name
    return _read(source, where, kind, given)


def read_file(file: File, kind: Kind, given: Given) -> Recipe:
    """`read`, of a file of a known kind."""
    return _read(file, file.name, kind, given)


@contextlib.contextmanager
def naming_options() -> Iterator[None]:
    """What is missing is named as the command line has it: ``--images``, not ``images=...``."""
    try:
        yield
    except MissingError as error:
        raise ValueError(error.message([flag(name) for name in error.names])) from None


def _read(source: File | Mapping[str, Any], where: str, kind: Kind, given: Given) -> Recipe:
    unknown = [name for name in given.values if name not in kind.options]
    if unknown and not given.lenient:
        raise ValueError(f"{where}: {flag(unknown[0])} has no meaning for {kind.title} ({kind.name})")
    options = {name: value for name, value in given.values.items() if name in kind.options}
    missing = [name for name, option in kind.options.items() if option.required and name not in options]
    assert kind.read is not None
    with naming_options():
        if missing:
            raise MissingError(where, f"{kind.title} does not say it", missing)
        recipe = kind.read(source, **options)
    if not given.lenient:
        _check_agreement(where, recipe, options)
    if given.strict and (found := cautions(recipe.notes)):
        raise ValueError(f"{found[0][1]} (--strict)")
    return recipe


def _check_agreement(where: str, recipe: Recipe, options: Mapping[str, Any]) -> None:
    said = {name: options.get(name) for name in ("steps_per_epoch", "batch_size")}
    if "epochs" in options and recipe.steps_per_epoch:
        said["steps"] = options["epochs"] * recipe.steps_per_epoch
    for name, value in said.items():
        if value is not None and value != getattr(recipe, name):
            raise ValueError(f"{where}: the recipe has {name} {getattr(recipe, name)}, the command line says {value}")


def _command_line(words: Sequence[str], given: Given) -> tuple[Kind, Mapping[str, Any]]:
    able = [kind for kind in kinds() if kind.command_line]
    names = " or ".join(kind.name for kind in able)
    if given.kind is None:
        raise ValueError(f"give one file, or say whose command line this is: --as {names}")
    kind = _by_name(given.kind)
    if kind.command_line is None:
        raise ValueError(f"{kind.title} has no command line to read; those of {names} have")
    return kind, kind.command_line(words)


def find(path: str, given: Given) -> tuple[Kind, File]:
    """The file at a path or in the folder of a run, and its kind.

    Raises:
        OSError, ValueError: As `read`.
    """
    return _file(Path(path), given)


def _file(path: Path, given: Given) -> tuple[Kind, File]:
    if path.is_dir():
        return _in_folder(path, given)
    file = File.read(path, largest=LARGEST)
    kind = _by_name(given.kind) if given.kind else recognise(file)
    if kind.read is None:
        raise ValueError(f"{file.name} is {kind.title}: {kind.refusal}")
    return kind, file


def _in_folder(folder: Path, given: Given) -> tuple[Kind, File]:
    able = [_by_name(given.kind)] if given.kind else [kind for kind in kinds() if kind.read]
    found = []
    for kind in able:
        for pattern in kind.in_folders:
            files = [File.read(path) for path in sorted(folder.glob(pattern), key=in_time) if path.is_file()]
            if fitting := [(kind, file) for file in files if given.kind or kind.fits(file)]:
                in_turn = len({file.path.parent for _, file in fitting}) == len(fitting)  # as those of checkpoints
                found += fitting[-1:] if in_turn else fitting
                break
    if len(found) == 1:
        return found[0]
    where = one_line(str(folder), 200)
    if len({kind.name for kind, _ in found}) > 1:
        several = " and ".join(f"{file.path.name} of {kind.name}" for kind, file in found)
        raise ValueError(f"{where} has {several}; say which with --as")
    if found:
        several = ", ".join(file.path.name for _, file in found[:5])
        raise ValueError(f"{where} has several files of {found[0][0].title} ({several}); give the file and --log")
    names = sorted({name for kind in able for name in kind.in_folders})
    if inside := _run_inside(folder, names):
        raise ValueError(f"{where}: the folder is not that of a run; one is in it: {one_line(str(inside), 200)}")
    raise ValueError(f"{where}: the folder has no file of a known kind ({', '.join(names)}); give the file")


def _run_inside(folder: Path, names: Sequence[str]) -> Path | None:
    """The last folder of a run, at most two levels below: ``runs/train/exp9`` of ``runs``."""
    below = (path for level in ("*", "*/*") for path in itertools.islice(folder.glob(level), _MOST_FOLDERS))
    runs = [path for path in below if any((path / name).is_file() for name in names)]
    return max(runs, key=in_time, default=None)


def recognise(file: File) -> Kind:
    """Which kind a file is of.

    Raises:
        ValueError: If it is of none, or of several.
    """
    refused = next((kind for kind in kinds() if kind.read is None and kind.fits(file)), None)
    if refused:
        return refused
    fitting = [kind for kind in kinds() if kind.fits(file)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(f"{file.name} may be {' or '.join(kind.title for kind in fitting)}; say which with --as")
    if _is_log(file):
        raise ValueError(f"{file.name} is the log of a run; give the file of settings, and to verify this as --log")
    is_program = file.path.suffix == ".py"
    if not is_program:
        file.content  # noqa: B018  (if it is neither YAML nor JSON, that is the error)
    names = [kind.name for kind in kinds() if kind.read]
    alike = [kind for kind in kinds() if kind.read and file.path.name in kind.in_folders]
    guess = f", such as --as {alike[0].name} for {alike[0].title}" if len(alike) == 1 else ""
    seen = "what it assigns" if is_program else f"its settings ({one_line(', '.join(sorted(file.names)), 120)})"
    raise ValueError(f"{file.name} is of no known kind, by {seen}; say which with --as{guess}: {', '.join(names)}")


def _is_log(file: File) -> bool:
    try:
        return read_log(file.path).rows > 0
    except (OSError, ValueError):
        return False


@functools.cache
def kinds() -> tuple[Kind, ...]:
    """All kinds of files: those of the ports, and recipes that were saved."""
    return (Kind("recipe", "a recipe's JSON", _is_recipe, _read_recipe), *ports.kinds())


def flag(option: str) -> str:
    """The option of the command line for an argument."""
    return "--" + option.replace("_", "-")


def _by_name(name: str) -> Kind:
    known = {kind.name: kind for kind in kinds() if kind.read}
    if name not in known:
        raise ValueError(f"--as must be one of {', '.join(known)}, got {one_line(repr(name))}")
    return known[name]


def _is_recipe(file: File) -> bool:
    return file.text.lstrip().startswith("{") and '"$recipe"' in file.text


def _read_recipe(
    file: File, *, steps_per_epoch: int | None = None, epochs: int | None = None, batch_size: int | None = None
) -> Recipe:
    """The recipe in its JSON.

    Args:
        file: The file.
        steps_per_epoch: Batches in an epoch.
        epochs: Epochs of the run.
        batch_size: Images in a batch, of all devices together.
    """
    recipe = Recipe.from_json(file.text)
    per_epoch = recipe.steps_per_epoch or steps_per_epoch
    if epochs is not None and per_epoch is None:
        raise MissingError(file.name, "it has no epochs", ["steps_per_epoch"])
    steps = None if epochs is None or per_epoch is None else epochs * per_epoch
    return recipe.replace(
        steps_per_epoch=per_epoch, steps=recipe.steps or steps, batch_size=recipe.batch_size or batch_size
    )
