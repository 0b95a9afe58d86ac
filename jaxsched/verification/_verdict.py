"""What a comparison came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

_MOST_NAMES = 4
"""Groups that are named in a line."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """The first row that is not reproduced.

    Attributes:
        row: The row, from 0, of those that are compared.
        clock: What the log calls it, such as ``"epoch 12"``.
        column: The column.
        group: The group of the recipe that is nearest.
        logged: The value as printed.
        ours: The recipe's value.
    """

    row: int
    clock: str
    column: str
    group: str
    logged: str
    ours: float

    def __str__(self) -> str:
        off = self.ours - float(self.logged)
        relative = f", {off / float(self.logged):+.3%}" if float(self.logged) else ""
        return f"{self.clock}: {self.column} is {self.logged}, the recipe's ({self.group}) {self.ours:.9g}{relative}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a recipe does what a run did.

    Attributes:
        log: The file.
        rows: Rows that were compared.
        reproduced: Rows of which every value is reproduced to the last printed digit.
        unit: What a row is: ``"epochs"`` or ``"rows"``.
        groups: For each column of the log the group of the recipe that it is.
        unseen: The groups of the recipe whose lr is in no column.
        found: What was solved for, or passed over.
        first: The first row that differs.
        reason: The likeliest reason for it.
        explained: Whether it is the reason for all rows that differ.
        steps: The step of each row in the recipe's clock.
        fits: Whether each row is reproduced.
        off: The mean relative difference of the learning rates, at most 1 a row.
    """

    log: str
    rows: int
    reproduced: int
    unit: str
    groups: Mapping[str, str]
    unseen: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    first: Difference | None = None
    reason: str | None = None
    explained: bool = False
    steps: tuple[int, ...] = dataclasses.field(default=(), repr=False)
    fits: tuple[bool, ...] = dataclasses.field(default=(), repr=False)
    off: float = dataclasses.field(default=0.0, repr=False)

    @property
    def ok(self) -> bool:
        """Whether all of it is reproduced."""
        return self.reproduced == self.rows

    def better(self, other: Verdict) -> bool:
        """Whether it reproduces more rows than the other; or as many, and says why not the rest; or comes nearer."""

        def rank(one: Verdict) -> tuple[Any, ...]:
            return one.reproduced, one.explained, one.reason is not None, -one.off

        return rank(self) > rank(other)

    def having(self, *found: str) -> Verdict:
        """The verdict, with what else was solved for."""
        return dataclasses.replace(self, found=(*found, *self.found))

    def __str__(self) -> str:
        lines = [f"{self.reproduced:,} of {self.rows:,} {self.unit} reproduced to the last printed digit"]
        lines += [f"  {text}" for text in self.found]
        if self.groups:
            lines.append("  " + ", ".join(f"{column} is {group}" for column, group in self.groups.items()))
        if self.unseen:
            more = f" and {len(self.unseen) - _MOST_NAMES} more groups" * (len(self.unseen) > _MOST_NAMES)
            lines.append(f"  not in the log: the lr of {', '.join(self.unseen[:_MOST_NAMES])}{more}")
        if self.first:
            lines.append(f"  first difference: {self.first}")
        if self.reason:
            lines.append(f"  likely: {self.reason}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain data."""
        content = dataclasses.asdict(self)
        del content["steps"], content["fits"], content["off"]
        return {"ok": self.ok, **content}
