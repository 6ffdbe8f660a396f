"""Predictions that several causes make, from the origin of a case.

A cause that blames a value outside the domain of an operator predicts that the step passes with the value inside it; one that
blames the format, that it passes in a wider one; one that blames samples, that it passes without them.
"""

from __future__ import annotations

from typing import Literal

from stayfinite.catalog.clues import HUGE, edge_value, largest_amplitude
from stayfinite.catalog.histories import growth, readings
from stayfinite.records.incident import Case
from stayfinite.records.intervention import (
    Intervention,
    Place,
    Prediction,
    Rows,
    State,
    Term,
    Values,
)
from stayfinite.records.trace import LossTerm

Breadth = Literal[0, 1, 2]
What = Literal["parameters", "buffers", "moments", "gradients"]

FEW = 4
"""Steps after which a loss has a level that it may leave."""
RISEN = 10.0
"""How many times the least of a few losses the largest one is where something may have begun to grow: batches differ by less."""

def without_samples(case: Case) -> list[Prediction]:
    """With the samples of the origin replaced by others, the step passes."""
    size = case.trace.batch_size or case.batch_size
    rows = case.origin.samples if case.origin is not None else ()
    if size is None or not rows or len(rows) >= size or max(rows) >= size:
        return []
    return [Prediction(Rows(tuple(rows), size))]


def filled(case: Case, names: tuple[str, ...], above: float = 0.0) -> list[Prediction]:
    """With what is missing in tensors of the batch (`above`: or has at least that magnitude) replaced by the mean of its column,
    the step passes."""
    return here_and_before(case, Values(names[0], "filled", above, also=names[1:])) if names else []


def without_gaps(case: Case) -> list[Prediction]:
    """With the non-finite values of the batch replaced by the mean of their columns, or without the samples that have them, the step
    passes."""
    origin = case.origin
    bad = tuple(stats.name for stats in case.batch if stats.nonfinite and "float" in stats.dtype)
    names = bad or tuple(stats.name for stats in (origin.inputs if origin is not None and origin.op == "input" else ()))
    return [*filled(case, names), *without_samples(case)]


def scaled(case: Case, name: str) -> list[Prediction]:
    """With the columns of a tensor of the batch scaled to a deviation of 1, the step passes. That would cure anything that comes
    of large numbers."""
    return here_and_before(case, Values(name, "standardised"), breadth=1)


def left_out(term: LossTerm) -> Term:
    """The loss without `term`."""
    at = term.location
    return Term(Place(term.kind, at.file, at.line), term.name, at.expression)


def mended(case: Case, what: What) -> list[Prediction]:
    """With the non-finite elements of the state that was bad before the step set to what is fresh there, the step passes."""
    kinds = {"parameters": "parameter", "buffers": "buffer", "moments": "moment", "gradients": "gradient"}
    names = [leaf.name for leaf in case.trace.leaves if leaf.kind == kinds[what] and leaf.stats.nonfinite]
    if what in ("parameters", "buffers"):
        names += [stats.name for stats in case.parameters if stats.nonfinite]
    return [Prediction(State(what, "mended", tuple(dict.fromkeys(names))))]


def here_and_before(case: Case, change: Intervention, *, breadth: Breadth = 0) -> list[Prediction]:
    """With `change` the step passes; or, where the loss had risen before, it does if the steps since then are taken with it."""
    steps = sorted({1, since_it_grew(case)})
    return [Prediction(change, breadth=breadth, steps=number) for number in steps]


def since_it_grew(case: Case) -> int:
    """How many steps back the failure began, by the loss: 1 where it was calm up to the failing step; all of them where there were
    so few that nothing can be called calm, unless the step itself shows that nothing had grown."""
    loss, step = growth(case, "loss"), case.symptom.step
    if 0 < step <= FEW:
        return 1 if _is_ordinary(case) else step + 1
    return loss.steps + 1 if loss.grew else 1


def _is_ordinary(case: Case) -> bool:
    """True if the origin was given numbers of ordinary size, one of them where it has no value or slope, and no loss stands out."""
    losses = readings(case, "loss").values()
    calm = max(losses, default=0.0) <= RISEN * min(losses, default=0.0)
    return edge_value(case) is not None and largest_amplitude(case) < HUGE and calm
