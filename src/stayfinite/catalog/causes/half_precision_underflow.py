"""A number too small for the format became 0, and what followed could not do with a 0.

What happens
------------
The smallest positive float16 is 6e-8: probabilities, squared differences and gradients below 3e-8 are 0. A logarithm or a
division then meets an exact 0; a gradient of 0 teaches nothing. bfloat16 reaches as far down as float32 but has only 8
significant bits: a weight of 1 is not changed by an update below 0.002, so small updates are lost one after the other.

How to recognise it
-------------------
The zero was made by an operation in half precision whose result in float32 is not 0: it was computed a second time to see.
Or parameters in half precision stay bit-equal although their gradient is not 0.

What to do
----------
Compute in float32 there: softmax, variances, norms, logarithms and losses are what autocast keeps in float32 for this
reason. Keep parameters in float32 and autocast the forward pass. In float16 scale the loss, so that gradients stay above
6e-8.

Example
-------
::

    p = torch.softmax(logits.half(), dim=-1); loss = -torch.log(p[rows, labels]).mean()
    loss = torch.nn.functional.cross_entropy(logits.float(), labels)

References
----------
Micikevicius et al. 2018, "Mixed precision training", for gradients below the range of float16; the formats of IEEE 754
for the numbers
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import dtypes, finite, kind, origin_location
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.operator_predictions import in_time
from stayfinite.catalog.places import made
from stayfinite.catalog.precision import HALF, flush_behind, gradients_lost, lost_epsilon
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import show

_NEEDS_NO_ZERO = frozenset({"div", "reciprocal", "log", "sqrt", "rsqrt", "pow", "norm", "normalize", "std", "xlogy"})

TITLE = "Lost below the format's range"
PRIOR = prior(threads=0)
APPLIES_TO = Scope()
EXAMPLES = ("half-precision-underflow", "quiet-channel")


def evidence(case: Case) -> list[Evidence]:
    """What a half-precision format lost, and whether the origin met it as a zero."""
    lost = flush_behind(case)
    if lost is None:
        return _without_origin(case) or [Evidence("nothing was lost to a half-precision format", -10.0, "flush")]
    where = f" at line {lost.location.line}" if lost.location.line else ""
    found = [Evidence(
        f"the 0 is none: {lost.kind}{where} lost {lost.count} of {lost.size} results to {lost.dtype}, up to "
        f"{show(lost.largest)}", 9.0, "flush",
    )]
    if kind(case).name in _NEEDS_NO_ZERO:
        found.append(Evidence(f"{kind(case).name} has no finite value or slope at 0", 3.0, "origin-kind"))
    else:
        found.append(Evidence(f"{kind(case).name} is at home at 0", -6.0, "origin-kind"))
    if lost_epsilon(case) is not None:
        found.append(Evidence("the epsilon that should have helped is 0 in the format as well", -6.0, "epsilon"))
    return found


def _without_origin(case: Case) -> list[Evidence]:
    """Of a step that is finite and yet wrong: gradients that are 0, updates that change nothing."""
    half = HALF & (dtypes(case) | set(case.configuration.parameter_dtypes) | {case.configuration.autocast or ""})
    if case.origin is not None or not half:
        return []
    found = []
    gone = gradients_lost(case)
    if gone:
        first = gone[0]
        found.append(Evidence(
            f"{first.kind} in the backward pass lost {first.count} of {first.size} gradients to {first.dtype}, up to "
            f"{show(first.largest)}", 8.0, "flush",
        ))
    survey = case.survey
    narrow = [state for state in survey.parameters if state.dtype in HALF] if survey is not None else []
    moved = [state for state in narrow if state.gradient is not None and state.gradient.zero < state.gradient.size]
    stuck = [state for state in moved if finite(state.change) == 0.0]
    if survey is not None and survey.stepped and stuck:
        worst = stuck[0]
        facts = dtype_facts(worst.dtype)
        least = show((finite(worst.magnitude) or 0.0) * facts.epsilon / 2.0) if facts is not None else "its last place"
        found.append(Evidence(
            f"`{worst.name}` is {worst.dtype} and did not change although its gradient is not 0: an update below {least} "
            f"is rounded away ({len(stuck)} of {len(moved)} parameters)", 8.0, "update",
        ))
    return found


def locate(case: Case) -> Location:
    """The operation that lost the numbers; else the conversion before it."""
    lost = flush_behind(case)
    if lost is None:
        lost = next(iter(gradients_lost(case)), None)
    if lost is not None and lost.location.file:
        return lost.location
    return made(case, "operand", "cast") or origin_location(case)


def predict(case: Case) -> list[Prediction]:
    """With the operation in float32 that lost the numbers the step passes."""
    change = in_time(case)
    return [Prediction(change)] if change is not None else []
