"""Solving for settings that the files of a run lack, from the learning rates in its log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsched.ports.shared._yolo import Loop

LONGEST_EPOCH = 100_000
"""Longest epoch, in batches, that is tried."""
_ROWS_AT_FIRST = 8
"""Rows that all lengths are tried on; the other rows are tried only on the lengths that fit these."""


class Observed(NamedTuple):
    """Learning rates at the last step of epochs, as a log prints them.

    Attributes:
        epochs: The epoch of each row, from 0; [rows].
        low: The smallest value that rounds to the printed digits; [columns, rows].
        high: The largest such value.
    """

    epochs: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Solution(NamedTuple):
    """Arguments of a port with which its recipe reproduces the log.

    Attributes:
        options: The arguments.
        said: What was found, in words.
    """

    options: dict[str, Any]
    said: tuple[str, ...]


def lengths_that_fit(
    loop_of: Callable[[Any], Loop], observed: Observed, peaks: Sequence[float], starts: Sequence[float]
) -> np.ndarray:
    """The lengths of an epoch with which each column is the lr of some group.

    Args:
        loop_of: The loop with epochs of a length, or of an array of lengths.
        observed: The log.
        peaks: The peaks that groups have.
        starts: Where the warm-up of groups begins.
    """
    lengths = np.arange(1, LONGEST_EPOCH + 1)
    observed = _distinct(observed)
    rows = _telling(observed)
    for some in (rows[:_ROWS_AT_FIRST], rows[_ROWS_AT_FIRST:]):
        for column in range(len(observed.low)):
            fits = np.zeros(len(lengths), bool)
            for peak in peaks:
                for start in starts:
                    fits |= _fits(loop_of, lengths, observed, column, some, peak, start)
            lengths = lengths[fits]
    return lengths


def _distinct(observed: Observed) -> Observed:
    """The log without columns that repeat another one: groups often have the same lr."""
    _, kept = np.unique(observed.low, axis=0, return_index=True)
    return observed._replace(low=observed.low[np.sort(kept)], high=observed.high[np.sort(kept)])


def _fits(
    loop_of: Callable[[Any], Loop],
    lengths: np.ndarray,
    observed: Observed,
    column: int,
    rows: np.ndarray,
    peak: float,
    start: float,
) -> np.ndarray:
    good = np.arange(len(lengths))
    for row in rows:  # only lengths that fit this row are tried on the next
        if not len(good):
            break
        nb = lengths[good]
        lr = loop_of(nb).lr_at((observed.epochs[row] + 1) * nb - 1, start, peak)
        good = good[(lr >= observed.low[column, row]) & (lr <= observed.high[column, row])]
    found = np.zeros(len(lengths), bool)
    found[good] = True
    return found


def peaks_that_fit(loop_of: Callable[[Any], Loop], observed: Observed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lengths of an epoch, and for each the least and the greatest peak, where all groups warm up from 0."""
    lengths = np.arange(1, LONGEST_EPOCH + 1)
    low, high = np.zeros(len(lengths)), np.full(len(lengths), np.inf)
    for row in _telling(observed):
        ratio = loop_of(lengths).lr_at((observed.epochs[row] + 1) * lengths - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            low = np.fmax(low, observed.low[:, row].max() / ratio)
            high = np.fmin(high, observed.high[:, row].min() / ratio)
        kept = low <= high
        lengths, low, high = lengths[kept], low[kept], high[kept]
    return lengths, low, high


def _telling(observed: Observed) -> np.ndarray:
    """The rows in an order that rules out lengths early: warm-up first, then from the last backwards."""
    count = len(observed.epochs)
    first = np.arange(min(4, count))
    others = np.arange(len(first), count)
    return np.concatenate([first, others[::-1]])


def told(lengths: Sequence[int]) -> str:
    """``"steps per epoch 673 (672 and 674 do not fit)"``, or how many others fit."""
    return ends(lengths)[0][1]


def ends(lengths: Sequence[int]) -> list[tuple[int, str]]:
    """The shortest and the longest epoch that fit, and in words how many others do."""
    first, last, others = int(lengths[0]), int(lengths[-1]), len(lengths) - 1
    if not others:
        beside = f"{first - 1} and {first + 1} do" if first > 1 else "2 does"
        return [(first, f"steps per epoch {first} ({beside} not fit)")]
    also = f"also {others:,} others fit" if others > 1 else "also 1 other fits"
    return [
        (first, f"steps per epoch {first} ({also}, up to {last:,})"),
        (last, f"steps per epoch {last} ({also}, down to {first:,})"),
    ]
