"""What `lint` finds."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable
from typing import Literal

from jaxsched.report._html import findings_html

Severity = Literal["error", "warning", "remark"]
MOST_OF_A_CODE = 20
"""Findings of one code that are listed."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "remark")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that looks wrong (or, as a remark, that is good to know).

    Attributes:
        code: Which rule found it, such as ``"milestone-past-end"``; docs/lint.md lists them.
        severity: ``"error"``: this run cannot be what was meant. ``"warning"``: probably a mistake. ``"remark"``: true,
            and often meant.
        message: What was found, with the numbers.
        remedy: What to change if it is not intended.
        groups: The groups of parameters it concerns; none for the recipe as a whole.
    """

    code: str
    severity: Severity
    message: str
    remedy: str
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        about = f" ({self.where})" if self.groups else ""
        return f"{self.severity} {self.code}{about}: {self.message}\n  {self.remedy}"

    @property
    def where(self) -> str:
        """The first few of its groups, as text."""
        more = f" and {len(self.groups) - 4} more groups" if len(self.groups) > 4 else ""
        return ", ".join(self.groups[:4]) + more


class Findings(tuple[Finding, ...]):
    """A tuple of `Finding`, the worst first, that prints; empty, and so false, if there is nothing."""

    __slots__ = ()

    def count(self, severity: object) -> int:
        """The number of findings of a severity."""
        return sum(finding.severity == severity for finding in self)

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.count("error")

    def __str__(self) -> str:
        return "\n".join(map(str, self)) if self else "nothing found"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return findings_html(self)


def merged(found: Iterable[Finding]) -> Findings:
    """The findings, worst first; those that say the same of several groups are one, and further ones of a code are cut.

    The last finding that is kept of a code says so.
    """
    groups: dict[Finding, dict[str, None]] = {}
    for finding in found:
        groups.setdefault(dataclasses.replace(finding, groups=()), {}).update(dict.fromkeys(finding.groups))
    result: list[Finding] = []
    counts = collections.Counter(finding.code for finding in groups)
    kept: collections.Counter[str] = collections.Counter()
    for finding, names in groups.items():
        kept[finding.code] += 1
        if kept[finding.code] < MOST_OF_A_CODE or counts[finding.code] == MOST_OF_A_CODE:
            result.append(dataclasses.replace(finding, groups=tuple(names)))
        elif kept[finding.code] == MOST_OF_A_CODE:
            more = f"{finding.message}; there are more such findings, which are not listed"
            result.append(dataclasses.replace(finding, groups=tuple(names), message=more))
    return Findings(sorted(result, key=lambda finding: SEVERITIES.index(finding.severity)))
