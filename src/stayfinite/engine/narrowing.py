"""Is it the data, the network or the numbers? The bisection of the field, on the held step.

Where no cause could be confirmed, the step is made simpler until it passes: with half of its samples, a quarter, one; with
weights that are drawn anew; in a wider format; with half of the columns of its table, the others levelled. What it still fails
with says where to look, whatever the cause is called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.records.diagnosis import Diagnosis, Experiment
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Intervention, Precision, Rows, State, Values
from stayfinite.records.tensor import TensorStats

REPLAYS = 20
"""Repetitions at most: halving a batch of 64 down to one sample takes twelve, as does halving as many columns."""
COLUMNS = 4096
"""Columns of a table that are halved at most: beyond that it is an image or a text, and a column says little."""

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
        found += yield from _halved(size, lambda rows: Rows(_others(rows, size), size), "sample", "batch", desk)
        if (table := _table(case, size)) is not None:
            name, width = table.name, table.shape[1]
            found += yield from _halved(
                width, lambda kept: Values(name, "levelled", columns=_others(kept, width)), "column", f"columns of `{name}`", desk
            )
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


def _halved(count: int, alone: Callable[[list[int]], Intervention], what: str, whole: str, desk: _Desk) -> Generator[
    ReplayRequest, Outcome, list[Experiment]
]:
    """The smallest half of a half of `count` parts with which the step still fails. `alone`: leaves only these; `what` they are
    called, and what the `whole` is."""
    parts = list(range(count))
    first = True
    while len(parts) > 1:
        middle = len(parts) // 2
        halves = parts[:middle], parts[middle:]
        failing = []
        for half in halves:
            failed = yield from desk.fails(alone(half))
            if failed is None:
                return [] if first else [desk.told(_among(what, parts), True, f"the {whole} could not be halved further")]
            if failed:
                failing.append(half)
        if len(failing) == 2 and first:
            return [desk.told(f"either half of the {whole} alone", True, f"no single {what} is to blame")]
        if not failing:
            note = f"it takes several {what}s together"
            return [desk.told(f"either half of the {whole} alone" if first else f"half of {_among(what, parts)}", False, note)]
        parts, first = failing[0], False
    return [desk.told(_among(what, parts), True, f"the step fails with it alone: look at this {what}")]


def _others(kept: list[int], count: int) -> tuple[int, ...]:
    return tuple(sorted({*range(count)} - {*kept}))


def _among(what: str, parts: list[int]) -> str:
    return f"{what} {parts[0]} alone" if len(parts) == 1 else f"{what}s {parts[0]} to {parts[-1]} alone"


def _table(case: Case, size: int) -> TensorStats | None:
    """The tensor of the batch that has a row per sample and most columns."""
    tables = [one for one in case.batch if len(one.shape) == 2 and one.shape[0] == size and "float" in one.dtype and one.name]
    return max((one for one in tables if 1 < one.shape[1] <= COLUMNS), key=lambda one: one.shape[1], default=None)
