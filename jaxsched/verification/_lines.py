"""Rows of logs in plain text: one table of what each trainer prints."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

_HYPERPARAMETERS = ("lr", "momentum", "weight_decay")
_FIRST_OF_EACH = re.compile(r"([-+.\deE]+)(?:, [-+.\deE, ]*\))?")
"""A value of a list, or the first one of a tuple in it, as ``0.9`` of ``(0.9, 0.999)``."""


@dataclasses.dataclass(frozen=True)
class _Form:
    """The line that a trainer prints with its learning rate.

    Attributes:
        pattern: Its groups are ``lr`` and ``step``, or ``lr``, ``epoch``, ``iter`` and ``length`` (of an epoch); and
            ``momentum`` and ``weight_decay`` where they are printed, and ``skipped``, steps that do not count.
        first: The number of the first epoch.
        ahead: The step of the lr, less ``iter``.
        fixed: Whether values are printed with a fixed number of decimals; a number if only where all have so many.
    """

    pattern: re.Pattern[str]
    first: int = 0
    ahead: int = 0
    fixed: bool | int = False

    def decimals(self, matches: Sequence[re.Match[str]]) -> dict[str, int]:
        """The decimals that each hyperparameter is rounded to; without those that are printed in full."""
        result = {}
        for name in filter(self.pattern.groupindex.__contains__, _HYPERPARAMETERS):
            found = {len(match[name].partition(".")[2]) for match in matches if match[name]}
            if found and (self.fixed is True or (self.fixed and found == {self.fixed})):
                result[name] = max(found)
        return result

    def row(self, match: re.Match[str]) -> dict[str, str]:
        found = {name: text or "" for name, text in match.groupdict().items()}
        clock = {name: int(text[:18]) for name, text in found.items() if name not in _HYPERPARAMETERS}
        if "step" not in clock:
            clock["step"] = (clock["epoch"] - self.first) * clock["length"] + clock["iter"] + self.ahead
        row = {"step": str(clock["step"] - clock.get("skipped", 0))}
        for name in filter(found.__contains__, _HYPERPARAMETERS):
            values = _FIRST_OF_EACH.findall(found[name])
            row |= {name: values[0]} if len(values) == 1 else {f"{name}/{i}": value for i, value in enumerate(values)}
        return row


# What lies between is bounded in length, so that a line without end takes no more time than others.
_FORMS = (
    # YOLOX counts both from 1, and prints the lr of the next step.
    _Form(
        re.compile(
            r"\bepoch: (?P<epoch>\d+)/\d+, iter: (?P<iter>\d+)/(?P<length>\d+),[^\n]{0,400}?\blr: (?P<lr>[-+.\deE]+)"
        ),
        first=1,
    ),
    # Swin-Transformer counts from 0, and prints the lr of the next step.
    _Form(
        re.compile(
            r"\bTrain: \[(?P<epoch>\d+)/\d+\]\[(?P<iter>\d+)/(?P<length>\d+)\]\s{1,9}"
            r"eta [^\t\n]{0,99}?\blr (?P<lr>[.\d]+)(?:\s{1,9}wd (?P<weight_decay>[.\d]+))?"
        ),
        ahead=1,
        fixed=True,
    ),
    # pycls counts from 1, and prints the lr of the step that is over.
    _Form(
        re.compile(
            r'"_type": "train_iter", "epoch": "(?P<epoch>\d+)/\d+", "eta": "[^"\n]{0,99}", '
            r'"iter": "(?P<iter>\d+)/(?P<length>\d+)", "loss": [^,\n]{0,99}, "lr": (?P<lr>[.\d]+)'
        ),
        first=1,
        ahead=-1,
        fixed=True,
    ),
    # PaddleDetection counts from 0, and prints the lr of the step that is over.
    _Form(
        re.compile(r"\bEpoch: \[(?P<epoch>\d+)\] \[ *(?P<iter>\d+)/(?P<length>\d+)\] learning_rate: (?P<lr>[.\d]+)"),
        fixed=True,
    ),
    # torchvision's reference scripts count from 0, and print the lr of the step that is over; scripts that started from
    # them (DETR, DeiT, MAE) print it with six decimals.
    _Form(
        re.compile(
            r"\bEpoch: \[(?P<epoch>\d+)(?:/\d+)?\] {1,9}\[ {0,9}(?P<iter>\d+)/(?P<length>\d+)\] {1,9}"
            r"eta: [^\n]{0,400}? lr: (?P<lr>[-+.\deE]+)"
        ),
        fixed=6,
    ),
    # TensorFlow Object Detection prints the lr of the next step, some lines below, and each row twice.
    _Form(
        re.compile(
            r"\bStep (?P<step>\d+) per-step time [^{}]{0,250}\{[^{}]{0,4000}?'learning_rate': (?P<lr>[-+.\deE]+)\}"
        )
    ),
    # TensorFlow's Model Garden prints the lr of the next step, some lines below.
    _Form(
        re.compile(
            r"\btrain \| step: +(?P<step>\d+) \| steps/sec:[^{}]{0,250}\{[^{}]{0,4000}?"
            r"'learning_rate': (?P<lr>[-+.\deE]+)"
        )
    ),
    # DeepSpeed prints the lr of each group after the step-th update, and its momentum or betas; updates that float16
    # skipped count, and do not step the schedule.
    _Form(
        re.compile(
            r"\bstep=(?P<step>\d+), skipped=(?P<skipped>\d+), lr=\[(?P<lr>[-+.\deE, ]*)\]"
            r"(?:, mom=\[(?P<momentum>[-+.\deE, ()]*)\])?"
        )
    ),
    # Darknet prints the lr of the batch that is over.
    _Form(
        re.compile(r"^ *(?P<step>\d+): [^,\n]*, [^,\n]* avg(?: loss)?, (?P<lr>[.\d]+) rate,", re.MULTILINE),
        fixed=True,
    ),
)


def from_lines(text: str) -> tuple[list[dict[str, str]], dict[str, int], int | None]:
    """The rows of such a log, or none.

    Returns:
        The rows; the decimals that each hyperparameter is rounded to, without those that are printed in full; the
        steps of an epoch, None where the log does not print them.

    Examples:
        >>> from_lines("... - epoch: 2/300, iter: 10/925, mem: 9Mb, total_loss: 9.3, lr: 3.494e-05, size: 640, ETA: 1")
        ([{'step': '935', 'lr': '3.494e-05'}], {}, 925)
        >>> from_lines("INFO Train: [14/300][250/1251]\\teta 0:10:52 lr 0.000710\\ttime 0.64 (0.65)")
        ([{'step': '17765', 'lr': '0.000710'}], {'lr': 6}, 1251)
        >>> from_lines("INFO: Epoch: [0] [ 20/1929] learning_rate: 0.064000 loss: 2.6 eta: 2 days, 12:18:53")
        ([{'step': '20', 'lr': '0.064000'}], {'lr': 6}, 1929)
        >>> from_lines("Step 100 per-step time 0.2s\\n{'Loss/total_loss': 1.5,\\n 'learning_rate': 0.0319994}")
        ([{'step': '100', 'lr': '0.0319994'}], {}, None)
        >>> from_lines("[INFO] step=22, skipped=2, lr=[0.0001, 0.001], mom=[(0.9, 0.999), (0.9, 0.999)]")
        ([{'step': '20', 'lr/0': '0.0001', 'lr/1': '0.001', 'momentum/0': '0.9', 'momentum/1': '0.9'}], {}, None)
        >>> from_lines(" 12: 512.1, 600.2 avg loss, 0.000013 rate, 1.5 seconds, 768 images, 3.1 hours left")
        ([{'step': '12', 'lr': '0.000013'}], {'lr': 6}, None)
    """
    for form in _FORMS:
        matches = list(form.pattern.finditer(text))
        if not matches:
            continue
        lengths = {match["length"] for match in matches} if "length" in form.pattern.groupindex else set()
        return (
            [form.row(match) for match in matches],
            form.decimals(matches),
            int(lengths.pop()[:18]) if len(lengths) == 1 else None,
        )
    return [], {}, None
