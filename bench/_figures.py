"""Shares with their intervals, and probabilities held against what came true, from the rows of `gallery.py`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

Z = 1.959964
"""97.5th percentile of the normal distribution: intervals of 95 %."""
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Bins of probabilities. Finer towards 1, where most first causes are."""


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share of `hits` in `of`, both ends in 0..1. (E. B. Wilson, 1927: the score interval, which
    stays inside 0..1 and is honest for shares near 1.)"""
    if not of:
        return 0.0, 1.0
    share, spread = hits / of, Z * Z / of
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def rate_at_most(events: int, of: int) -> float:
    """Upper 95 % limit of a rate of rare events, per trial: 3 / n for none (the rule of three), else Wilson's upper end."""
    return 3.0 / of if not events and of else wilson(events, of)[1]


def shown(hits: int, of: int) -> str:
    """``"51 of 53, 96 % (87 to 99)"``."""
    if not of:
        return "none"
    low, high = wilson(hits, of)
    return f"{hits} of {of}, {100 * hits / of:.1f} % ({100 * low:.0f} to {100 * high:.0f})"


FIGURES = (
    ("step held or told, with the right symptom", "seen"), ("right line", "line"), ("right place to change", "place"),
    ("right first cause", "first"), ("right cause among the first three", "top3"), ("right sample", "samples"),
)


def figures(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(what, share with interval) over failing cases; a case that has no such answer is not counted for it."""
    found = []
    for what, key in FIGURES:
        answers = [row[key] for row in rows if row.get(key) is not None]
        found.append((what, shown(sum(answers), len(answers))))
    return found


def reliability(rows: Iterable[dict[str, Any]], edges: Sequence[float] = EDGES) -> list[tuple[str, str, str, str]]:
    """(bin, how many, their mean probability in %, how many of them were right): every cause of every ranking that was
    shown, with its probability, against whether it is the expected one."""
    table = []
    for low, high, inside in _bins(rows, edges):
        mean = sum(p for p, _ in inside) / len(inside)
        table.append((f"{low:g} to {high:g}", str(len(inside)), f"{100 * mean:.1f} %", shown(sum(r for _, r in inside), len(inside))))
    return table


def _bins(
    rows: Iterable[dict[str, Any]], edges: Sequence[float]
) -> list[tuple[float, float, list[tuple[float, bool]]]]:
    """(low, high, the pairs of probability and rightness between them) of the bins that hold any."""
    pairs = [(float(p), bool(right)) for row in rows for p, right in row.get("ranked") or ()]
    found = []
    for low, high in itertools.pairwise(edges):
        inside = [(p, right) for p, right in pairs if low <= p < high or (high == edges[-1] and p == high)]
        if inside:
            found.append((low, high, inside))
    return found


def calibration_error(rows: Iterable[dict[str, Any]], edges: Sequence[float] = EDGES) -> float:
    """Mean distance between probability and share of right ones over the bins, weighted by their counts (the expected
    calibration error)."""
    bins = [inside for _, _, inside in _bins(rows, edges)]
    apart = sum(abs(sum(p for p, _ in inside) - sum(right for _, right in inside)) for inside in bins)
    return apart / sum(map(len, bins)) if bins else 0.0
