"""A series of readings as one line of bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stayfinite.records.numbers import Number, is_finite, to_float


def sparkline(values: Sequence[Number], levels: str, bad: str) -> str:
    """`values`, one sign each; `bad` for a non-finite one.

    Heights are linear between the smallest and the largest finite value, and logarithmic where all are positive
    and span more than three decades, so that a divergence does not flatten everything before it.
    """
    finite = [to_float(value) for value in values if is_finite(value)]
    if not finite:
        return bad * len(values)
    low, high = min(finite), max(finite)
    logarithmic = low > 0.0 and high / low > 1e3

    def height(value: float) -> float:
        return math.log(value) if logarithmic else value * 0.5  # halved: the span of a format does not fit into it

    bottom, span = height(low), height(high) - height(low)
    signs = []
    for value in values:
        if not is_finite(value):
            signs.append(bad)
        elif span <= 0.0 or not math.isfinite(span):
            signs.append(levels[len(levels) // 2])
        else:
            part = (height(to_float(value)) - bottom) / span
            signs.append(levels[min(len(levels) - 1, int(part * len(levels)))])
    return "".join(signs)
