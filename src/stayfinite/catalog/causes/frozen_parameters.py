"""The parameters that should learn never change: no gradient reaches them, or no update.

What happens
------------
Between a loss and a changed parameter lie many steps that can be missing without an error: the optimizer was built before a
layer was replaced and still has the old one; `requires_grad` is off; `.data`, `detach` or a loss wrapped anew cut the
graph; the gradients are cleared between the backward pass and the update; the rate is 0; clipping to a norm next to 0
leaves nothing; or an update is smaller than the spacing of bfloat16 numbers and is rounded away.

How to recognise it
-------------------
The loss wanders and does not fall, and after an update the parameters are bit for bit what they were. In the repeated step
the optimizer's parameters have no gradient, or others have one, or there are gradients and nothing moved.

What to do
----------
Build the optimizer after the model is complete and on its device; order zero_grad, backward, step; look for `detach`,
`.data`, `.item()` and `torch.tensor(...)` between the model and the loss. Keep float32 copies of parameters in half
precision, or raise the rate.

Example
-------
::

    optimizer = Adam(model.parameters()); model.head = nn.Linear(32, 5)
    model.head = nn.Linear(32, 5); optimizer = Adam(model.parameters())

References
----------
Jiang et al. 2025 (TrainCheck) for updates that change nothing; the spacing of floating-point formats from IEEE 754
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import amplitude, finite, optimizer_location
from stayfinite.catalog.places import made
from stayfinite.catalog.surveyed import (
    NOTHING_LEARNED,
    is_rounded,
    magnitude,
    reached,
    strangers,
    surveyed,
    trained,
    was_cleared,
)
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Joined, Place, Prediction, State, Update
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.survey import Barrier

TITLE = "Parameters do not change"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(detectors=NOTHING_LEARNED)
EXAMPLES = ("borrowed-eyes", "half-the-bytes", "ising-sheet", "tidal-harmonics")

NO_CLIP = 1e-9
"""Factor of a clipping below which updates vanish in float32 (spacing 6e-8) for parameters of the gradient's size."""
LITTLE = 1e-3
"""The same for a loss that does not fall, where it held at every update."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that cuts the graph, clears or clips away the gradients, or builds what no optimizer has; else where the
    optimizer was constructed."""
    built = case.configuration.built_late_at
    late = built if built.file else made(case, "parameters", "rebind")
    alone = strangers(case)
    if alone and not reached(case):  # whatever was cut off, the optimizer has the wrong parameters
        return late or optimizer_location(case)
    cut = _cut(case)
    if cut is not None and cut.location.file:
        return cut.location
    if was_cleared(case) and surveyed(case).cleared_at.file:
        return surveyed(case).cleared_at
    if _limits(case) and case.configuration.clipped_at.file:
        return case.configuration.clipped_at
    return (late if alone else None) or optimizer_location(case)


def evidence(case: Case) -> list[Evidence]:
    """Who has a gradient, who has an optimizer, and what the update changed."""
    if case.survey is None or not case.survey.parameters:
        return [Evidence("it is not known what the update changed", -3.0, "change")]
    found = [*_owners(case), *_cleared(case), *_graph(case), *_update(case)]
    if not found:
        return [Evidence("the optimizer's parameters have a gradient, and it changes them", -9.0, "change")]
    return found


def _owners(case: Case) -> list[Evidence]:
    states = surveyed(case).parameters
    alone = strangers(case)
    owned = [s for s in states if s.owned]
    if alone and not reached(case):
        return [Evidence(f"`{alone[0].name}` has a gradient and no optimizer, and nothing that an optimizer has gets one",
                         8.0, "owners")]
    if owned and not any(s.requires_grad for s in owned):
        return [Evidence("nothing that the optimizer has asks for a gradient", 8.0, "owners")]
    cut = was_cleared(case) or _cut(case) is not None
    if not cut and trained(case) and all(state.gradient is None for state in trained(case)):
        return [Evidence("the loss that is differentiated does not depend on anything that an optimizer has", 8.0, "owners")]
    if len(alone) > len(reached(case)):
        return [Evidence(f"{len(alone)} parameters have a gradient and no optimizer (`{alone[0].name}`)", 4.0,
                         "owners")]
    return []


