"""A series of readings as one line of bars, or two of them to one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stayfinite.records.numbers import Number, is_finite, to_float
from stayfinite.reporters.document import Series, TrialReport


def sparkline(values: Sequence[Number], levels: str, bad: str, *, also: Sequence[Number] = ()) -> str:
    """`values`, one sign each; `bad` for a non-finite one. `also`: the values of another line, drawn to the same scale.

    Heights are linear between the smallest and the largest finite value, and logarithmic where all are positive
    and span more than three decades, so that a divergence does not flatten everything before it.
    """
    finite = [to_float(value) for value in (*values, *also) if is_finite(value)]
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


def over(readings: Mapping[int, Number], first: int, last: int, room: int) -> list[Number]:
    """`readings` (step to value) of the steps `first` to `last` in at most `room` values: of the steps that share a place the last
    one, or a non-finite one; a place without any repeats the one before. Ends with the last reading."""
    width = max(1, -(-(last - first + 1) // room))
    places: dict[int, Number] = {}
    for step in sorted(step for step in readings if first <= step <= last):
        place = (step - first) // width
        if place not in places or is_finite(places[place]):
            places[place] = readings[step]
    drawn: list[Number] = []
    for place in range(max(places, default=-1) + 1):
        drawn.append(places.get(place, drawn[-1] if drawn else places[min(places)]))
    return drawn


def beside(trial: TrialReport, failed: Series, room: int) -> tuple[list[Number], list[Number]] | None:
    """The losses of `trial` and those of the run that failed, over the same steps: equal places are equal steps. ``None`` if
    there are none to compare."""
    before = dict(zip(failed.steps, failed.values, strict=True))
    after = {place * trial.stride: value for place, value in enumerate(trial.losses[:-1])}
    if not before or not after:
        return None
    after[max(trial.steps - 1, max(after) + 1)] = trial.losses[-1]
    first, last = min(before), max(*after, *before)
    pair = over(after, first, last, room), over(before, first, last, room)
    return pair if all(pair) else None
