"""Predictions of causes that lie in an operation: what lets the step pass is its operand inside its domain, a stable form of it, a
wider format, or other code.
"""

from __future__ import annotations

import math
import re

import msgspec

from stayfinite.catalog.clues import (
    born_backward,
    consumers,
    finite,
    inputs,
    kind,
    mentions,
    message,
    operand,
    origin_call,
)
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.ops import op_kind
from stayfinite.catalog.precision import flush_behind
from stayfinite.records.incident import Case
from stayfinite.records.intervention import (
    Form,
    Format,
    Intervention,
    Place,
    Precision,
    Prediction,
    Stable,
    Within,
)
from stayfinite.records.location import Location
from stayfinite.records.numbers import Number
from stayfinite.records.trace import OpCall

NEAR = {"float16": 1e-3, "bfloat16": 1e-3, "float32": 1e-6, "float64": 1e-12}
"""How near to the edge of a domain a value is brought, per format: some ten thousand times the smallest step at 1, so that the
slopes there stay far from overflow."""
FAR = 1e4
"""What an infinity is replaced with: far from ordinary numbers, and its square is a number in all formats but float16."""
_ROOTED = frozenset({"norm", "std", "distance", "cosine_similarity", "normalize"})
"""Kinds whose singular point is no single value of an operand: all of them are 0, or equal."""
_LENGTHS = frozenset({"div", "reciprocal", "sqrt", "rsqrt", "pow"})
_FRACTIONS = frozenset({"logit", "bce"})


def place(case: Case) -> Place | None:
    """Where the failure was born, as a place to change; ``None`` if no line is known."""
    origin = case.origin
    if origin is None or not origin.location.file or origin.phase in ("data", "load", "optimizer"):
        return None
    return Place(origin.op, origin.location.file, origin.location.line)


def at(kind_name: str, where: Location) -> Place | None:
    """The operators of one kind on a known line (``""``: all of them); ``None`` without a line."""
    return Place(kind_name, where.file, where.line) if where.file and where.line else None


def inside_domain(case: Case, *, placebo: Intervention | None = None, used: bool | None = None) -> list[Prediction]:
    """With the operand of the origin inside its domain, and away from where its slope is infinite, the step passes."""
    here = place(case)
    if here is None:
        return []
    known, margin = kind(case), NEAR.get(_format(case), 1e-6)
    change: Intervention | None = None
    if known.name in ("div", "reciprocal"):
        change = Within(here, known.operand, away=margin)
    elif known.name in ("acos", "asin", "atanh", "erfinv"):
        change = Within(here, 0, low=-1.0 + margin, high=1.0 - margin)
    elif known.name in ("log", "sqrt", "rsqrt", "pow", "xlogy", "digamma", "lgamma", "gaussian_nll"):
        change = Within(here, 2 if known.name == "gaussian_nll" else known.operand, low=margin)
    elif known.name == "log1p":
        change = Within(here, 0, low=-1.0 + margin)
    elif known.name == "acosh":
        change = Within(here, 0, low=1.0 + margin)
    elif known.name in _FRACTIONS:
        change = Within(here, 0, low=margin, high=1.0 - margin)
    elif known.name == "atan2":
        change = Within(here, 1, away=margin)
    elif known.name == "kl_div":
        change = Within(here, 1, low=0.0)
    elif known.name == "distribution":
        change = Within(here, 0, low=margin)
    elif known.name == "sample":
        normal, fraction = mentions(case, r"normal"), mentions(case, r"bernoulli")
        change = Within(here, int(normal), low=0.0 if fraction else margin, high=1.0 if fraction else "+inf")
    elif known.name in _ROOTED:
        change = Stable(here, "epsilon-inside")
    if change is None:
        return []
    found = [Prediction(change, placebo=placebo, used=used)]
    if known.name in _LENGTHS and case.origin is not None and case.origin.location.library is not None:
        # a function of a library's computes it inside: its operands are out of reach, an epsilon is not
        found.append(Prediction(Stable(here, "epsilon-inside"), placebo=placebo, used=used))
    divisor = operand(case) if known.name in ("div", "reciprocal") else None
    if divisor is not None and divisor.made_by[:1] == ("sqrt",) and divisor.made_at is not None:
        # a length by hand: kept away from 0 behind the root, its slope there is infinite still
        rooted = at("sqrt", divisor.made_at)
        found += [Prediction(Stable(rooted, "epsilon-inside"), placebo=placebo, used=used)] if rooted is not None else []
    return found


def is_used(case: Case) -> bool | None:
    """For causes that blame a value which the loss depends on: what they expect of a failure of the backward pass. Of one of the
    forward pass nothing is expected: the gradient of ``p * log(p)`` at ``log(p)`` is p, and 0 where that fails."""
    return True if born_backward(case) else None


def in_time(case: Case) -> Intervention | None:
    """The operation that lost to its format what the origin met as 0, computed widely; ``None`` if nothing was lost. To a cause that
    blames the 0 itself this does not matter."""
    lost = flush_behind(case)
    here = at(lost.kind, lost.location) if lost is not None else None
    return Precision("float32", here) if here is not None else None


