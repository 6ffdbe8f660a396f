"""A parameter was never given a value.

What happens
------------
`torch.empty` and its relatives reserve memory and leave in it whatever was there: zeros on a good day, NaN or 1e30 on
a bad one. A new head, a placeholder on another rank, a key missing from a checkpoint.

How to recognise it
-------------------
A parameter is non-finite or absurdly large before the first step, and nothing was loaded. It may differ from run to
run and from machine to machine.

What to do
----------
Initialise it where it is made, or use `zeros`, `ones` or an initialiser instead of `empty`.

Example
-------
::

    self.scale = nn.Parameter(torch.empty(width))
    self.scale = nn.Parameter(torch.ones(width))

References
----------
huggingface/transformers#30953, huggingface/transformers#45050, TransformerLensOrg/TransformerLens#902,
meta-pytorch/torchrec#2648
"""

from __future__ import annotations

import re

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import amplitude, bad_rows, birth, birth_location, made_by, otherwise_ordinary, state_born
from stayfinite.catalog.places import made
from stayfinite.catalog.predictions import mended
from stayfinite.catalog.scales import parameter_scale
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction, State
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.survey import Making

TITLE = "Parameter never initialised"
PRIOR = prior(threads=6)
APPLIES_TO = Scope()
EXAMPLES = ("uninitialized-parameter", "positions-never-set", "hand-made-layers")

GARBAGE = 1e12
"""Magnitudes that no random generator was asked for: memory that was never written."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that reserved the memory; else where it was first used."""
    name = case.origin.parameter.rpartition(".")[2] if case.origin is not None and case.origin.parameter else ""
    own = made(case, "operand", "reserve", fits=lambda one: _names(name, one)) if name else None
    return (birth_location(case) if made_by(case) else None) or own or made(case, "operand", "reserve") or birth_location(case)


def _names(name: str, one: Making) -> bool:
    """True where the line of `one` gives the memory to the parameter `name`, of several that a layer reserves."""
    return re.search(rf"(\.{name}\b\s*[:=]|[\"']{name}[\"'])", one.location.code) is not None


def evidence(case: Case) -> list[Evidence]:
    """Whether a parameter was bad before the first step, and whether a state was loaded."""
    found = [_state(case)]
    if case.symptom.step > 0:
        found.append(Evidence(f"{case.symptom.step} steps went well before", -4.0, "step"))
    made = birth(case)
    if made is not None and made.by == "constructor":
        return [*found, Evidence(made.how, 5.0, "written")]
    if made is not None and made.by in ("checkpoint", "write"):
        return [*found, Evidence(made.how, -9.0, "written")]
    sound = case.configuration.loaded_finite is True
    rows = bad_rows(case)
    if rows is not None and state_born(case) == "parameter":
        found.append(Evidence(f"row {rows[0]} and all after it, to the last of {rows[1]}, hold nothing else", 3.0, "written"))
    elif case.overwritten and not sound:
        found.append(Evidence(f"`{case.overwritten[0]}` had been initialised, and was written again", -6.0, "written"))
    elif otherwise_ordinary(case) is not None:
        found.append(Evidence("its other elements are numbers as an initialiser draws them", -5.0, "written"))
    if sound:
        found.append(Evidence("all that was loaded was finite then", 1.0, "checkpoint"))
    elif case.configuration.checkpoint is not None:
        found.append(Evidence("a state was loaded over it", -3.0, "checkpoint"))
    return found


def _state(case: Case) -> Evidence:
    born = state_born(case)
    if born == "parameter":
        name = case.origin.parameter if case.origin is not None else None
        which = f"the parameter `{name}`" if name else "a parameter"
        return Evidence(f"{which} was non-finite before the step", 7.0, "origin-leaf")
    if case.origin is None and any(stats.nonfinite for stats in case.parameters):
        return Evidence("parameters are non-finite, perhaps since before the step", 3.0, "origin-leaf")
    if parameter_scale(case) >= GARBAGE and case.symptom.step == 0:
        return Evidence(f"parameters reach {show(parameter_scale(case))} before the step", 5.5, "origin-leaf")
    return Evidence("the parameters were finite and of ordinary size before the step", -9.0, "origin-leaf")


def predict(case: Case) -> list[Prediction]:
    """With what was never written drawn as its layer draws it, the step passes."""
    absurd = tuple(stats.name for stats in case.parameters if amplitude(stats) >= GARBAGE and not stats.nonfinite)
    bad = any(stats.nonfinite for stats in case.parameters) or state_born(case) == "parameter"
    return [
        *(mended(case, "parameters") if bad else ()),
        *((Prediction(State("parameters", "redrawn", absurd)),) if absurd else ()),
    ]
