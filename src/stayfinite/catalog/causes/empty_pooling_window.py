"""A window that was pooled, cropped or averaged over had nothing in it.

What happens
------------
A region, a span of words, the stretch between two events or what is left of a short signal has no element. The mean over
it is 0 / 0, its maximum is minus infinity or an error, and a pooling layer refuses an input smaller than its kernel. The
batch as a whole is not empty: one window of one sample is.

How to recognise it
-------------------
The origin is a mean, a maximum or a pooling over a dimension of extent 0 of a tensor that has other elements, a maximum over
a window in which everything is masked, or a difference of cumulated sums divided by a length of 0; or the framework refused
an output size that is too small. It follows single samples: very short ones, boxes that round to nothing, equal borders.

What to do
----------
Let a window have at least one element: round borders outward, `end = max(end, start + 1)`, pad short signals to the size of
the kernel; or leave such windows out and give their features a value of their own.

Example
-------
::

    feature = image[:, top:bottom, left:right].mean((1, 2))
    feature = image[:, top : max(bottom, top + 1), left : max(right, left + 1)].mean((1, 2))

References
----------
Named in the design of the catalogue, with no thread of its own among those that were classified
"""

from __future__ import annotations

import re

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import candidates, finite, inputs, kind, origin_location, output, raised
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.operator_predictions import stable
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.tensor import TensorStats

_NO_ELEMENTS = r"non-?zero size|no elements|empty tensor|numel\(\) == 0|non-empty|cannot perform reduction"
_TOO_SMALL = (
    r"output size.{0,60}too small|too small.{0,40}output|kernel size can.t be greater than actual input|"
    r"smaller than kernel|divisor must be not zero"
)
_MAXIMA = frozenset({"max", "max_pool"})
_MASKING = frozenset({"masked_fill", "where", "add", "scatter"})
_BORDER = re.compile(r"end|stop|start|begin|length|width|height|size|right|left|top|bottom|span|area", re.IGNORECASE)

TITLE = "Window without elements"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(phases=COMPUTED, messages=f"{_NO_ELEMENTS}|{_TOO_SMALL}")
EXAMPLES = ("span-pooling", "region-pooling", "short-signals")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """Which extent is 0, and whether the tensor is a window into something larger."""
    if raised(case, _TOO_SMALL):
        return [Evidence("a pooling or convolution was refused: nothing would be left", 9.0, "exception")]
    empty = next((stats for stats in inputs(case) if not stats.size), None)
    if empty is not None:
        return [Evidence(f"`{empty.name}` has the shape {list(empty.shape)}", 7.0, "operand-size"), *_window(case, empty)]
    if raised(case, _NO_ELEMENTS):
        return [Evidence("the exception says that a window was empty", 6.0, "exception"), *_cut(case)]
    through = _from_masked(case)
    if through is not None:
        place = f" at line {through.made_at.line}" if through.made_at is not None else ""
        return [Evidence(f"`{through.name}` is -inf in {through.neginf} elements: in the windows of the maximum{place} "
                         "everything is masked", 9.0, "operand-value"),
                Evidence("a maximum over masked values made it", 3.0, "window"), *_left_out(case, through)]
    if kind(case).name == "div":
        return _ratio(case)
    return _masked(case)


def locate(case: Case) -> Location:
    """Where the window was reduced."""
    through = _from_masked(case)
    return through.made_at if through is not None and through.made_at is not None else origin_location(case)


def _left_out(case: Case, through: TensorStats) -> list[Evidence]:
    """A window that was known to be empty and multiplied by 0 to leave it out."""
    others = [stats for stats in inputs(case) if stats is not through] if kind(case).name == "mul" else []
    if any(finite(stats.culprit) == 0.0 for stats in others):
        return [Evidence("it is multiplied by 0 to leave it out, which no infinity is", -4.0, "left-out")]
    return []


def _from_masked(case: Case) -> TensorStats | None:
    """An operand with infinities that a maximum over masked values left: what follows turned them into NaN."""
    return next((
        stats for stats in inputs(case)
        if stats.neginf and not stats.nan and not stats.posinf and _MAXIMA & set(stats.made_by[:2])
        and (_MASKING & set(stats.made_by) or stats.made_by[:1] == ("max_pool",)) and not _is_of_two(case, stats)
    ), None)


