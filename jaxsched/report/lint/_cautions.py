"""What a port could not be sure of, and noted as a caution."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jaxsched.recipe import cautions
from jaxsched.report._sample import Sample
from jaxsched.report.lint._finding import Finding, Severity

_CODES: dict[str, tuple[Severity, str]] = {
    "misspelt-key": ("warning", "Correct the name if it is misspelt; otherwise remove it."),
    "freeze": ("warning", "Give the frozen parameters a group of their own that is None."),
    "warmup-floor": ("remark", "That release does so; later releases of Ultralytics have no minimum warm-up."),
    "ignored-lr": ("warning", "Name the optimizer, so that lr0 counts, or leave lr0 out."),
    "lr-of-batch": ("warning", "Scale BASE_LR with the batch, or gather gradients."),
    "version-open": ("warning", "Say which release trained: version=..., or --version."),
    "unknown-project": (
        "warning",
        "Give the project's groups by recipe.replace(rules=..., groups=...).",
    ),
    "other-model": ("warning", "Compare groups and defaults with the code that trained it."),
    "never-acts": ("warning", "Count its lengths in iterations (by_epoch=False), or take it out."),
    "left-out": ("warning", "Add what it does to the training, or take it out."),
    "repeated-key": ("warning", "Remove all but the last."),
    "unread-hook": ("warning", "Add what it does to the recipe, or remove it."),
    "unknown-loop": ("warning", "Compare the length of the run with that of the original."),
    "other-generation": ("warning", "Translate these settings to mmengine's, or remove them."),
    "no-lr": ("remark", "Set it if torch's default is not intended."),
    "unknown-key": ("remark", "Make sure that they do not change the schedule."),
}
"""For each code of a `caution` how severe it is, and the remedy."""


def _cautions(seen: Sample) -> Iterator[Finding]:
    for code, text in cautions(seen.recipe.notes):
        severity, remedy = _CODES.get(code, ("warning", "See the documentation of the port."))
        yield Finding(code, severity, text, remedy)


RULES: dict[str, Callable[[Sample], Iterator[Finding]]] = dict.fromkeys(_CODES, _cautions)
