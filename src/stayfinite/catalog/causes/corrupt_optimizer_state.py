"""A moment of the optimizer was already bad when the step began.

What happens
------------
Moments are kept over steps and restored with a checkpoint. One that is infinite or NaN, from another format, another
sharding or an earlier overflow, spoils every update of its parameter.

How to recognise it
-------------------
Gradients are finite, and a moment was non-finite before the optimizer ran; typically right after a restart.

What to do
----------
Compare the saved with the restored state, formats and shapes included. Start the moments afresh with a short warm-up
if the saved ones are lost.

Example
-------
::

    optimizer.load_state_dict(saved["optimizer"])
    assert all(v.isfinite().all() for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v))

References
----------
NVIDIA-NeMo/RL#3544, NVIDIA/apex#480, NVIDIA/apex#180, EvolvingLMMs-Lab/OneVision-Encoder#65
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import (
    bad_leaf,
    birth,
    birth_location,
    finite,
    inputs,
    kind,
    made_by,
    optimizer_location,
    phase,
    state_born,
)
from stayfinite.catalog.places import made, saved_in_half
from stayfinite.catalog.predictions import mended
from stayfinite.catalog.scales import lone_element, lone_mended, told_alone
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction, State
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats

_SQUARES = ("avg_sq", "square_avg", "sum")
"""How the names of such moments end: `exp_avg_sq`, `square_avg`, `max_exp_avg_sq`, Adagrad's `sum`."""

TITLE = "Corrupt optimizer state"
PRIOR = prior(threads=4)
APPLIES_TO = Scope()
EXAMPLES = ("corrupt-optimizer-state", "halved-moments", "moments-by-hand", "momentum-average")


def evidence(case: Case) -> list[Evidence]:
    """Whether a moment was bad before the step, and whether a state was loaded."""
    moment = bad_leaf(case, "moment")
    if state_born(case) == "moment" or (moment is not None and phase(case) in ("optimizer", "")):
        name = f" `{moment.name}`" if moment is not None else ""
        found = [Evidence(f"the moment{name} was non-finite before the step", 9.0, "origin-leaf")]
        made = birth(case)
        if made is not None and made.by == "checkpoint":
            found.append(Evidence(made.how, 4.0, "checkpoint"))
        elif case.configuration.checkpoint is not None:
            found.append(Evidence("the script loaded a state before", 1.5, "checkpoint"))
        return found
    alone = lone_element(case, "moment")
    if alone is not None:
        return [Evidence(told_alone(alone), 12.0, "origin-leaf")]
    square = _negative(case)
    if square is not None:
        return [Evidence(f"`{square.name}`, a running mean of squares, is {show(square.min)} at its least", 10.0, "origin-leaf")]
    return [Evidence("no moment was bad before the step", -9.0, "origin-leaf")]


def _negative(case: Case) -> TensorStats | None:
    """A moment that sums or averages squares and is below 0 somewhere: no update makes one."""
    if kind(case).name != "optimizer_update":
        return None
    squares = [stats for stats in inputs(case) if stats.name.endswith(_SQUARES)]
    return next((stats for stats in squares if (finite(stats.min) or 0.0) < 0.0), None)


def locate(case: Case) -> Location:
    """The line that saved the state in half precision; else where it was loaded, or the script wrote it;
    else where the optimizer was constructed."""
    if made_by(case) == "checkpoint":
        return saved_in_half(case) or birth_location(case)
    if made_by(case):
        return birth_location(case)
    written = made(case, "state", "divide", far=2) or made(case, "state", "write")
    return case.configuration.checkpoint or written or optimizer_location(case)


def predict(case: Case) -> list[Prediction]:
    """With the bad elements of the moments set to what a fresh optimizer has, the step passes."""
    if bad_leaf(case, "moment") is not None:
        return mended(case, "moments")
    square = _negative(case)
    if square is not None:
        return [Prediction(State("moments", "mended", tuple(f"{square.name} of {name}" for name in case.symptom.names)))]
    # an update that was made with it has left it in the weights as well: mending one of them alone would prove nothing
    return lone_mended(case, "moment", "moments") if lone_element(case, "parameter") is None else []