def _is_of_two(case: Case, stats: TensorStats) -> bool:
    """True if the maximum was the larger of two tensors, element by element: no window."""
    at = stats.made_at
    calls = [call for call in case.trace.calls if call.kind == "max" and at is not None
             and (call.location.file, call.location.line) == (at.file, at.line)]
    return any(len(call.inputs) > 1 and call.output is not None and call.output.size >= max(one.size for one in call.inputs)
               for call in calls)


def _window(case: Case, empty: TensorStats) -> list[Evidence]:
    """A slice of memory that has elements, or a selection (of a mask, of a list) that picked nothing."""
    if empty.made_by[:1] == ("move",):
        return [Evidence("it is a slice of a tensor that has elements", 6.0, "window"), *_kept(case)]
    if any(empty.shape) and empty.shape[0] and empty.shape[0] == case.batch_size:
        return [Evidence("the batch has rows, the window has no place", 4.0, "window"), *_kept(case)]
    if empty.made_by[:1] == ("index",):
        return [Evidence("it is a selection that picked nothing, no window", -3.0, "window")]
    return _cut(case)


def _kept(case: Case) -> list[Evidence]:
    """A pooled window keeps its features; a mean of everything is a loss."""
    made = output(case)
    if made is not None and made.size > 1:
        return [Evidence(f"{made.size} features were to be pooled from it", 1.5, "pooled")]
    return []


def _cut(case: Case) -> list[Evidence]:
    text = case.origin.location.code if case.origin is not None else ""
    if re.search(r"\[[^\]]*:[^\]]*\]", text):
        return [Evidence("the line cuts a slice", 4.0, "window")]
    return [Evidence("no window is cut in the line", -2.0, "window")]


def _ratio(case: Case) -> list[Evidence]:
    """Cumulated sums: (c[end] - c[start]) / (end - start)."""
    given = inputs(case)
    if len(given) < 2 or not any(value == 0.0 for value in candidates(given[1])):
        return [Evidence("no length of 0 was divided by", -8.0, "operand-value")]
    numerator, divisor = given[0], given[1]
    if not any(value == 0.0 for value in candidates(numerator)):
        return [Evidence("the numerator is not 0: something was summed", -6.0, "operand-value")]
    found = [Evidence("numerator and divisor are both 0", 2.0, "operand-value")]
    several = re.search(r"[+*]", divisor.name) is not None  # borders are no sums: of two areas, the common one taken off
    difference = not several and ("sub" in divisor.made_by[:2] or re.fullmatch(r".*\w\s*-\s*\w.*", divisor.name) is not None)
    whole = dtype_facts(divisor.dtype) is None
    if difference and (whole or _BORDER.search(divisor.name) is not None) and not re.search(r"min|max", divisor.name):
        found.append(Evidence(f"`{divisor.name}` is the distance of two borders", 7.0, "window"))
    elif not several and _BORDER.search(divisor.name) is not None and divisor.size > 1:
        found.append(Evidence(f"`{divisor.name}` is the length of a window", 5.0, "window"))
    else:
        found.append(Evidence("nothing says that it is the length of a window", -5.0, "window"))
    if "cumsum" in numerator.made_by:
        found.append(Evidence("the numerator is a difference of cumulated sums", 3.0, "pooled"))
    return found


def _masked(case: Case) -> list[Evidence]:
    """A maximum over what is masked with minus infinity throughout."""
    name, made = kind(case).name, output(case)
    masked = next((stats for stats in inputs(case) if stats.neginf), None)
    if name in ("max", "max_pool") and masked is not None and not masked.nan and made is not None and made.neginf:
        return [Evidence(f"the maximum over `{masked.name}` is -inf: everything in the window is masked", 8.0, "operand-value"),
                Evidence("the origin is a maximum", 3.0, "origin-kind")]
    if name == "max_pool" and made is not None and made.neginf and not any(stats.nonfinite for stats in inputs(case)):
        return [Evidence("the maximum is -inf over finite numbers: the window holds nothing but padding", 9.0, "operand-value")]
    if name == "avg_pool" and made is not None and made.nan and not any(stats.nonfinite for stats in inputs(case)):
        return [Evidence("the mean of finite numbers is NaN: the window holds nothing but padding", 9.0, "operand-value")]
    return [Evidence("what was pooled is not empty", -8.0, "operand-size")]


def predict(case: Case) -> list[Prediction]:
    """With 0 as the result of a window without elements the step passes."""
    through = _from_masked(case)
    if through is not None and through.made_at is not None:
        return stable(case, "mean-over-some", through.made_by[0], through.made_at)
    return stable(case, "mean-over-some")
