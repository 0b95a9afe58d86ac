"""The files that a port reads, and its options on the command line."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxsched.ports.shared._files import File
from jaxsched.ports.shared._numbers import as_count
from jaxsched.ports.shared._solve import Solution
from jaxsched.recipe import Recipe

_TYPES = (bool, int, float, str)
"""Types of arguments that a command line can give; the first that an annotation allows is used."""


class MissingError(ValueError):
    """A required value is missing from a file; names the arguments that give it.

    Args:
        where: The file.
        why: What is missing.
        names: The arguments that give it.
        joined: ``"and"`` if all of them are needed, ``"or"`` if one is enough.
    """

    def __init__(self, where: str, why: str, names: Sequence[str], joined: str = "and"):
        self.where, self.why, self.names, self.joined = where, why, tuple(names), joined
        super().__init__(self.message([f"{name}=..." for name in names]))

    def message(self, shown: Sequence[str]) -> str:
        """The message, with the arguments written as in Python or as on the command line."""
        return f"{self.where}: {self.why}; give {f' {self.joined} '.join(shown)}"


@dataclasses.dataclass(frozen=True)
class Option:
    """An argument of a port that the command line can give.

    Attributes:
        type: `bool`, `int`, `float` or `str`; `dict` for a mapping, which is given entry by entry.
        help: Its description in the port's docstring.
        required: Whether it has no default.
        literals: Whether the values of a mapping are Python's literals; else they are strings.
    """

    type: type
    help: str
    required: bool
    literals: bool = False


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file that a port reads.

    Attributes:
        name: The name that ``--as`` takes.
        title: A description of such a file, such as ``"a hyp.yaml of YOLOv5"``.
        fits: Returns whether a file is of this kind, by its content.
        read: Reads the recipe in a file. Its keyword-only arguments become options of the command line.
        in_folders: Names of such a file in the folder of a run.
        command_line: Parses the words of the original's command line into settings, if it has one.
        solve: Finds arguments of ``read`` that reproduce the log of a run, from a file and the log.
        mislabelled: Returns the columns that such a run logs under the name of a learning rate, and what they hold.
        refusal: What to do instead, for files that are recognised but not read.
    """

    name: str
    title: str
    fits: Callable[[File], bool]
    read: Callable[..., Recipe] | None = None
    in_folders: tuple[str, ...] = ()
    command_line: Callable[[Sequence[str]], Mapping[str, Any]] | None = None
    refusal: str | None = None
    solve: Callable[..., Iterator[Solution]] | None = None
    mislabelled: Callable[[File], Mapping[str, str]] | None = None

    @functools.cached_property
    def options(self) -> dict[str, Option]:
        """The options: those keyword-only arguments of ``read`` that are a number, string, truth value or mapping."""
        if self.read is None:
            return {}
        hints, docs = typing.get_type_hints(self.read), _argument_docs(inspect.getdoc(self.read) or "")
        options = {}
        for parameter in inspect.signature(self.read).parameters.values():
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                continue
            allowed = _members(hints[parameter.name])
            kind = next((known for known in _TYPES if known in allowed), None)
            mapping = next((one for one in allowed if typing.get_origin(one) is Mapping), None)
            if kind is not None or mapping is not None:
                required, text = parameter.default is inspect.Parameter.empty, docs.get(parameter.name, "")
                literals = mapping is not None and Any in typing.get_args(mapping)
                options[parameter.name] = Option(kind or dict, text, required, literals)
        return options


def epoch_length(
    where: str, steps_per_epoch: int | None, images: int | None, batch_size: int, *, drop_last: bool = False
) -> int:
    """Batches in an epoch, given as such or as the number of images.

    Args:
        where: What the settings are called in errors.
        steps_per_epoch: Batches in an epoch, if given.
        images: Images (examples) of the training set, if given.
        batch_size: Images in a batch, of all devices together.
        drop_last: Whether the source drops a last batch that is smaller.
    """
    if steps_per_epoch is not None:
        return as_count("steps_per_epoch", steps_per_epoch)
    if images is None:
        raise MissingError(where, "it does not say how long an epoch is", ("steps_per_epoch", "images"), "or")
    images = as_count("images", images)
    return max(images // batch_size, 1) if drop_last else -(-images // batch_size)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _argument_docs(text: str) -> dict[str, str]:
    """The first sentence on each argument in the section ``Args:`` of a docstring."""
    section = re.search(r"^Args:\n((?: .*\n|\n)*)", text + "\n", re.MULTILINE)
    found = re.findall(r"^    (\w+): ((?:.*\n)(?:     +.*\n)*)", section[1], re.MULTILINE) if section else []
    docs = {name: " ".join(words.split()) for name, words in found}
    return {name: re.split(r"(?<=[.;:])\s", words)[0].rstrip(".;:") + "." for name, words in docs.items()}
