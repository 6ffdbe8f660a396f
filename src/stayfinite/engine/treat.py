"""Changes that a running training may go on with: performed in every step from now on, where the held step was seen to pass.

An experiment changes one step to prove a cause; a treatment is the same change in every step that follows. Not every change that
lets the step pass is one. What leaves a sample, a term or an update out hides the failure. An operand that is kept inside its
domain gets no gradient where it was replaced, so it is kept there with the slope of the nearest allowed value instead, and what
is left with a dead or a bad gradient on the held step is no treatment. A lower rate is for the policy of recovery to choose.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence

import msgspec

from stayfinite import shield
from stayfinite.catalog import pages
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.operator_predictions import inside_domain, place, softmax_by_hand
from stayfinite.catalog.predictions import FEW, since_it_grew
from stayfinite.catalog.scales import targets
from stayfinite.engine.candidates import candidates as cures
from stayfinite.engine.experiments import LIKELY, Judge, predictions
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.engine.prescribe import is_mask
from stayfinite.engine.recover import is_far
from stayfinite.records.diagnosis import Diagnosis, Treatment
from stayfinite.records.incident import Case
from stayfinite.records.intervention import (
    Backend,
    Bypassed,
    Damped,
    Form,
    Intervention,
    Joined,
    LossScale,
    Precision,
    Scaled,
    Stable,
    State,
    Term,
    Update,
    Values,
    Within,
)
from stayfinite.records.numbers import Number, to_float

REPLAYS = 16
"""Repetitions that looking for treatments may take."""
ENOUGH = 3
"""Treatments after which no other one is looked for: each may be tried, and be withdrawn, in turn."""
LEADING = 0.3
"""Probability from which the changes of the first cause are tried on the run itself."""
MARGIN = 1e-3
"""How far inside its domain an operand is kept at least: the slope of a logarithm is a thousand there, and not a million."""
CAUSES = 4
"""Causes whose changes are tried at most; further ones are hardly about this failure."""
_FORMS: tuple[Form, ...] = (
    "log-softmax", "epsilon-inside", "hypot", "double-where", "safe-softmax", "unbiased-off", "mean-over-some", "jitter",
)
"""Stable forms that any operator at the origin may be tried in: one that does not fit it changes nothing there."""
_CHOSEN = frozenset({"double-where", "safe-divide"})
"""Forms that put a harmless number in the place of an operand."""
_EXACT = Precision | Stable | Backend | LossScale | Joined | Bypassed
"""The same training wherever the original was finite; what cures a structural fault counts among them."""

_OF_RUNS = State | LossScale | Update | Values | Term
"""What may be tried on the run itself, where steps cannot tell: changes to what steps are made of, and not to one operator."""

Treatments = Generator[ReplayRequest, Outcome, tuple[Treatment, ...]]


def treatments(
    case: Case, diagnosis: Diagnosis, sources: Mapping[str, str], *, budget: float, replays: int = REPLAYS, judge: Judge | None = None
) -> Treatments:
    """Find changes that let the held step of `case` pass and hide nothing.

    **Arguments**: `sources`: text of the user's files, by file as in `Location`; `budget`: seconds; `replays`: repetitions at most,
    0 where the step cannot be repeated; `judge`: of a failure whose numbers are finite, what a survey of the repeated step still
    shows of it.

    **Returns** a generator of replay requests whose value are the treatments, best first: what confirmed a cause, then what leaves the
    training what it is wherever it was finite; last what only the run itself can tell, from an earlier state.
    """
    until = time.monotonic() + budget
    found: list[Treatment] = []
    left: list[Treatment] = []
    for one in candidates(case, diagnosis, sources):
        if judge is not None and not one.origin:
            continue  # no operator failed
        if one.steps == 0:
            left.append(one)
        if one.steps == 0 or len(found) >= ENOUGH:
            continue
        over_the_run = one.steps > 1 and isinstance(one.interventions[0], _OF_RUNS)
        if replays <= 0 or time.monotonic() > until:
            left += [msgspec.structs.replace(one, tried=False)] if over_the_run else []
            continue
        replays -= 1
        outcome = yield ReplayRequest("experiment" if judge is None else "survey", one.interventions[0], steps=one.steps)
        if judge is not None and judge(outcome):
            continue
        if outcome.unrepeatable and over_the_run:
            left.append(msgspec.structs.replace(one, tried=False))
        elif passes(one.interventions[0], outcome) and (judge is not None or not _is_ruined(case, outcome)):
            found.append(one)
    proven = _proven(diagnosis)
    others = [one for one in found if one.origin != proven]  # what just happens to let this step pass
    return (*(one for one in found if one.origin == proven), *_over_the_run(left, diagnosis), *others)


def _proven(diagnosis: Diagnosis) -> str | None:
    """The first cause that was confirmed."""
    return next((one.cause for one in diagnosis.hypotheses if one.verdict == "confirmed"), None)


def _over_the_run(left: Sequence[Treatment], diagnosis: Diagnosis) -> Sequence[Treatment]:
    """Of what no step can tell the changes of the leading cause, if it is likely enough to try them on the run."""
    lead = next(iter(diagnosis.hypotheses), None)
    if lead is None or lead.verdict == "refuted" or lead.probability < LEADING:
        return ()
    return [one for one in left if one.origin == lead.cause][:ENOUGH]


def with_cure(case: Case, diagnosis: Diagnosis) -> Diagnosis:
    """`diagnosis`, whose remedies were tried, for a run that recovers. What the first verified cure does to a step comes first, where
    the held step passes with exactly that; else `Diagnosis.again` names the cure: a run from the start has shown that its patch
    helps, and of other changes it is only known that one step passes."""
    cure = next((one for one in diagnosis.remedies if one.verdict == "verified" and one.fix is not None), None)
    if cure is None:
        return diagnosis
    own = [lasting(change, case) for change in cure.interventions]
    same = [one for one in diagnosis.treatments if one.tried and one.exact and one.steps == 1 and one.interventions[0] in own]
    others = [one for one in diagnosis.treatments if one not in same]
    return msgspec.structs.replace(diagnosis, treatments=(*same, *others), again="" if same else cure.remedy)


def passes(change: Intervention, outcome: Outcome) -> bool:
    """True if the step passed with `change`, and every element that was not finite has a gradient that is, where one is wanted."""
    effect = outcome.effect
    if outcome.failed or outcome.unrepeatable or effect is None or effect.refused or not effect.applied:
        return False
    if effect.gradient == "nonfinite" or (outcome.losses and not any(map(to_float, outcome.losses))):
        return False  # a loss of exactly 0 asks for nothing: that is how a step looks from which everything was taken
    if isinstance(change, Stable) and change.form in _CHOSEN:
        return effect.arrived == "zero"  # what stands for these elements is any number: right only where nothing uses them
    if isinstance(change, Within):
        return effect.gradient in ("finite", "") or effect.arrived == "zero"  # "": it is no number that anything learns from
    dead = effect.gradient == "zero" and effect.arrived == "finite"
    return not dead or isinstance(change, Stable)  # another stable form may have a slope of 0 there by right


def _is_ruined(case: Case, outcome: Outcome) -> bool:
    """True if the loss of the step, though it passes, is one of a state that has left where it was: then it is the state that has to
    be changed."""
    after = [to_float(value) for value in outcome.losses]
    before = [to_float(value) for value in case.window("loss").values] if len(after) < 2 else []
    finite = [value for value in (*before, *after) if math.isfinite(value)]
    return len(finite) > 2 and is_far([*enumerate(finite)])


def candidates(case: Case, diagnosis: Diagnosis, sources: Mapping[str, str]) -> list[Treatment]:
    """What may be tried, best first: what the causes expect, what remedies do to a running training, what is known of the failing
    operator. An operand kept inside its domain comes last: another form of the operation leaves it what it is."""
    found: dict[tuple[Intervention, int], Treatment] = {}
    for offer in (*_of_causes(case, diagnosis), *_of_remedies(case, diagnosis, sources), *_of_operator(case)):
        found.setdefault((offer.interventions[0], offer.steps), offer)
    proven = _proven(diagnosis)

    def place_of(one: Treatment) -> tuple[bool, bool, bool]:
        kept_inside = isinstance(one.interventions[0], Within)
        return kept_inside, one.origin != proven, not one.exact

    return sorted(found.values(), key=place_of)


def lasting(change: Intervention, case: Case) -> Intervention | None:
    """`change` as a whole run may go on with it; ``None`` if it would hide the failure, or is not to be had for more than a step."""
    if isinstance(change, Within):
        if change.others or change.place.kind in ("distribution", "sample"):
            return None  # a density at the edge is as steep as the edge is near: what is driven back from there never arrives
        low, high, away = inner(change.low, 1.0), inner(change.high, -1.0), max(change.away, MARGIN) if change.away else 0.0
        return msgspec.structs.replace(change, passes=True, low=low, high=high, away=away)
    if isinstance(change, Stable) and change.form == "zero-infinity":
        return None  # a sample that costs nothing is one left out, and nobody counts it
    if isinstance(change, Stable) and change.form == "unbiased-off" and change.place.kind == "batch_norm":
        return None  # a batch of one has no statistics: what comes of it says nothing, and leaving it out is counted
    if isinstance(change, (Precision, Stable, Backend, LossScale, Joined, Bypassed, Damped)):
        return change
    if isinstance(change, Scaled):
        return None if change.others else change
    if isinstance(change, Values):  # what is made up for a target or a label gives a gradient to a wrong answer
        aims = {stats.name for stats in targets(case)} | {stats.name for stats in case.batch if dtype_facts(stats.dtype) is None}
        made_up = change.how != "standardised" and {change.name, *change.also} & aims
        return None if change.others or made_up else change
    if isinstance(change, State):
        return None if change.others or change.how in ("shuffled", "frozen") else change
    if isinstance(change, Term):
        return change if change.weight else None
    if isinstance(change, Update):
        return change if change.rate >= 1.0 and not change.skipped else None
    return None


def inner(bound: Number, inwards: float) -> Number:
    """`bound` as far from the whole number it lies just beside as a run bears, whose every update is made with the slope there."""
    number = to_float(bound)
    if not math.isfinite(number) or not 0.0 < inwards * (number - round(number)) < MARGIN:
        return bound
    return round(number) + inwards * MARGIN


def _treatment(case: Case, origin: str, change: Intervention, steps: int = 1, *, proven: bool = False) -> Treatment | None:
    kept = lasting(change, case)
    if kept is None:
        return None
    exact = isinstance(kept, _EXACT) or (isinstance(kept, State) and kept.how not in ("redrawn", "scaled-draw"))
    return Treatment(origin, (kept,), steps=steps, tried=steps > 0, exact=exact, sure=exact or proven)


def _of_causes(case: Case, diagnosis: Diagnosis) -> Iterator[Treatment]:
    since = since_it_grew(case)
    likely = [one for one in diagnosis.hypotheses if one.verdict == "confirmed"]
    likely += [one for one in diagnosis.hypotheses if one.verdict not in ("confirmed", "refuted") and one.probability >= LIKELY]
    for hypothesis in likely[:CAUSES]:
        for change in changes(hypothesis.cause, case):
            one = _treatment(case, hypothesis.cause, change, 0, proven=hypothesis.verdict == "confirmed")
            if one is not None:
                yield one
        refuted = {(one.change, one.steps) for one in hypothesis.experiments if one.outcome not in ("finite", "not performed")}
        for prediction in predictions(hypothesis.cause, case):
            for steps in sorted({prediction.steps, since} if prediction.steps == 1 else {prediction.steps}, reverse=True):
                if prediction.reveals or (prediction.change.told, steps) in refuted:
                    continue
                one = _treatment(case, hypothesis.cause, prediction.change, steps, proven=hypothesis.verdict == "confirmed")
                if one is not None:
                    yield one


def changes(cause: str, case: Case) -> Sequence[Intervention]:
    """What `cause` knows for a run to go on with beside what it predicts of a step; nothing if it knows none."""
    known: Sequence[Intervention] = ()
    with shield.shielded(f"cause {cause}"):
        known = getattr(pages.load("causes", cause), "treat", lambda _case: ())(case)
    return known


def _of_remedies(case: Case, diagnosis: Diagnosis, sources: Mapping[str, str]) -> Iterator[Treatment]:
    for remedy in cures(case, diagnosis.hypotheses, sources):
        if remedy.interventions and not is_mask(remedy):
            one = _treatment(case, remedy.remedy, remedy.interventions[0])
            if one is not None:
                yield one


def _of_operator(case: Case) -> Iterator[Treatment]:
    here = place(case)
    if here is None or (since_it_grew(case) > 1 and case.symptom.step > FEW):  # the harm was done in earlier steps
        return
    by_hand = softmax_by_hand(case)
    offers: Sequence[Intervention] = (
        *([by_hand] if by_hand is not None else []), *(Stable(here, form) for form in _FORMS), Precision("float64", here),
        Precision("float32"), *(one.change for one in inside_domain(case)),
    )
    for change in offers:
        one = _treatment(case, "", change)
        if one is not None:
            yield one
