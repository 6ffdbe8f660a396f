"""A guard hides the failure: the loss looks well, and the gradient of what it hides is 0.

What happens
------------
`nan_to_num`, `clamp`, `where` or `minimum` put a finite number in the place of a bad or a large one. That number is a
constant: its gradient is exactly 0. Where the guard is hit by single elements it does what it should; where it is hit by
all of them, nothing is learned, and the failure behind it is no longer seen.

How to recognise it
-------------------
The loss is constant, or stays where a constant prediction gets; in the repeated step an operator that limits or replaces
values changed most of what it was given, and no gradient went through it.

What to do
----------
Take the guard away and look at what is behind it: a division by a spread of 0, a logarithm of something negative, a target
in full units. Mend that. A guard on the gradient (clipping its norm) limits damage and keeps the direction.

Example
-------
::

    loss = (quoted - paid).pow(2).clamp(max=100.0).mean()         # paid is in cents: every error is larger
    loss = (quoted - (paid - mean) / std).pow(2).mean()

References
----------
The gradient of each operator, as PyTorch defines it: 0 outside of a clamp's limits, 0 where `nan_to_num` replaced
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import origin_location
from stayfinite.catalog.operator_predictions import at
from stayfinite.catalog.surveyed import MOSTLY, NOTHING_LEARNED, is_floor_of_zero, is_origin, surveyed
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Bypassed, Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.survey import Barrier

TITLE = "Failure hidden by a guard"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(detectors=NOTHING_LEARNED)
EXAMPLES = ("freight-cost", "river-gauge")

GUARDS = frozenset({"nan_to_num", "clamp", "where", "masked_fill", "max", "min"})
"""Kinds that put a constant in the place of a value."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line of the guard that hides most."""
    guard = _worst(case)
    return guard.location if guard is not None and guard.location.file else origin_location(case)


def evidence(case: Case) -> list[Evidence]:
    """How much of what it was given the busiest guard replaced, and whether a gradient went through."""
    guard = _worst(case)
    if guard is None:
        return [Evidence("no operator limited or replaced values", -10.0, "guard")]
    replaced, limited = _share(guard, guard.replaced), _share(guard, guard.clamped)
    found = []
    if guard.replaced:
        found.append(Evidence(f"{guard.kind} put finite numbers in the place of {guard.replaced} non-finite ones",
                              8.0 if replaced >= MOSTLY else 6.0 if replaced >= 0.1 else 3.0, "guard"))
    else:
        limits = " and ".join(f"{scalar.name} {show(scalar.value)}" for scalar in guard.scalars)
        told = f"{guard.kind}{f' ({limits})' if limits else ''} changed {limited:.0%} of what it was given"
        found.append(Evidence(told, 7.0 if limited >= MOSTLY else 3.0 if limited >= 0.5 else -6.0, "guard"))
    if guard.blocked >= 1.0:
        found.append(Evidence("no gradient went through it", 2.0, "barrier"))
    if is_origin(case, guard.location):
        found.append(Evidence("nothing closer to the loss holds the gradient back", 1.0, "place"))
    if guard.phase == "loss":
        found.append(Evidence("it is part of the loss", 0.5, "phase"))
    return found


def _share(guard: Barrier, count: int) -> float:
    size = max((stats.size for stats in guard.inputs), default=0)
    return count / size if size else float(count > 0)


def _worst(case: Case) -> Barrier | None:
    """The guard that replaced the largest share of non-finite values, else that which changed the largest share."""
    guards = [
        barrier for barrier in surveyed(case).barriers
        if barrier.kind in GUARDS and (barrier.replaced or barrier.clamped) and not is_floor_of_zero(barrier)
    ]
    return max(guards, key=lambda one: (_share(one, one.replaced), _share(one, one.clamped)), default=None)


def predict(case: Case) -> list[Prediction]:
    """With the guard left out the gradient comes through, or the failure that it hides shows."""
    guard = _worst(case)
    here = at(guard.kind, guard.location) if guard is not None else None
    return [Prediction(Bypassed(here), reveals=True)] if here is not None else []