def below_limit(case: Case, *, placebo: Intervention | None = None) -> list[Prediction]:
    """With the operand of the origin at half the logarithm of what its format holds (so that a square of the result still is
    finite), the step passes."""
    here = place(case)
    limit = op_kind(kind(case).name).overflow_limit(_format(case))
    if here is None or math.isinf(limit):
        return []
    low: Number = "-inf" if kind(case).name in ("exp", "exp2") else -0.4 * limit
    change = Within(here, 0, high=0.4 * limit, low=low)
    return [
        Prediction(change, placebo=placebo),
        # the same argument may go into another line's
        Prediction(msgspec.structs.replace(change, place=Place(here.kind, "", 0)), placebo=placebo, breadth=1),
    ]


def softmax_by_hand(case: Case) -> Stable | None:
    """The exponential of the origin with the largest score subtracted, over the axis that its sum runs over, of all scores where
    sums run over several; ``None`` if the origin is no exponential and its line takes none."""
    here = place(case)
    if here is None or (here.kind not in ("exp", "exp2") and not mentions(case, r"exp\(")):
        return None
    call = origin_call(case)
    readers = consumers_behind_masks(case, call.index) if call is not None and here.kind in ("exp", "exp2") else ()
    axes = [_summed(one.inputs[0].shape, one.output.shape) for one in readers
            if one.kind in ("sum", "mean") and one.inputs and one.output is not None]
    one_way = len(set(axes)) <= 1 and (len(axes) <= 1 or len(axes[0]) <= 1)  # of a square both ways look alike
    logs = any(after.kind == "log" for one in readers for after in consumers(case, one.index))
    form: Form = "log-sum-exp" if logs else "shifted-softmax"
    where = Place(here.kind if here.kind == "exp2" else "exp", here.file, here.line)
    return Stable(where, form, axes[-1][-1] if axes and axes[-1] else None, whole=not one_way)


def consumers_behind_masks(case: Case, index: int) -> tuple[OpCall, ...]:
    """Kept calls that read what call `index` made, as it is or masked: ``e * mask``, ``e.masked_fill(mask, 0)``,
    ``torch.where(mask, e, 0)``."""
    readers = consumers(case, index)
    masked = [one.index for one in readers if one.kind in ("mul", "where", "masked_fill")]
    return readers + tuple(after for one in masked for after in consumers(case, one) if after not in readers)


def _summed(given: tuple[int, ...], made: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that a sum may have run over by its shapes, counted from the end; none if it was over several."""
    if len(given) == len(made):
        over = [axis for axis, extent in enumerate(given) if made[axis] != extent]
        return (over[0] - len(given),) if len(over) == 1 else ()
    return tuple(axis - len(given) for axis in range(len(given)) if given[:axis] + given[axis + 1:] == made)


def stable(case: Case, form: Form, kind_name: str | None = None, where: Location | None = None) -> list[Prediction]:
    """With the origin (or the operators of another kind, or on another line) in a stable form, the step passes."""
    here = place(case) if where is None else at(kind_name or kind(case).name, where)
    if here is not None and kind_name is not None:
        here = Place(kind_name, here.file, here.line)
    return [Prediction(Stable(here, form))] if here is not None else []


def finite_operands(case: Case, *, whole_line: bool = False) -> list[Prediction]:
    """With large finite numbers in the place of the infinities that the origin is given, the step passes."""
    origin = case.origin
    if origin is None or not origin.location.file:
        return []
    far = 100.0 if "float16" in {stats.dtype for stats in origin.inputs} else FAR
    here = Place("" if whole_line else origin.op, origin.location.file, origin.location.line)
    return [Prediction(Within(here, -1, low=-far, high=far))]


def wider(case: Case, form: Format = "float64", *, breadth: int = 1, where: Place | None = None) -> list[Prediction]:
    """With the origin's operator (or that of another place) computed in a wider format, the step passes."""
    here = where or place(case)
    return [Prediction(Precision(form, here), breadth=breadth)] if here is not None else []  # type: ignore[arg-type]


def indices_in_range(case: Case) -> list[Prediction]:
    """With labels or indices between 0 and the last row, class or place there is, the step passes."""
    here, given = place(case), inputs(case)
    if here is None or case.origin is None:
        return []
    whole = [number for number, stats in enumerate(given) if dtype_facts(stats.dtype) is None and stats.dtype != "bool"]
    tables = [stats for stats in given if dtype_facts(stats.dtype) is not None and stats.shape]
    if not whole:
        return []
    by_row = here.kind in ("embedding", "index", "scatter")
    told = re.search(r"with size (\d+)|number of classes (\d+)", message(case))
    room = int(told.group(1) or told.group(2)) if told is not None else 0
    if not room and tables:
        shape = tables[0].shape
        room = shape[0] if by_row or len(shape) < 2 else shape[1]
    if not room:
        return []
    outside = [number for number in whole if (finite(given[number].max) or 0.0) >= room or (finite(given[number].min) or 0.0) < -room]
    return [Prediction(Within(here, (outside or whole)[0], low=0.0, high=float(room - 1)))]


def _format(case: Case) -> str:
    formats = [stats.dtype for stats in (case.origin.inputs if case.origin is not None else ()) if dtype_facts(stats.dtype)]
    return min(formats, key=lambda name: facts.largest if (facts := dtype_facts(name)) is not None else math.inf, default="float32")
