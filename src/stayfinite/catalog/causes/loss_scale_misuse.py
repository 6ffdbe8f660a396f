"""The loss was scaled for float16, and what was done with its gradients forgot it.

What happens
------------
A scaled loss gives gradients that are 65536 times too large, until they are divided again. An optimizer that is stepped
by itself takes them as they are: its rate is 65536 times too high. Clipped before they are divided, they end 65536 times
too small. A scale that begins far too high, grows faster than it falls, or belongs to a scaler made anew for each step,
makes every gradient infinite: the scaler skips each update, and nothing is learned.

How to recognise it
-------------------
An optimizer was stepped while the gradients still carried the scale; or the scaler skipped update after update, and the
same step with a scale of 1 has finite gradients. If it has not, the scaler only hides a fault that lies elsewhere.

What to do
----------
One scaler for the whole training, and always in this order. Without float16 no scaler is needed: bfloat16 has the range of
float32.

Example
-------
::

    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)                                    # before anything looks at gradients
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()

References
----------
nerfstudio-project/nerfacc#307, Junjue-Wang/FactSeg#6, lpiccinelli-eth/UniK3D#16, RobinWu218/SimDINO#38
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import finite, optimizer_location, overflowed, phase
from stayfinite.catalog.histories import growth, rate_ratio
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Intervention, LossScale, Prediction, Update
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.scaling import LossScaling, Misuse

TITLE = "Loss scale misused"
PRIOR = prior(threads=13)
APPLIES_TO = Scope()
EXAMPLES = ("loss-scale-misuse", "static-scale", "scaler-per-batch")

LARGEST_START = 2.0**24
"""Largest scale anybody begins with on purpose; the usual one is 2**16."""
QUICK_GROWTH = 4.0
"""Growth factors from which a scale rises faster than it falls; the usual one is 2."""


def evidence(case: Case) -> list[Evidence]:
    """What was done with the scale, and whether the gradients are finite without it."""
    scaling = case.configuration.loss_scaling
    if scaling is None:
        return [Evidence("the loss was not scaled", -12.0, "scale")]
    if case.replay.unscaled == "nonfinite":
        return [Evidence("gradients are not finite with a scale of 1 either: the scaler only skipped the step", -10.0,
                         "scale")]
    found = [*_skipping(case, scaling), *_enlarged(case, scaling), *_shrunk(case, scaling)]
    return found or [Evidence("the scaler was used as it is meant to be", -8.0, "use")]


def _skipping(case: Case, scaling: LossScaling) -> list[Evidence]:
    if not scaling.in_a_row or case.replay.unscaled != "finite":
        return []
    scale = show(scaling.scale) if scaling.scale is not None else "?"
    found = [Evidence(f"gradients overflow at a scale of {scale}; with a scale of 1 they are finite", 9.0, "scale")]
    found.append(Evidence(f"the scaler skipped {scaling.skipped} of {scaling.asked} updates, {scaling.in_a_row} of them "
                          "in a row", 3.0, "skipped"))
    if scaling.scalers > 1:
        found.append(Evidence(f"{scaling.scalers} scalers stepped this optimizer: each begins its calibration anew", 3.0,
                              "scalers"))
    initial = finite(scaling.initial)
    if initial is not None and initial > LARGEST_START:
        found.append(Evidence(f"it began with a scale of {show(initial)}", 3.0, "initial"))
    if scaling.growth_factor >= QUICK_GROWTH or scaling.growth_interval <= 2:
        found.append(Evidence(
            f"the scale grows {show(scaling.growth_factor)} times after {scaling.growth_interval} updates and falls to "
            f"{show(scaling.backoff_factor)}", 3.0, "growth",
        ))
    return found


def _enlarged(case: Case, scaling: LossScaling) -> list[Evidence]:
    used = scaling.misuse("stepped-scaled") or scaling.misuse("not-divided")
    if used is None:
        return []
    told = "the optimizer was stepped with gradients that still carried the scale"
    if used.kind == "not-divided":
        told = "the script multiplied its loss and stepped without dividing the gradients"
    found = [Evidence(f"{told}: {show(used.factor)} times too large, {used.times} times so far", 9.0, "use")]
    effective = (rate_ratio(case) or 0.0) * (finite(used.factor) or 1.0)
    if rate_ratio(case) is not None and effective <= 2.0:
        found.append(Evidence("the learning rate is smaller by as much: it was meant so", -11.0, "rate"))
    adaptive = all(o.kind not in ("SGD", "LBFGS", "ASGD", "Adadelta") for o in case.configuration.optimizers)
    if case.configuration.optimizers and adaptive:
        found.append(Evidence("the optimizer divides by the size of gradients: a constant factor does little", -5.0,
                              "optimizer"))
    if growth(case, "loss").grew or growth(case, "gradient_norm").grew or overflowed(case):
        found.append(Evidence("numbers grew out of range, as with a rate that is far too high", 2.0, "mechanism"))
    return found


def _shrunk(case: Case, scaling: LossScaling) -> list[Evidence]:
    used = scaling.misuse("clipped-scaled") or scaling.misuse("unscaled-loss")
    if used is None:
        return []
    told = "gradients were clipped before the scale was taken out"
    if used.kind == "unscaled-loss":
        told = "the loss was differentiated unscaled, and its gradients divided by the scale"
    small = not case.symptom.detector.startswith("nonfinite") and case.symptom.detector != "divergence"
    bits = 8.0 if small else 2.0 if phase(case) == "backward" else -2.0
    return [Evidence(f"{told}: {show(used.factor)} times too small, {used.times} times so far", bits, "use")]


def locate(case: Case) -> Location:
    """The call that forgot the scale; for a scale that never fits, where the scaler was constructed."""
    scaling = case.configuration.loss_scaling
    if scaling is None:
        return optimizer_location(case)
    misuses: list[Misuse | None] = [scaling.misuse("stepped-scaled"), scaling.misuse("not-divided")]
    if not (scaling.in_a_row and case.replay.unscaled == "finite"):
        misuses += [scaling.misuse("clipped-scaled"), scaling.misuse("unscaled-loss")]
    place = next((one.location for one in misuses if one is not None and one.location.file), scaling.location)
    return place if place.file else optimizer_location(case)


def treat(case: Case) -> list[Intervention]:
    """Losses that are not scaled: nothing of a scale can be left then."""
    return [LossScale(1.0)] if case.configuration.loss_scaling is not None else []


def predict(case: Case) -> list[Prediction]:
    """With a loss that is not scaled the gradients are finite, and not too small; with a rate that takes out what was left of the
    scale the run is finite."""
    scaling = case.configuration.loss_scaling
    if scaling is None:
        return []
    used = scaling.misuse("stepped-scaled") or scaling.misuse("not-divided")
    factor = finite(used.factor) if used is not None else None
    found = [Prediction(Update(rate=1.0 / factor), steps=0)] if factor is not None and factor > 1.0 else []
    scale = finite(scaling.scale)
    if scaling.in_a_row and scale is not None and case.replay.unscaled == "finite":
        found.insert(0, Prediction(LossScale(1.0), placebo=LossScale(0.9 * scale)))
    if scale is not None and (scaling.misuse("clipped-scaled") or scaling.misuse("unscaled-loss")) is not None:
        found.append(Prediction(LossScale(1.0), placebo=LossScale(0.9 * scale)))
    return found
