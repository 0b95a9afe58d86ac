"""The settings in one dict of a config."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.ports.openmmlab.config import require
from jaxsched.ports.shared import check_names
from jaxsched.recipe import caution


class Settings(shared.Settings):
    """A dict of settings under a name for errors, such as ``lr_config``.

    In a config a string is a string, and a value that only running the file could give is an error where it is taken.

    Examples:
        >>> settings = Settings("lr_config", dict(gamma=0.5, stepp=3))
        >>> settings.number("gamma")
        0.5
        >>> settings.finish(["step"])
        Traceback (most recent call last):
        ValueError: lr_config: 'stepp' is not known; did you mean 'step'?
    """

    def __init__(self, where: str, values: Any, defaults: Mapping[str, Any] | None = None):
        if isinstance(values, shared.Unknown):
            require(values, where)
        super().__init__(where, values, defaults)

    def read(self, where: str, value: Any) -> Any:
        return _bounded(where, require(value, where))

    def as_number(self, where: str, value: Any) -> float:
        if isinstance(value, str):
            raise TypeError(f"{where} must be a number, got the string {short(value)}")
        return shared.as_number(where, value)

    def flag(self, name: str, default: Any = False) -> bool:
        return super().flag(name, default)

    def for_all_groups(self, name: str, default: Any = ...) -> float:
        """A number, or a list with the same number for each of torch's groups.

        The originals' default constructors make one group of all parameters, or with ``paramwise_cfg`` one of each.
        """
        value = self.take(name) if default is ... else self.take(name, default)
        if isinstance(value, list | tuple) and value:
            if any(one != value[0] for one in value):
                raise ValueError(
                    f"{self.at(name)} differs between the groups of the original: without paramwise_cfg it has one, "
                    "with it one for each parameter in the order of the model, which a config does not tell. Write "
                    "one number, and give the others with recipe.replace(groups=...)"
                )
            value = value[0]
        return self.as_number(self.at(name), value)

    def name(self, name: str, default: Any) -> Any:
        """The name of a class, without its scope: ``"mmengine.OptimWrapper"`` is ``"OptimWrapper"``."""
        return bare(self.take(name, default))

    def ignored(self, known: Collection[str] = (), meant: Mapping[str, str] = MappingProxyType({})) -> list[str]:
        """A caution on each setting that is left, where the original ignores what it does not know.

        Args:
            known: Names that are known, beside those that were taken.
            meant: The name that is meant by a wrong one, where it is not the most similar.
        """
        notes = []
        for name in list(self.values):
            known_here = [meant[name]] if name in meant else [*self.taken, *known]
            try:
                check_names(self.where, [name], known_here)
            except ValueError as error:
                notes.append(caution("unknown-key", f"{error}; ignored, as the original does"))
            del self.values[name]
        return notes


_OLD = ("optimizer_config", "lr_config", "momentum_config", "runner")
_NEW = ("param_scheduler", "train_cfg", "auto_scale_lr")
_ALIKE = ("log_config", "test_cfg", "val_cfg")
"""Sections whose names are like those of others."""


def misspelt_sections(config: Mapping[str, Any], new: bool) -> list[str]:
    """A caution on each name of a config that is like that of a section which is not there."""
    sections = shared.Settings("the config", {name: None for name in config if name not in _ALIKE})
    for name in _NEW if new else _OLD:
        sections.take(name, None)
    return [
        caution("misspelt-key", f"{short(name)} is not known, and left out; did you mean {meant!r}?")
        for name, meant in sections.misspelt().items()
    ]


def bare(name: Any) -> Any:
    """A name without its scope; anything else as it is."""
    return name.rpartition(".")[2] if isinstance(name, str) else name


def _bounded(where: str, value: Any) -> Any:
    """``value``, unless an int in it is too large for a float."""
    for item in value if isinstance(value, list | tuple) else (value,):
        if isinstance(item, int) and item.bit_length() > 1023:
            raise ValueError(f"{where} holds a number that is too large for a float")
    return value
