"""Sections of a Model Garden config, of which one field says which of the others holds."""

from __future__ import annotations

from typing import Any, Self

from jaxsched.checks import did_you_mean, short
from jaxsched.ports.shared import Settings


class Section(Settings):
    """A section whose field ``type`` names the one that counts."""

    def __init__(self, where: str, values: Any, defaults: Any = None):
        super().__init__(where, values, defaults)
        self.given = set(self.values)

    def chosen(self, known: dict[str, dict[str, Any]]) -> tuple[str, Self]:
        """The type and its own section; without a ``type`` the only one that is there.

        Args:
            known: The types, each with the defaults of its section.

        Raises:
            ValueError: If there is none, since it is then that of the experiment, or it is not ported.
        """
        there = [name for name, value in self.values.items() if name != "type" and value is not None]
        name = self.take("type", None)
        if name is None and len(there) == 1:
            name = there[0]
        if name is None:
            raise ValueError(
                f"{self.at('type')} is not in the file, but in its experiment; add it, or give the params.yaml "
                "that the run saved in its model_dir"
            )
        if not isinstance(name, str) or name not in known:
            hint = did_you_mean(name, known) if isinstance(name, str) else ""
            raise ValueError(f"{self.at('type')} must be one of {', '.join(known)}, got {short(name)}{hint}")
        inner = self.take(name, {})
        self.values = {other: value for other, value in self.values.items() if other not in known}
        self.check_spelling()
        return name, type(self)(self.at(name), {} if inner is None else inner, known[name])

    def left(self) -> list[str]:
        """The names of defaults that the file does not give."""
        return [f"{self.where.rpartition(': ')[2]}.{name}" for name in self.defaults if name not in self.given]
