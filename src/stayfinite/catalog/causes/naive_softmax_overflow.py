"""A softmax or log-sum-exp was written out by hand.

What happens
------------
exp(x) / exp(x).sum() is a softmax on paper. In float32 it is inf / inf = NaN as soon as one score passes 88.7, and 0
/ 0 where all of them are below -104. The library function subtracts the largest score first and has neither limit.

How to recognise it
-------------------
The origin is an exponential whose results are summed and divided by (or put into a logarithm) right after.

What to do
----------
Use softmax, log_softmax or logsumexp.

Example
-------
::

    p = torch.exp(z) / torch.exp(z).sum(1, keepdim=True)
    p = torch.softmax(z, 1)

References
----------
none among the threads that were read; written by hand in many notebooks
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import candidates, consumers, inputs, kind, mentions, offending, origin_call, output
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import consumers_behind_masks, softmax_by_hand, stable
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show
from stayfinite.records.trace import OpCall

TITLE = "Softmax written by hand"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(phases=COMPUTED, kinds=frozenset({"exp", "div", "log"}))
EXAMPLES = ("naive-softmax-overflow", "docstring-search", "guard-assert", "causal-by-hand", "digit-captions")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """What becomes of the exponential after the origin, and the argument against the format's limit."""
    if kind(case).name == "exp":
        return [_argument(case), _path(case), *against_growth(case)]
    zero = inputs(case)[-1:] and any(value == 0.0 for value in candidates(inputs(case)[-1]))
    if zero and mentions(case, r"exp\(.*sum\(|sum\(.*exp\("):
        return [Evidence("a sum of exponentials is 0: every score is far below 0", 8.0, "path"), *against_growth(case)]
    return [Evidence("no exponential is summed here", -8.0, "path")]


def _argument(case: Case) -> Evidence:
    made, here = output(case), kind(case)
    limit = here.overflow_limit(made.dtype if made is not None else "float32")
    value = offending(case, lambda x: x > limit)
    if value is None:
        return Evidence("the scores stay within the limit", -7.0, "operand-value")
    return Evidence(f"a score is {show(value)}, the exponential ends at {show(limit)}", 4.0, "operand-value")


def _path(case: Case) -> Evidence:
    call = origin_call(case)
    readers = consumers(case, call.index) if call is not None else ()
    sums = [reader for reader in readers if reader.kind in ("sum", "matmul", "mean")]
    if any(reader.kind == "div" for reader in readers) and sums:
        return Evidence("the exponentials are divided by their own sum", 7.0, "path")
    if any(reader.kind == "sample" for reader in readers):
        return Evidence("the exponentials are the weights of a draw, which divides them by their sum", 7.0, "path")
    if call is not None and _is_masked(case, call.index):
        return Evidence("the exponentials are masked, and divided by the sum of what is left", 7.0, "path")
    if call is not None and _is_picked(case, call.index, sums):
        return Evidence("some of the exponentials are picked, and divided by the sum of all", 7.0, "path")
    if _is_weighted(case, readers):
        return Evidence("what the exponentials weigh is divided by their sum", 7.0, "path")
    if any(after.kind == "log" for one in sums for after in consumers(case, one.index)):
        return Evidence("the logarithm of the sum of the exponentials is taken", 7.0, "path")
    if mentions(case, r"exp\(.*sum\("):
        return Evidence("the line divides exponentials by their sum", 6.0, "path")
    return Evidence("the exponentials are not divided by their sum", -6.0, "path")


def _is_masked(case: Case, index: int) -> bool:
    """True for ``e * mask / (e * mask).sum()``: what is divided and what is summed to divide it were both masked."""
    readers = consumers_behind_masks(case, index)
    sums = {one.index for one in readers if one.kind == "sum"}
    sums |= {after.index for at in sums for after in consumers(case, at) if after.kind in ("add", "clamp")}  # `+ eps`
    return any(one.kind == "div" and sums & set(one.sources) for one in readers)


def _is_picked(case: Case, index: int, sums: list[OpCall]) -> bool:
    """True for ``e.diag() / e.sum(1)`` and ``e[rows, labels] / e.sum(1)``: what was picked may be finite, its sum is not."""
    picks = any(one.kind in ("index", "move") for one in consumers(case, index))
    below = {one.index for one in sums}
    below |= {after.index for at in below for after in consumers(case, at) if after.kind in ("add", "clamp", "move")}
    return picks and any(one.kind == "div" and below & set(one.sources) for one in case.trace.calls)


def _is_weighted(case: Case, readers: tuple[OpCall, ...]) -> bool:
    """True for ``(e * v).sum() / e.sum()`` and ``(e @ v) / e.sum()``: a quotient both sides of which are sums of the exponentials."""
    sums = {one.index for one in readers if one.kind in ("sum", "mean")}
    weighed = {one.index for one in readers if one.kind == "matmul"}
    for one in readers:
        if one.kind == "mul":
            weighed |= {after.index for after in consumers(case, one.index) if after.kind in ("sum", "mean")}
    return any(one.kind == "div" and weighed & set(one.sources) for at in sums for one in consumers(case, at))


def predict(case: Case) -> list[Prediction]:
    """With the largest score subtracted before the exponential the step passes; where its logarithm is taken later, with that taken
    of the scores: a quotient that no longer overflows may still be 0."""
    change = softmax_by_hand(case)
    call = origin_call(case)
    later = [one for one in case.trace.calls if call is not None and one.index > call.index and one.phase != "backward"]
    taken = next((one.location for one in later if one.kind == "log"), None)
    logs = stable(case, "log-softmax", "log", taken) if taken is not None else []
    return [*([Prediction(change)] if change is not None else ()), *logs]
