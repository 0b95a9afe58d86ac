"""The settings of a source: each is taken once, with a check; then the remaining ones are reported."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Self

from jaxsched.checks import one_line, short
from jaxsched.ports.shared._numbers import as_count, as_number, check_names, within
from jaxsched.recipe import caution

INFINITY = float("inf")
_REQUIRED: Any = object()
_TOUCHES_TEXT = "lr lrs learning warmup sched scheduler onecycle onecyclelr optim optimizer momentum wd decay"
_TOUCHES = set(_TOUCHES_TEXT.split())
"""A setting with one of these words in its name probably changes the schedule, ..."""
_TOUCHES_NOT = {"bn", "norm", "ema", "loss", "log", "logging", "eval", "dataset", "data"}
"""... but not with one of these."""


class Settings:
    """Settings with a name for errors, such as the path of their file.

    Each setting that affects the schedule is taken by a method that checks its type and range. Then call `finish` if
    every setting affects the schedule (a section such as ``SOLVER`` or ``lr_config``), `rest` if there are others too
    (an ``args.yaml``), or `check_spelling` if most are others (the sections of a file).

    Args:
        where: Their name in errors.
        values: The settings.
        defaults: Values of settings that ``values`` lacks; others are required, or taken with a default.

    Examples:
        >>> settings = Settings("args.yaml", dict(lr="1e-3", epoch=5, paste_in=0.1, model="s"), dict(lr=0.1, epochs=9))
        >>> settings.number("lr"), settings.count("epochs")
        (0.001, 9)
        >>> for note in settings.rest(aside=["model"]):
        ...     print(note)
        not part of a recipe: model
        caution misspelt-key: args.yaml: 'epoch' is not known, and left out; did you mean 'epochs'?
        caution unknown-key: args.yaml: not known, and left out: paste_in
    """

    def __init__(self, where: str, values: Any, defaults: Mapping[str, Any] | None = None):
        if not isinstance(values, Mapping):
            raise TypeError(f"{where} must hold names and values, got {short(values)}")
        self.where, self.values = where, dict(values)
        self.defaults = defaults or {}
        self.taken: list[str] = []
        self.absent: list[str] = []

    def at(self, name: str) -> str:
        """The name of a setting in errors."""
        return f"{self.where}: {name}"

    def read(self, where: str, value: Any) -> Any:
        """Convert a value of the source. A source with its own notation overrides this."""
        del where
        return value

    def as_number(self, where: str, value: Any) -> float:
        """Convert a value to a number; it may be a string."""
        return as_number(where, value)

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """Take the value of a setting, or ``default``, or the source's own default."""
        self.taken.append(name)
        if name in self.values:
            return self.read(self.at(name), self.values.pop(name))
        default = self.defaults.get(name, _REQUIRED) if default is _REQUIRED else default
        if default is _REQUIRED:
            near = [other for other in self.values if _misspelt(other, [name])]
            hint = f"; is {_shown(near[0])} meant for it?" if near else "; add it"
            raise ValueError(f"{self.where}: {name!r} is missing{hint}")
        self.absent.append(name)
        return default

    def number(
        self,
        name: str,
        default: Any = _REQUIRED,
        low: float = -INFINITY,
        high: float = INFINITY,
        *,
        or_none: bool = False,
    ) -> Any:
        """Take a number in [low, high]; None only if that is its default, or with ``or_none``."""
        value = self.take(name, default)
        if value is None and (or_none or default is None or self.defaults.get(name, _REQUIRED) is None):
            return None
        return within(self.at(name), self.as_number(self.at(name), value), low, high)

    def beta(self, name: str, default: Any = _REQUIRED) -> float:
        """A number in [0, 1), such as a beta or a momentum."""
        return within(self.at(name), self.number(name, default), 0.0, 1.0, open_end=True)

    def positive(self, name: str, default: Any = _REQUIRED, *, or_none: bool = False) -> Any:
        """Take a number above 0; None only with ``or_none``."""
        value = self.number(name, default, or_none=or_none)
        if value is not None and value <= 0:
            raise ValueError(
                f"{self.at(name)} must be positive{', or null for none' if or_none else ''}, got {short(value)}"
            )
        return value

    def numbers(self, name: str, default: Any = _REQUIRED) -> list[float]:
        value = self.take(name, default)
        if not isinstance(value, list | tuple):
            raise TypeError(f"{self.at(name)} must be a list of numbers, got {short(value)}")
        return [self.as_number(f"{self.at(name)}[{i}]", item) for i, item in enumerate(value)]

    def count(self, name: str, default: Any = _REQUIRED, least: int = 0) -> Any:
        """Take a whole number that is at least ``least``; None only if that is its default."""
        value = self.number(name, default)
        return value if value is None else as_count(self.at(name), value, least)

    def counts(self, name: str, default: Any = _REQUIRED, least: int = 1) -> list[int]:
        return [as_count(f"{self.at(name)}[{i}]", item, least) for i, item in enumerate(self.numbers(name, default))]

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise TypeError(f"{self.at(name)} must be true or false, got {short(value)}")
        return value

    def text(self, name: str, default: Any = _REQUIRED) -> str:
        value = self.take(name, default)
        if not isinstance(value, str):
            raise TypeError(f"{self.at(name)} must be a string, got {short(value)}")
        return value

    def choice(self, name: str, allowed: Iterable[Any], default: Any = _REQUIRED) -> Any:
        value = self.take(name, default)
        if value not in (allowed := tuple(allowed)):
            raise ValueError(f"{self.at(name)} must be one of {', '.join(map(repr, allowed))}, got {short(value)}")
        return value

    def section(self, name: str, default: Any = _REQUIRED) -> Self:
        """Take the settings nested at ``name``, with the defaults nested at ``name``."""
        inner = self.take(name, default)
        return type(self)(self.at(name), inner, self.defaults.get(name))

    def target(self, one: str, other: str, default: float | None = None) -> Callable[[float], float]:
        """A function from a base value to ``one``, or to the base times ``other``; exactly one must be given.

        With a default for ``one``, at most one.
        """
        values: tuple[Any, Any] = self.number(one, None), self.number(other, None)
        if values == (None, None) and default is not None:
            values = default, None
        if (values[0] is None) == (values[1] is None):
            got = f"{short(values[0])} and {short(values[1])}"
            raise ValueError(f"{self.where}: give exactly one of {one!r} and {other!r}, got {got}")
        absolute, ratio = values
        return lambda base: base * ratio if absolute is None else absolute

    def finish(self, known: Iterable[str] = ()) -> None:
        """Check that all settings were taken. ``known`` are further names for the hint.

        Raises:
            ValueError: If not; the error names the first such setting, and a known name that is similar.
        """
        if self.values:
            check_names(self.where, list(self.values), [*self.taken, *self.defaults, *known])

    def misspelt(self) -> dict[Any, str]:
        """The settings that were not taken and whose name is like that of one that was taken by default; with that."""
        near = {name: _misspelt(name, self.absent) for name in self.values}
        return {name: meant for name, meant in near.items() if meant}

    def check_spelling(self, inner: Mapping[str, Collection[str]] | None = None) -> None:
        """Check that no setting that was taken by default is there in another spelling, or beside its section.

        Args:
            inner: Sections, each with the names of its settings.

        Raises:
            ValueError: If one is, such as a section ``SOLVERS`` where ``SOLVER`` was taken, or ``BASE_LR`` beside it.
        """
        for section, names in (inner or {}).items():
            for name in self.values:
                if name in names:
                    raise ValueError(f"{self.at(name)} is beside {section}, which it belongs to; indent it there")
        for name, meant in self.misspelt().items():
            raise ValueError(f"{self.at(_shown(name))} is not known; did you mean {meant!r}? Rename or remove it")

    def rest(self, aside: Collection[str] = (), mixed: bool = False) -> list[str]:
        """Notes on the settings that were not taken, where some do not affect the schedule.

        One note lists those of ``aside``, which are known not to affect it. An unknown setting is left out with a
        `caution`, which `lint` reports and which names a similar setting. Empty settings (None, False, ``""``, empty
        lists) are not mentioned.

        Args:
            aside: Names that are known not to affect the schedule.
            mixed: Whether other settings of any name are to be expected, as in a file that has those of the model too:
                unknown ones are then listed without a caution.

        Raises:
            ValueError: If an unknown setting has no similar one, and its name suggests that it changes the schedule, as
                ``head_lr`` does.
        """
        left = [name for name, value in self.values.items() if not _says_nothing(value)]
        touching = list(dict.fromkeys([*self.taken, *self.defaults]))
        unknown = [name for name in left if name not in aside]
        notes = []
        known = [name for name in left if name in aside]
        plain = []
        for name in unknown:
            if meant := _misspelt(name, touching):
                notes.append(
                    caution(
                        "misspelt-key", f"{self.at(_shown(name))} is not known, and left out; did you mean {meant!r}?"
                    )
                )
            elif _touches(name):
                raise ValueError(
                    f"{self.at(_shown(name))} is not known, and its name says that it changes the schedule; remove it "
                    "if it does not"
                )
            else:
                plain.append(one_line(str(name)))
        if plain and mixed:
            known = [*known, *plain]
        elif plain:
            listed = ", ".join(plain[:_MOST_LISTED]) + (" and more" if len(plain) > _MOST_LISTED else "")
            notes.append(caution("unknown-key", f"{self.where}: not known, and left out: {listed}"))
        return [f"not part of a recipe: {', '.join(map(str, known))}", *notes] if known else notes


_MOST_LISTED = 40


def _shown(name: Any) -> str:
    return one_line(repr(name))


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str | list | tuple | dict) and not value)


def _misspelt(name: Any, known: Collection[str]) -> str | None:
    """The known name that differs from ``name`` by a letter or two: ``lrO``, ``warmup_epoch``. Not ``head_lr0``."""
    if not isinstance(name, str):
        return None
    near = {_folded(other): other for other in known if abs(len(other) - len(name)) <= 2}
    close = difflib.get_close_matches(_folded(name), near, n=1, cutoff=0.66)
    return near[close[0]] if close and _letters_apart(_folded(name), close[0]) <= 2 else None


def _letters_apart(one: str, other: str) -> int:
    """The letters of the longer name that are not in the other, in order: 1 of ``lr0`` and ``lr``."""
    blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return max(len(one), len(other)) - sum(block.size for block in blocks)


def _folded(name: str) -> str:
    """A name with similar characters replaced, so that ``lrO`` equals ``lr0``."""
    return name.lower().translate(str.maketrans("ol-", "01_"))


def _touches(name: Any) -> bool:
    words = set(re.split(r"[^a-z]+", str(name)[:100].lower()))
    return bool(words & _TOUCHES) and not words & _TOUCHES_NOT
