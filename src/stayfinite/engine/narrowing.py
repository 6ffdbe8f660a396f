"""Is it the data, the network or the numbers? The bisection of the field, on the held step.

Where no cause could be confirmed, the step is made simpler until it passes: with half of its samples, a quarter, one; with
weights that are drawn anew; in a wider format. What it still fails with says where to look, whatever the cause is called.
"""

from __future__ import annotations

import time
from collections.abc import Generator

from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.records.diagnosis import Diagnosis, Experiment
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Intervention, Precision, Rows, State

REPLAYS = 14
"""Repetitions at most: halving a batch of 64 down to one sample takes twelve."""

Narrowing = Generator[ReplayRequest, Outcome, tuple[Experiment, ...]]


def narrow(case: Case, diagnosis: Diagnosis, *, budget: float, replays: int) -> Narrowing:
    """What the held step of `case` still fails with, in words a report can show; nothing if a cause was confirmed.

    **Arguments**: `budget`: seconds; `replays`: repetitions at most.
    """
    if case.replay.not_tested is not None or not case.replay.agreed or any(one.verdict == "confirmed" for one in diagnosis.hypotheses):
        return ()
    desk = _Desk(budget, min(replays, REPLAYS))
    found: list[Experiment] = []
    for change, passes, fails in (
        (State("parameters", "redrawn"), "it takes these weights: look at what brought them there",
         "the weights do not matter: look at the data and at the operation"),
        (Precision("float64"), "it takes this format: look at magnitudes", "the format does not matter"),
    ):
        failed = yield from desk.fails(change)
        if failed is not None:
            found.append(desk.told(change.told, failed, fails if failed else passes))
    size = case.trace.batch_size or case.batch_size
    if size is not None and size > 1:
        found += yield from _samples(size, desk)
    return tuple(found)


class _Desk:
    """Counts repetitions and time."""

    def __init__(self, budget: float, replays: int) -> None:
        self._until = time.monotonic() + budget
        self._left = replays
        self._seconds = 0.0
        self._count = 0

    def fails(self, change: Intervention) -> Generator[ReplayRequest, Outcome, bool | None]:
        """Whether the step fails with `change`; ``None`` if that cannot be said."""
        if self._left < 1 or time.monotonic() > self._until:
            return None
        self._left -= 1
        self._count += 1
        outcome = yield ReplayRequest("experiment", change)
        self._seconds += outcome.seconds
        effect = outcome.effect
        if outcome.unrepeatable is not None or effect is None or effect.refused or not effect.applied:
            return None
        return outcome.failed

    def told(self, change: str, failed: bool, note: str) -> Experiment:
        """A line of the report; it takes over the replays since the last one."""
        count, seconds, self._count, self._seconds = self._count, self._seconds, 0, 0.0
        return Experiment(
            change=change, outcome="fails" if failed else "finite", control="fails", placebo="", seconds=seconds, note=note, replays=count,
        )


def _samples(size: int, desk: _Desk) -> Generator[ReplayRequest, Outcome, list[Experiment]]:
    """The smallest half of a half with which the step still fails."""
    rows = list(range(size))
    first = True
    while len(rows) > 1:
        middle = len(rows) // 2
        halves = rows[:middle], rows[middle:]
        failing = []
        for half in halves:
            failed = yield from desk.fails(_only(half, size))
            if failed is None:
                return [] if first else [desk.told(_among(rows), True, "the batch could not be halved further")]
            if failed:
                failing.append(half)
        if len(failing) == 2 and first:
            return [desk.told("either half of the batch alone", True, "no single sample is to blame")]
        if not failing:
            note = "it takes several samples together"
            return [desk.told("either half of the batch alone" if first else f"half of {_among(rows)}", False, note)]
        rows, first = failing[0], False
    return [desk.told(_among(rows), True, "the smallest batch that fails: look at this sample")]


def _only(rows: list[int], size: int) -> Rows:
    kept = set(rows)
    return Rows(tuple(row for row in range(size) if row not in kept), size)


def _among(rows: list[int]) -> str:
    return f"sample {rows[0]} alone" if len(rows) == 1 else f"samples {rows[0]} to {rows[-1]} alone"
