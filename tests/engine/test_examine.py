"""Failures whose numbers stay finite, with one thing changed: is what the survey showed still there?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import pytest
from catalog.cases import WRITTEN

from stayfinite.engine.examine import REPLAYS, examine
from stayfinite.engine.ports import Examined, Listener, Outcome, ReplayRequest
from stayfinite.records.diagnosis import Diagnosis, Hypothesis
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Effect, Intervention, State
from stayfinite.records.survey import Survey

CASES = {written.name: written.case for written in WRITTEN}
DEAD = CASES["a layer of dead rectifiers"]
LISTENER = cast(Listener, None)  # nothing is told while an examination runs


def conduct(
    case: Case, step: Callable[[Intervention], Outcome], budget: float = 60.0, suspected: Sequence[str] = ()
) -> tuple[Examined, list[ReplayRequest]]:
    """What an examination comes to, and what it asked for. `step`: answers requests with a change."""
    running = examine(case, LISTENER, repeatable=None, budget=budget, suspected=suspected)
    asked: list[ReplayRequest] = []
    outcome: Outcome | None = None
    while True:
        try:
            request = running.send(outcome) if outcome is not None else next(running)
        except StopIteration as finished:
            return finished.value, asked
        asked.append(request)
        changed = request.intervention
        outcome = Outcome(False, "", survey=case.survey, trace=case.trace) if changed is None else step(changed)


def shows(survey: Survey | None) -> Outcome:
    return Outcome(False, "", survey=survey, trace=DEAD.trace, effect=Effect(applied=3))


def alive(case: Case) -> Survey:
    """A survey of a step in which the gradient arrives everywhere."""
    assert case.survey is not None
    return msgspec.structs.replace(case.survey, barriers=(), units=(), parameters=())


@pytest.mark.parametrize(("change", "placebo", "verdict"), [
    (True, False, "confirmed"), (True, True, "inconclusive"), (False, False, "refuted"),
])
def test_a_finite_failure_is_gone_or_still_there(change: bool, placebo: bool, verdict: str) -> None:
    def step(one: Intervention) -> Outcome:
        is_placebo = getattr(one, "others", False) or (isinstance(one, State) and one.how == "shuffled")
        gone = placebo if is_placebo else change
        return shows(alive(DEAD) if gone else DEAD.survey)

    examined, asked = conduct(DEAD, step)
    assert examined.incident is not None
    first = next(one for one in examined.incident.diagnosis.hypotheses if one.cause == "dead-relu")
    assert first.verdict == verdict
    assert asked[0] == ReplayRequest("survey") and all(one.purpose == "survey" and one.intervention for one in asked[1:])
    assert examined.incident.diagnosis.replays == len(asked) - 1 <= REPLAYS
    if verdict == "confirmed":
        assert "the plateau is gone" in first.verdict_reason and first.experiments[0].placebo == "plateau"


def test_what_holds_it_back_elsewhere_is_no_cure() -> None:
    other = CASES["flat tanh"].survey

    def step(one: Intervention) -> Outcome:
        return shows(msgspec.structs.replace(other, parameters=DEAD.survey.parameters) if other and DEAD.survey else None)

    examined, _ = conduct(DEAD, step)
    assert examined.incident is not None
    first = next(one for one in examined.incident.diagnosis.hypotheses if one.cause == "dead-relu")
    assert first.verdict in ("inconclusive", "refuted") and first.experiments[0].outcome != "finite"


def test_without_time_nothing_is_tried() -> None:
    def step(one: Intervention) -> Outcome:
        raise AssertionError(one)

    examined, asked = conduct(DEAD, step, budget=0.0)
    assert examined.incident is not None and len(asked) == 1
    assert all(one.verdict == "not_tested" for one in examined.incident.diagnosis.hypotheses)


def test_a_change_that_cannot_be_looked_at_says_nothing() -> None:
    def step(one: Intervention) -> Outcome:
        return Outcome(True, "", unrepeatable="it opens a file for writing")

    examined, _ = conduct(DEAD, step)
    assert examined.incident is not None
    first: Any = examined.incident.diagnosis.hypotheses[0]
    assert first.verdict == "not_tested" and "opens a file" in first.verdict_reason


def test_what_one_survey_does_not_prove_is_tried_when_another_shows_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from stayfinite.engine import mechanisms

    found = mechanisms.mechanism(DEAD)
    assert found is not None
    monkeypatch.setattr(mechanisms, "mechanism", lambda case: found._replace(certain=False))
    examined, asked = conduct(DEAD, lambda one: shows(DEAD.survey))
    assert examined.incident is not None and not examined.certain and len(asked) == 1
    _, asked = conduct(DEAD, lambda one: shows(DEAD.survey), suspected=(examined.incident.id,))
    assert len(asked) > 1


def test_a_mechanism_that_an_experiment_disproves_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from stayfinite.engine import rank

    close = Diagnosis((Hypothesis("dead-relu", "", 2.0, 0.7), Hypothesis("unknown", "", 0.0, 0.2)))
    monkeypatch.setattr(rank, "rank", lambda case: close)
    examined, asked = conduct(DEAD, lambda one: shows(DEAD.survey))
    assert examined.incident is None and len(asked) > 1
    examined, _ = conduct(DEAD, lambda one: shows(DEAD.survey), budget=0.0)
    assert examined.incident is not None


def test_a_loss_that_depends_on_nothing_the_optimizer_has_is_told() -> None:
    from stayfinite.catalog.causes import frozen_parameters
    from stayfinite.engine.mechanisms import mechanism

    assert DEAD.survey is not None
    symptom = msgspec.structs.replace(DEAD.symptom, detector="dead-gradient")
    for gradient in (None, DEAD.survey.parameters[0].gradient):
        states = tuple(msgspec.structs.replace(one, gradient=gradient, arrived="nan") for one in DEAD.survey.parameters)
        survey = msgspec.structs.replace(DEAD.survey, barriers=(), units=(), parameters=states)
        case = msgspec.structs.replace(DEAD, symptom=symptom, survey=survey)
        found = mechanism(case)
        assert (found is not None and found.whole) == (gradient is None)
        assert any("does not depend" in one.claim for one in frozen_parameters.evidence(case)) == (gradient is None)
