"""Predictions that several causes make, from the origin of a case.

A cause that blames a value outside the domain of an operator predicts that the step passes with the value inside it; one that
blames the format, that it passes in a wider one; one that blames samples, that it passes without them.
"""

from __future__ import annotations

import math
from typing import Literal

from stayfinite.catalog.clues import kind
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.histories import growth
from stayfinite.catalog.ops import op_kind
from stayfinite.records.incident import Case
from stayfinite.records.intervention import (
    Format,
    Intervention,
    Place,
    Precision,
    Prediction,
    Rows,
    State,
    Term,
    Values,
    Within,
)
from stayfinite.records.trace import LossTerm

Breadth = Literal[0, 1, 2]
What = Literal["parameters", "buffers", "moments", "gradients"]

NEAR = {"float16": 1e-3, "bfloat16": 1e-3, "float32": 1e-6, "float64": 1e-12}
"""How near to the edge of a domain a value is brought, per format: some ten thousand times the smallest step at 1, so that the
slopes there stay far from overflow."""


def place(case: Case) -> Place | None:
    """Where the failure was born, as a place to change; ``None`` if no line is known."""
    origin = case.origin
    if origin is None or not origin.location.file or origin.phase in ("data", "load", "optimizer"):
        return None
    return Place(origin.op, origin.location.file, origin.location.line)


def inside_domain(case: Case) -> list[Prediction]:
    """With the operand of the origin inside its domain, and away from where its slope is infinite, the step passes."""
    here = place(case)
    if here is None:
        return []
    known, margin = kind(case), NEAR.get(_format(case), 1e-6)
    if known.name in ("div", "reciprocal"):
        return [Prediction(Within(here, known.operand, away=margin))]
    if known.name in ("acos", "asin", "atanh", "erfinv"):
        return [Prediction(Within(here, 0, low=-1.0 + margin, high=1.0 - margin))]
    if known.name in ("log", "sqrt", "rsqrt", "pow", "xlogy", "digamma", "lgamma", "det", "logdet"):
        return [Prediction(Within(here, known.operand, low=margin))]
    if known.name == "log1p":
        return [Prediction(Within(here, 0, low=-1.0 + margin))]
    if known.name == "acosh":
        return [Prediction(Within(here, 0, low=1.0 + margin))]
    if known.name in ("logit", "bce"):
        return [Prediction(Within(here, 0, low=margin, high=1.0 - margin))]
    return []


def below_limit(case: Case) -> list[Prediction]:
    """With the operand of the origin at half the logarithm of what its format holds (so that a square of the result still is
    finite), the step passes."""
    here = place(case)
    limit = op_kind(kind(case).name).overflow_limit(_format(case))
    if here is None or math.isinf(limit):
        return []
    return [Prediction(Within(here, 0, high=0.4 * limit, low=-0.4 * limit if kind(case).name not in ("exp", "exp2") else "-inf"))]


def wider(case: Case, form: Format = "float64", *, breadth: int = 1) -> list[Prediction]:
    """With the origin's operator computed in a wider format, the step passes."""
    here = place(case)
    return [Prediction(Precision(form, here), breadth=breadth)] if here is not None else []  # type: ignore[arg-type]


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
    """How many steps back the failure began, by the loss: 1 where it was calm up to the failing step."""
    loss = growth(case, "loss")
    return loss.steps + 1 if loss.grew else 1


def _format(case: Case) -> str:
    formats = [stats.dtype for stats in (case.origin.inputs if case.origin is not None else ()) if dtype_facts(stats.dtype)]
    return min(formats, key=lambda name: facts.largest if (facts := dtype_facts(name)) is not None else math.inf, default="float32")
