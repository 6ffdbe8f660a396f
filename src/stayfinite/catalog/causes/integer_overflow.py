"""Whole numbers of few bits left their range, and came back at its other end.

What happens
------------
Bytes of an image and 16-bit samples of sound are computed with as they are. 255 + 1 is 0, 200 * 200 in 16 bits is -25536,
12 - 20 in unsigned bytes is 248. Nothing is said: the result is a number like any other. The logarithm of that 0, or the
root of that negative mean, is where it becomes visible.

How to recognise it
-------------------
A line that was watched while it ran computed with narrow whole numbers, and the same formula in wide ones gives another
result; or an operation of the step did, and what failed was made of it. The brightest, loudest or darkest samples fail and no others.

What to do
----------
Convert to floating point before the first operation, not after the last one.

Example
-------
::

    np.log(image + 1)                               # 255 + 1 is 0 in bytes
    np.log(image.astype(np.float32) + 1)

References
----------
NumPy computes with whole numbers modulo 2**bits and does not warn for arrays; a plain Python number does not widen them
(NEP 50).
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import birth, birth_location
from stayfinite.catalog.operator_predictions import at, wider
from stayfinite.catalog.precision import wrap_behind
from stayfinite.catalog.predictions import without_gaps
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import show

TITLE = "Integer arithmetic out of its range"
PRIOR = prior(threads=1)
APPLIES_TO = Scope(phases=frozenset({"data", "forward", "loss"}))
EXAMPLES = ("loud-clips", "saturated-pixels", "crop-types-from-orbit")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """Whether an operation on whole numbers was seen to leave its range before the value was made."""
    wrap = wrap_behind(case)
    if wrap is not None:
        where = f"`{wrap.location.expression or wrap.location.code}`"
        return [Evidence(f"{where} left the range of {wrap.dtype} in {wrap.count} of {wrap.size} elements: {show(wrap.exact)} became "
                         f"{show(wrap.became)}", 12.0, "born-by")]
    made = birth(case)
    if made is None or not made.wrapped:
        return [Evidence("no whole numbers were seen to leave their range", -9.0, "born-by")]
    return [Evidence(f"{made.wrapped} (`{made.wrapped_at.code}`)", 12.0, "born-by")]


def locate(case: Case) -> Location:
    """The integer operation; else where the bad value was made."""
    made, wrap = birth(case), wrap_behind(case)
    if wrap is not None and wrap.location.file:
        return wrap.location
    return made.wrapped_at if made is not None and made.wrapped and made.wrapped_at.file else birth_location(case)


def predict(case: Case) -> list[Prediction]:
    """With wide numbers on the line that left its range the step passes; where that was before the step, with the gaps filled that it
    left in the batch, and without the samples that have them."""
    wrap = wrap_behind(case)
    if wrap is None:
        return without_gaps(case)
    here = at(wrap.kind, wrap.location)
    return wider(case, "int64", where=here) if here is not None else []
