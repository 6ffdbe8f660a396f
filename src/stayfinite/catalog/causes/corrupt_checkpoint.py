"""The parameters were already bad in the checkpoint that was loaded.

What happens
------------
A checkpoint written after a failure, in the middle of writing, or converted with a wrong format holds NaN, infinities
or garbage. Training starts from them.

How to recognise it
-------------------
A parameter (or buffer) is non-finite before the first step, and the script loaded a state.

What to do
----------
Load an earlier checkpoint, and check files before they replace good ones. Compare the loaded state with the file: a
missing key leaves a parameter as it was constructed.

Example
-------
::

    state = torch.load("last.pt")
    bad = [name for name, value in state.items() if not value.isfinite().all()]

References
----------
cardwing/Codes-for-PVKD#9, deepmodeling/deepmd-kit#5519
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import birth, birth_location, made_by, otherwise_ordinary, state_born
from stayfinite.catalog.places import saved_in_half
from stayfinite.catalog.predictions import mended
from stayfinite.catalog.scales import parameter_scale
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats

TITLE = "Corrupt checkpoint"
PRIOR = prior(threads=1)
APPLIES_TO = Scope()
EXAMPLES = ("corrupt-checkpoint", "resumed-from-last", "averaged-checkpoints")

ABSURD = 1e8
"""Parameters of that size are not the result of a training that was worth saving."""


def evidence(case: Case) -> list[Evidence]:
    """Whether a state was loaded, and whether it was bad before the first step."""
    found = [_state(case)]
    damaged = otherwise_ordinary(case)
    made = birth(case)
    if made is not None and made.by == "checkpoint":
        return [*found, Evidence(made.how, 6.0, "checkpoint")]
    if made is not None and made.by in ("constructor", "write"):
        return [*found, Evidence(made.how, -9.0, "checkpoint")]
    if case.configuration.loaded_finite:
        found.append(Evidence("all that was loaded was finite then", -9.0, "checkpoint"))
    elif case.configuration.checkpoint is None and case.overwritten:
        found.append(
            Evidence(f"`{case.overwritten[0]}` was written again after it had been initialised", 2.0, "checkpoint")
        )
    elif case.configuration.checkpoint is None and damaged is not None and case.symptom.step == 0:
        found.append(Evidence(_damage(damaged), 5.0, "checkpoint"))
    elif case.configuration.checkpoint is None:
        found.append(Evidence("the script loaded no state", -8.0, "checkpoint"))
    else:
        found.append(Evidence("the script loaded a state before", 2.0, "checkpoint"))
    if case.symptom.step > 0:
        found.append(Evidence(f"{case.symptom.step} steps went well before", -5.0, "step"))
    return found


def _damage(stats: TensorStats) -> str:
    return f"{stats.nonfinite} of {stats.size} elements of `{stats.name}` are non-finite, the others are as trained"


def _state(case: Case) -> Evidence:
    born = state_born(case)
    if born in ("parameter", "buffer", "moment"):
        name = (case.origin.parameter or case.origin.buffer) if case.origin is not None else None
        of = f"{born} `{name}`" if name else f"a {born}"
        return Evidence(f"{of} was non-finite before the step computed anything", 8.0 if born != "moment" else 3.0,
                        "origin-leaf")
    if case.origin is None and any(stats.nonfinite for stats in case.parameters):
        return Evidence("parameters are non-finite, perhaps since before the step", 3.0, "origin-leaf")
    if parameter_scale(case) >= ABSURD and case.symptom.step == 0:
        return Evidence(f"parameters reached {show(parameter_scale(case))} before the step", 3.0, "origin-leaf")
    return Evidence("the state was finite and of ordinary size before the step", -8.0, "origin-leaf")


def locate(case: Case) -> Location:
    """The line that saved the state in half precision; else where it was loaded, or its bad value first used."""
    if made_by(case) == "checkpoint":
        return saved_in_half(case) or birth_location(case)
    if made_by(case):
        return birth_location(case)
    return case.configuration.checkpoint or birth_location(case)


def predict(case: Case) -> list[Prediction]:
    """With the bad elements of what was loaded set to what a fresh one has, the step passes."""
    born = state_born(case)
    if born in ("buffer", "moment"):
        return mended(case, "buffers" if born == "buffer" else "moments")
    return mended(case, "parameters") if any(stats.nonfinite for stats in case.parameters) else []