def _cleared(case: Case) -> list[Evidence]:
    if not was_cleared(case):
        return []
    lost = max(trained(case), key=lambda state: magnitude(state.arrived))
    return [Evidence(f"the backward pass gave `{lost.name}` a gradient of {show(lost.arrived)}, and at the update there was "
                     "none: it was cleared in between", 8.0, "cleared")]


def _graph(case: Case) -> list[Evidence]:
    cut = _cut(case)
    if cut is None:
        return []
    named = f"`{cut.parameters[0]}`" + (f" and {len(cut.parameters) - 1} others" if len(cut.parameters) > 1 else "")
    whole = not reached(case)
    most = 2 * len(cut.parameters) > len(trained(case))
    return [Evidence(f"the graph is cut here: {named} get no gradient", 8.0 if whole else 5.0 if most else 1.0, "graph")]


def _update(case: Case) -> list[Evidence]:
    alive = reached(case)
    if not surveyed(case).stepped and alive:
        return [Evidence("no update was taken", 6.0, "change")]
    if limit := _limits(case):
        return [Evidence(limit, 9.0, "change")]
    rates = [finite(value) for optimizer in case.configuration.optimizers for value in optimizer.rates]
    if rates and not any(rates):
        return [Evidence("the rate is 0", 8.0, "change")]
    if not alive:
        return []
    still = [state for state in alive if magnitude(state.change) == 0.0]
    rounded = [state for state in alive if is_rounded(case, state)]
    if len(rounded) * 2 > len(alive):
        worst = max(rounded, key=lambda state: magnitude(state.magnitude))
        return [Evidence(f"`{worst.name}` ({worst.dtype}, up to {show(worst.magnitude)}) has a gradient of up to "
                         f"{show(amplitude(worst.gradient)) if worst.gradient else 'nan'}, and its largest elements change by "
                         f"{show(worst.change)}: updates are rounded away", 8.0, "change")]
    if len(still) == len(alive):
        return [Evidence("parameters have a gradient, and the update changes none of them", 7.0, "change")]
    return []


def _limits(case: Case) -> str:
    """In words, that clipping leaves nothing; empty if it does not."""
    limit, norm = case.configuration.clip_norm, finite(case.configuration.clipped_norm)
    if limit is None or not norm:
        return ""
    factors = [finite(value) for value in case.window("clip_factor").values]
    always = case.symptom.detector == "plateau" and bool(factors) and max(factor or 0.0 for factor in factors) <= LITTLE
    if not always and limit >= NO_CLIP * norm:
        return ""
    return f"clipping to a norm of {show(limit)} leaves {show(limit / norm)} of the gradient"


def _cut(case: Case) -> Barrier | None:
    """The place where most parameters are cut off the graph."""
    cuts = [barrier for barrier in surveyed(case).barriers if barrier.detached and barrier.parameters]
    return max(cuts, key=lambda barrier: len(barrier.parameters), default=None)


def predict(case: Case) -> list[Prediction]:
    """With what was frozen or cut off taken into the graph, or a rate that is none replaced, a gradient moves the parameters."""
    owned = [state for state in surveyed(case).parameters if state.owned]
    names = tuple(state.name for state in owned)
    other = State("parameters", "scaled-draw", names)
    alone, cut = strangers(case), _cut(case)
    if alone and (not reached(case) or len(alone) > len(reached(case))):
        return [Prediction(State("parameters", "adopted", tuple(state.name for state in alone)), other)]
    if owned and not any(state.requires_grad for state in owned):
        return [Prediction(State("parameters", "thawed", names), other)]
    if was_cleared(case) or _limits(case):
        return [Prediction(State("gradients", "kept"), other)]
    if cut is not None and cut.location.file:
        return [Prediction(Joined(Place(cut.kind, cut.location.file, cut.location.line)), other)]
    rates = [finite(value) for optimizer in case.configuration.optimizers for value in optimizer.rates]
    if rates and not any(rates):
        return [Prediction(Update(options=(("lr", 1e-3),)), Update(options=(("weight_decay", 0.0), ("momentum", 0.0))))]
    if any(is_rounded(case, state) for state in reached(case)):  # a thousand times as large, an update is no longer rounded away
        return [Prediction(Update(rate=1e3), Update(options=(("weight_decay", 0.0),)))]
    return []
