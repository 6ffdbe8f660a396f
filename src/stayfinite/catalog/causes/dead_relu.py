"""Rectifiers that give 0 for every sample: no gradient comes back through them, so they never recover.

What happens
------------
A rectifier passes a gradient only where its input is above 0. Where a bias, a weight or the data push the input of a unit
below 0 for all samples, its output is 0 and its gradient exactly 0: nothing can bring it back. One large update is enough,
and so are weights of one sign on data of the other. If a whole layer dies, only what comes after it still learns: a
constant.

How to recognise it
-------------------
The loss stays at what a constant prediction gets, or the gradient is exactly 0; in the repeated step all units behind one
rectifier gave 0 for every sample, and no gradient left them.

What to do
----------
Find what pushed them: the scale and sign of the data, the initialisation, a rate or a single batch that made one huge
update (clip the gradient norm). `leaky_relu`, `elu` or `gelu` let a unit come back. Units that are dead already have to be
drawn again.

Example
-------
::

    h = F.relu(self.bands(decibels))                              # inputs of -45, weights above 0
    h = F.relu(self.bands((decibels + 45.0) / 6.0))

References
----------
Maas et al. 2013; Lu et al. 2019 for how likely a network is born dead
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import finite
from stayfinite.catalog.places import data, made
from stayfinite.catalog.scales import features, off_centre, widest
from stayfinite.catalog.surveyed import (
    MOSTLY,
    NOTHING_LEARNED,
    behind,
    ends_at,
    is_origin,
    output_of,
    share_of_units,
    surveyed,
    units_location,
)
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Place, Prediction, Scaled, State, Values
from stayfinite.records.location import Location
from stayfinite.records.numbers import show, to_float
from stayfinite.records.survey import Units

TITLE = "Dead rectifiers"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(detectors=NOTHING_LEARNED)
EXAMPLES = ("machine-hum", "silent-filters", "rare-windows")

BIASED = 0.9
"""Share of the distance to 0 that the largest bias makes up, where biases are what keeps the input below it."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that fills the biases or makes the data, where these are what keeps the rectifier's input below 0; else that of the
    rectifier."""
    units = _worst(case)
    filled = _filled(case, units)
    if filled is not None:
        return filled
    wide = widest(features(case))
    highest = finite(units.input.max) if units is not None and units.input is not None else None
    if wide is not None and highest is not None and highest <= 0.0 and off_centre(wide):
        return data(case, wide.name) or units_location(case, units)
    return units_location(case, units)


def evidence(case: Case) -> list[Evidence]:
    """How much of the worst rectifier is dead, whether the gradient ends there, and what its input was."""
    units = _worst(case)
    if units is None:
        return [Evidence("no rectifier was seen", -10.0, "units")]
    share = share_of_units(units)
    told = f"{units.dead} of {units.units} units of a rectifier gave 0 for every sample"
    if share < 0.5:
        return [Evidence(told, -8.0, "units")]
    found = [Evidence(told, 8.0 if share == 1.0 else 5.0 if share >= MOSTLY else 0.5, "units")]
    starved = any(_is_starved(one) and is_origin(case, one.location) for one in surveyed(case).units)
    if starved and not _is_starved(units):
        found.append(Evidence("the rectifiers behind it are given nothing but its zeros", 2.0, "barrier"))
    elif ends_at(case, units.location):
        found.append(Evidence("the gradient ends there", 2.0, "barrier"))
    if starved or is_origin(case, units.location):
        found.append(Evidence("nothing closer to the loss holds the gradient back", 1.0, "place"))
    else:
        found.append(Evidence("something else holds the gradient back first", -2.5, "place"))
    highest = finite(units.input.max) if units.input is not None else None
    if highest is not None and highest <= 0.0:
        found.append(Evidence(f"its input stays below 0 (at most {show(highest)})", 1.0, "operand"))
    if output_of(case, units.location) is not None:
        found.append(Evidence("the rectifier is the output itself: it does not fit the loss", -5.0, "output"))
    return found


def _filled(case: Case, units: Units | None) -> Location | None:
    """The line that begins the biases, where one behind the rectifier is as large as what its input lies below 0."""
    highest = finite(units.input.max) if units is not None and units.input is not None else None
    if units is None or highest is None or highest >= 0.0:
        return None
    names = {name for barrier in surveyed(case).barriers for name in barrier.parameters if name.endswith("bias")}
    sizes = [to_float(one.magnitude) for one in surveyed(case).parameters if one.name in names]
    large = any(size >= BIASED * -highest for size in sizes)
    return made(case, "start", "draw", "constant", fits=lambda one: one.name.endswith("bias")) if large else None


def _worst(case: Case) -> Units | None:
    """The rectifier with the largest dead share; of equal ones where the failure was located, then the last that ran. One that is given
    zeros alone is dead because another is: then the first that is not."""
    rectifiers = [units for units in surveyed(case).units if units.kind == "relu" and units.units]
    found = max(
        enumerate(rectifiers), key=lambda one: (share_of_units(one[1]), is_origin(case, one[1].location), one[0]),
        default=(0, None),
    )[1]
    if found is None or not _is_starved(found):
        return found
    before = rectifiers[: rectifiers.index(found)]
    return next((one for one in before if share_of_units(one) == 1.0 and not _is_starved(one)), found)


def _is_starved(units: Units) -> bool:
    given = units.input
    return units.kind == "relu" and given is not None and 0 < given.size == given.zero


def predict(case: Case) -> list[Prediction]:
    """With the data scaled, where they keep the rectifier below 0, or with the weights behind it drawn anew, or its input brought
    to both sides of 0, a gradient passes."""
    units = _worst(case)
    if units is None or not units.location.file:
        return []
    wide, names = widest(features(case)), behind(case, units.location)
    given = (Prediction(Values("", "standardised")),) if wide is not None and off_centre(wide) else ()
    drawn = (Prediction(State("parameters", "redrawn", names)),) if names else ()
    return [*given, *drawn, Prediction(Scaled(Place(units.kind, units.location.file, units.location.line)))]
