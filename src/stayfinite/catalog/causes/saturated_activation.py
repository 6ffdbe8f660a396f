"""Activations driven so far out that they are flat: whatever the loss says, no gradient comes through.

What happens
------------
The slope of tanh falls below 1e-3 beyond 4, that of a sigmoid beyond 7, that of a softmax where one score leads by 7; from
9, 17 and 104 on it is exactly 0 in float32. Weights that were drawn too large, sums over many neighbours or steps, or a
score that is multiplied instead of divided by the root of its width take them there at once; later a few large updates do.
The layer gives the same answer for all samples and cannot leave it.

How to recognise it
-------------------
The loss stays where it is; in the repeated step nearly all elements of an activation were flat, its input was tens or
hundreds, and hardly anything of the gradient that arrived left through it.

What to do
----------
Bring the input of the activation back to about 1: initialise for the number of inputs, take means instead of sums,
normalise in front of it, divide attention scores by the root of their width, standardise the data.

Example
-------
::

    h = torch.tanh(adjacency @ h @ weight)                        # a sum over two hundred neighbours
    h = torch.tanh(adjacency @ h @ weight / degree)

References
----------
Glorot and Bengio 2010; limits of the slopes from the formulas of the functions
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import amplitude
from stayfinite.catalog.scales import features, widest
from stayfinite.catalog.surveyed import (
    MOSTLY,
    NOTHING_LEARNED,
    behind,
    ends_at,
    input_reach,
    is_origin,
    magnitude,
    output_of,
    surveyed,
    units_location,
)
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Place, Prediction, Scaled, State
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.survey import Units

TITLE = "Saturated activation"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(detectors=NOTHING_LEARNED)
EXAMPLES = ("digit-codes", "who-knows-whom")

FLAT_SIDES = frozenset({"sigmoid", "tanh", "softmax", "logsigmoid", "gelu", "silu", "elu", "softplus"})
"""Kinds that become flat on one side or both, rectifiers excepted: those have a cause of their own."""

_ENLARGING = frozenset({"sum", "cumsum", "prod"})
"""Kinds whose result is the larger the more there is to gather."""
_SCORING = frozenset({"mul", "div", "matmul"})
"""What makes the scores that a softmax turns into shares: their factor is what is wrong with them."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that made what the flattest activation was given, where that is a sum or a score; else the activation's own."""
    units = _worst(case)
    at, given = units_location(case, units), units.input if units is not None else None
    if units is None or given is None or input_reach(units) < 10.0:
        return at
    makers = _ENLARGING | _SCORING if units.kind == "softmax" else _ENLARGING
    if given.made_at is not None and given.made_at.file and given.made_by[:1] and given.made_by[0] in makers:
        return given.made_at
    added = [one for one in case.makings if one.of == "operand" and one.by == "sum" and one.far == 1 and one.name in at.code]
    return added[0].location if added and is_origin(case, at) else at


def evidence(case: Case) -> list[Evidence]:
    """How much of the flattest activation is flat, how far its input reaches, and what comes through."""
    units = _worst(case)
    if units is None:
        return [Evidence("no activation that can saturate was seen", -10.0, "units")]
    told = f"{units.saturated:.0%} of a {units.kind} is flat"
    if units.saturated < 0.5:
        return [Evidence(told, -8.0, "units")]
    found = [Evidence(told, 7.0 if units.saturated >= 0.99 else 5.0 if units.saturated >= MOSTLY else 1.0, "units")]
    reach = input_reach(units)
    if reach >= 10.0:
        by = units.input.made_by[:1] if units.input is not None else ()
        how = f", made by a {by[0]}" if by and by[0] in _ENLARGING else ""
        found.append(Evidence(f"its input reaches {show(reach)}{how}", 1.5, "operand"))
    arrived, left = magnitude(units.gradient), magnitude(units.passed)
    if ends_at(case, units.location) or (arrived and left <= 1e-3 * arrived):
        found.append(Evidence(f"of a gradient of {show(arrived)} no more than {show(left)} came through", 1.5, "barrier"))
    if is_origin(case, units.location):
        found.append(Evidence("nothing closer to the loss holds the gradient back", 1.0, "place"))
    loss = output_of(case, units.location)
    if loss is not None:
        found.append(Evidence(f"the {units.kind} is the output that the loss is given", -4.0, "output"))
    wide = widest(features(case))
    if wide is not None and amplitude(wide) >= 100.0:
        found.append(Evidence(f"the input `{wide.name}` reaches {show(amplitude(wide))}: it was never scaled", -2.5,
                              "input-scale"))
    return found


def _worst(case: Case) -> Units | None:
    """The flattest activation; of equal ones where the failure was located, then the last that ran."""
    able = [units for units in surveyed(case).units if units.kind in FLAT_SIDES and units.units]
    return max(
        enumerate(able), key=lambda one: (round(one[1].saturated, 2), is_origin(case, one[1].location), one[0]),
        default=(0, None),
    )[1]


def predict(case: Case) -> list[Prediction]:
    """With what the activation is given scaled to where it is not flat, or the weights behind it drawn for their fan-in, a
    gradient passes."""
    units = _worst(case)
    if units is None or not units.location.file:
        return []
    names = behind(case, units.location)
    drawn = (Prediction(State("parameters", "scaled-draw", names)),) if names else ()
    return [Prediction(Scaled(Place(units.kind, units.location.file, units.location.line))), *drawn]
