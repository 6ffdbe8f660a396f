"""From ranked causes to verdicts, with a step whose answers are written down here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from catalog.cases import WRITTEN
from hypothesis import given
from hypothesis import strategies as st

from stayfinite.engine import experiments as module
from stayfinite.engine.experiments import REPLAYS, experiment
from stayfinite.engine.placebos import DRAWS, placebos
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.engine.rank import CONFIRMED_ODDS, rank, ranked_again
from stayfinite.records.diagnosis import Diagnosis, Hypothesis
from stayfinite.records.incident import Case, ExceptionInfo
from stayfinite.records.intervention import (
    Effect,
    Intervention,
    Place,
    Precision,
    Prediction,
    Rows,
    Stable,
    State,
    Term,
    Update,
    Within,
)

CASES = {written.name: written.case for written in WRITTEN}
HERE = Place("log", "train.py", 3)
CHANGE = Within(HERE, 0, low=1e-6)
Step = Callable[[Intervention], Outcome]


def conduct(case: Case, diagnosis: Diagnosis, step: Step, **limits: float) -> tuple[Diagnosis, list[Intervention]]:
    """The diagnosis after experiments on `step`, and what was asked of it."""
    asked: list[Intervention] = []
    running = experiment(case, diagnosis, budget=limits.get("budget", 60.0), replays=int(limits.get("replays", REPLAYS)))
    outcome: Outcome | None = None
    while True:
        try:
            request: ReplayRequest = running.send(outcome) if outcome is not None else next(running)
        except StopIteration as finished:
            return finished.value, asked
        assert request.intervention is not None
        asked.append(request.intervention)
        outcome = step(request.intervention)


def passes(*, changed: bool, placebo: bool) -> Step:
    """A step that passes with `CHANGE`, and with everything else, as said."""
    def step(one: Intervention) -> Outcome:
        ok = changed if one == CHANGE else placebo
        return Outcome(failed=not ok, fingerprint="", losses=(0.5 if ok else "nan",), effect=Effect(applied=1))
    return step


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Case:
    """A case that was replayed; its first cause predicts `CHANGE`, the others nothing."""
    case = next(case for case in CASES.values() if rank(case).hypotheses and case.replay.not_tested is None)
    first = rank(case).hypotheses[0].cause
    monkeypatch.setattr(module, "predictions", lambda cause, _case: [Prediction(CHANGE)] if cause == first else [])
    return case


@pytest.mark.parametrize(("changed", "placebo", "verdict"), [
    (True, False, "confirmed"), (True, True, "inconclusive"), (False, False, "refuted"), (False, True, "refuted"),
])
def test_a_verdict_takes_the_change_and_the_placebo(replayed: Case, changed: bool, placebo: bool, verdict: str) -> None:
    before = rank(replayed)
    after, asked = conduct(replayed, before, passes(changed=changed, placebo=placebo))
    judged = next(one for one in after.hypotheses if one.cause == before.hypotheses[0].cause)
    assert judged.verdict == verdict and judged.experiments[0].change == CHANGE.told
    assert after.replays == len(asked)
    moved = judged.score - before.hypotheses[0].score
    assert (moved > 0) == (verdict == "confirmed") and (moved < 0) == (verdict == "refuted")


def test_without_any_placebo_nothing_is_confirmed(replayed: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "placebos", lambda *_: [])
    after, _ = conduct(replayed, rank(replayed), passes(changed=True, placebo=False))
    assert after.hypotheses[0].verdict == "inconclusive" and "placebo" in after.hypotheses[0].verdict_reason


def test_a_change_that_meets_nothing_says_nothing(replayed: Case) -> None:
    before = rank(replayed)
    after, _ = conduct(replayed, before, lambda _: Outcome(False, "", effect=Effect(applied=0)))
    assert after.hypotheses[0].verdict == "not_tested" and after.hypotheses[0].score == before.hypotheses[0].score
    refused, _ = conduct(replayed, before, lambda _: Outcome(False, "", effect=Effect(applied=1, refused="it cannot be")))
    assert refused.hypotheses[0].verdict_reason == "it cannot be"


def test_a_step_that_cannot_be_repeated_is_not_experimented_on(replayed: Case) -> None:
    lost = msgspec.structs.replace(replayed, replay=msgspec.structs.replace(replayed.replay, not_tested="no room"))
    assert conduct(lost, rank(lost), passes(changed=True, placebo=False))[1] == []


def test_the_limits_hold(replayed: Case) -> None:
    after, asked = conduct(replayed, rank(replayed), passes(changed=True, placebo=False), replays=1)
    assert not asked and "budget" in after.hypotheses[0].verdict_reason
    assert not conduct(replayed, rank(replayed), passes(changed=True, placebo=False), budget=0.0)[1]


@pytest.mark.parametrize(("used", "arrived", "verdict"), [
    (True, "finite", "confirmed"), (True, "zero", "inconclusive"), (False, "zero", "confirmed"), (False, "finite", "inconclusive"),
    (True, "", "confirmed"), (None, "zero", "confirmed"),
])
def test_a_cause_may_say_whether_the_loss_depends_on_what_is_changed(
    replayed: Case, monkeypatch: pytest.MonkeyPatch, used: bool | None, arrived: str, verdict: str
) -> None:
    first = rank(replayed).hypotheses[0].cause
    monkeypatch.setattr(module, "predictions", lambda cause, _: [Prediction(CHANGE, used=used)] if cause == first else [])

    def step(one: Intervention) -> Outcome:
        effect = Effect(applied=1, arrived=arrived if one == CHANGE else "")  # type: ignore[arg-type]
        return Outcome(failed=one != CHANGE, fingerprint="", effect=effect)

    after, _ = conduct(replayed, rank(replayed), step)
    assert next(one for one in after.hypotheses if one.cause == first).verdict == verdict


def test_the_placebo_of_a_cause_comes_before_the_others(replayed: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    first, own = rank(replayed).hypotheses[0].cause, Precision("float32", Place("softmax", "train.py", 2))
    monkeypatch.setattr(module, "predictions", lambda cause, _: [Prediction(CHANGE, own)] if cause == first else [])
    after, asked = conduct(replayed, rank(replayed), lambda one: Outcome(one not in (CHANGE, own), "", effect=Effect(applied=1)))
    assert asked[:2] == [CHANGE, own] and next(one for one in after.hypotheses if one.cause == first).verdict == "inconclusive"
    absent, asked = conduct(
        replayed, rank(replayed), lambda one: Outcome(one != CHANGE, "", effect=Effect(applied=int(one != own)))
    )
    assert len(asked) > 2 and next(one for one in absent.hypotheses if one.cause == first).verdict == "confirmed"


@given(st.integers(2, 40), st.data())
def test_placebo_samples_are_others_and_as_many(size: int, data: st.DataObject) -> None:
    rows = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=size))
    given_ = placebos(Rows(tuple(sorted(rows)), size), next(iter(CASES.values())), ())
    assert len(given_) <= DRAWS and (given_ or size - len(rows) <= len(rows))
    for one in given_:
        assert isinstance(one, Rows) and len(one.rows) == len(rows) and not rows & set(one.rows) and max(one.rows) < size


def test_a_placebo_stands_on_another_line_also_for_the_whole_step() -> None:
    case = next(iter(CASES.values()))
    seen = [Place("matmul", "train.py", 1), HERE, Place("mean", "train.py", 4), Place("mul", "train.py", 3)]
    found = placebos(Precision("float64", HERE), case, seen)
    assert found[0] == Precision("float64", Place("", "train.py", 4))
    assert all(isinstance(one, Precision) and one.place is not None and one.place != HERE for one in found)
    assert [one.place.line for one in found if isinstance(one, Precision) and one.place is not None] == [4, 1, 3]
    raised = msgspec.structs.replace(case, exception=ExceptionInfo("ValueError", ""))
    assert placebos(Stable(HERE, "log-softmax"), raised, seen)[0] == Precision("float64", Place("", "train.py", 1))
    assert placebos(Precision("float32", HERE), case, seen)[-1] == Precision("float64", Place("", "train.py", 4))
    line = placebos(Precision("float32", Place("", HERE.file, HERE.line)), case, [*seen, Place("add", HERE.file, HERE.line)])
    assert line and all(isinstance(one, Precision) and one.place is not None and one.place.line != HERE.line for one in line)
    whole = placebos(Precision("float64"), case, seen)
    assert whole and all(isinstance(one, Precision) and one.place is not None for one in whole)
    assert placebos(Update(rate=0.1), case, seen) == []
    assert all(isinstance(one, Term) and one.name != "kl" for one in placebos(Term(HERE, "kl"), case, seen))


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=6), st.floats(0.0, 0.3), st.floats(0.5, 6))
def test_ranking_again_leaves_what_belongs_to_no_cause_its_share(scores: list[float], kept: float, proof: float) -> None:
    total = sum(2.0**score for score in scores)
    before = [Hypothesis(f"c{n}", "", score, (1.0 - kept) * 2.0**score / total) for n, score in enumerate(scores)]
    same = ranked_again(before, before)
    assert sum(one.probability for one in same) == pytest.approx(1.0 - kept)
    assert [one.score for one in same] == sorted(scores, reverse=True)
    lifted = [msgspec.structs.replace(one, score=one.score + proof) for one in before]  # a proof that tells none of them apart
    together = sum(one.probability for one in ranked_again(lifted, before, proof))
    assert together == pytest.approx(CONFIRMED_ODDS * (1.0 - kept) / (CONFIRMED_ODDS * (1.0 - kept) + kept))
    lowered = [msgspec.structs.replace(one, score=one.score - 6.0) for one in before]
    assert sum(one.probability for one in ranked_again(lowered, before)) <= 1.0 - kept + 1e-9


def test_one_experiment_confirms_one_cause_and_speaks_as_much_for_its_rival(replayed: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = rank(replayed).hypotheses[:1], [Hypothesis(cause="rival", title="", score=0.0, probability=0.3)]
    monkeypatch.setattr(module, "predictions", lambda cause, _case: [Prediction(CHANGE)])
    before = Diagnosis(hypotheses=(*first, *second))
    after, asked = conduct(replayed, before, passes(changed=True, placebo=False))
    by_cause = {one.cause: one for one in after.hypotheses}
    rival, proven = by_cause["rival"], by_cause[first[0].cause]
    assert proven.verdict == "confirmed" and rival.verdict == "inconclusive" and first[0].cause in rival.verdict_reason
    assert rival.score - second[0].score == pytest.approx(proven.score - first[0].score)
    assert len(asked) == after.replays == len(set(map(repr, asked)))


def test_what_earlier_steps_have_done_is_not_refuted_by_the_last_one(replayed: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    change = Term(HERE, "penalty")
    first = rank(replayed).hypotheses[0].cause
    monkeypatch.setattr(module, "predictions", lambda cause, _case: [Prediction(change)] if cause == first else [])
    verdicts = []
    for steps in (1, 5):
        monkeypatch.setattr(module, "since_it_grew", lambda _case, steps=steps: steps)
        after, _ = conduct(replayed, rank(replayed), passes(changed=False, placebo=False))
        verdicts.append(next(one.verdict for one in after.hypotheses if one.cause == first))
    assert verdicts == ["refuted", "inconclusive"]


def test_a_proof_at_the_operator_is_none_against_what_may_have_fed_it(replayed: Case) -> None:
    """Whatever made an operand too large, the step passes with a smaller one: causes that nobody asked keep their share."""
    first = rank(replayed).hypotheses[0]
    others = [Hypothesis(cause=cause, title="", score=first.score + 2.0, probability=0.3) for cause in ("upstream", "unknown")]
    after, _ = conduct(replayed, Diagnosis(hypotheses=(*others, first)), passes(changed=True, placebo=False))
    assert [one.cause for one in after.hypotheses] == ["upstream", first.cause, "unknown"]
    assert after.hypotheses[1].verdict == "confirmed"


def test_what_needs_a_whole_run_is_tested_on_the_remembered_steps_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = Update(rate=0.1)
    case = next(case for case in CASES.values() if rank(case).hypotheses and case.replay.not_tested is None)
    monkeypatch.setattr(module, "predictions", lambda cause, _case: [Prediction(rate, steps=0, breadth=1)])
    monkeypatch.setattr(module, "since_it_grew", lambda _case: 6)
    asked: list[ReplayRequest] = []
    running = experiment(case, rank(case), budget=60.0)
    outcome: Outcome | None = None
    with pytest.raises(StopIteration) as finished:
        while True:
            request = running.send(outcome) if outcome is not None else next(running)
            asked.append(request)
            ok = request.intervention == rate
            outcome = Outcome(not ok, "", losses=(0.5 if ok else "nan",), effect=Effect(applied=1))
    assert [(one.steps, one.intervention) for one in asked[:2]] == [(6, rate), (6, Update(rate=0.991))]
    assert finished.value.value.hypotheses[0].verdict == "confirmed"
    calm = msgspec.structs.replace(case)
    monkeypatch.setattr(module, "since_it_grew", lambda _case: 1)
    assert conduct(calm, rank(calm), passes(changed=True, placebo=False))[1] == []  # nothing grew: nothing to go back to


def test_what_cannot_be_run_again_is_repeated_over_the_steps_that_are_remembered(
    replayed: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rank(replayed).hypotheses[0].cause
    expected = [Prediction(CHANGE, steps=5)]
    monkeypatch.setattr(module, "predictions", lambda cause, _case: expected if cause == first else [])
    after, asked = conduct(replayed, rank(replayed), passes(changed=True, placebo=False))
    judged = next(one for one in after.hypotheses if one.cause == first)
    assert judged.verdict == "confirmed" and judged.experiments[0].steps == 5 and "the last 5 steps pass" in judged.verdict_reason
    assert len(asked) == 2


def test_of_two_changes_that_cure_one_is_the_proof(replayed: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample that holds a code is cured by replacing the code, and by leaving it out."""
    other = Rows((3,), 8)
    first = rank(replayed).hypotheses[0]
    rival = Hypothesis(cause="rival", title="", score=first.score - 3.0, probability=0.1)
    monkeypatch.setattr(
        module, "predictions", lambda cause, _case: [Prediction(CHANGE if cause == first.cause else other)]
    )

    def step(one: Intervention) -> Outcome:
        ok = one in (CHANGE, other)
        return Outcome(failed=not ok, fingerprint="", losses=(0.5 if ok else "nan",), effect=Effect(applied=1))

    after, _ = conduct(replayed, Diagnosis(hypotheses=(first, rival)), step)
    assert [one.verdict for one in after.hypotheses] == ["confirmed", "inconclusive"]
    assert first.cause in after.hypotheses[1].verdict_reason and after.hypotheses[1].experiments[0].outcome == "finite"


def test_what_was_not_finite_before_the_step_needs_no_run(replayed: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rank(replayed).hypotheses[0].cause
    monkeypatch.setattr(module, "since_it_grew", lambda _case: 6)
    asked_for = []
    for change in (CHANGE, State("moments", "mended", ("exp_avg of w",))):
        monkeypatch.setattr(
            module, "predictions", lambda cause, _case, change=change: [Prediction(change)] if cause == first else []
        )

        def step(one: Intervention, change: Intervention = change) -> Outcome:
            ok = one == change
            return Outcome(failed=not ok, fingerprint="", losses=(0.5 if ok else "nan",), effect=Effect(applied=1))

        after, asked = conduct(replayed, rank(replayed), step)
        assert next(one.verdict for one in after.hypotheses if one.cause == first) == "confirmed"
        asked_for.append(len(asked))
    assert asked_for == [4, 2]  # the first change is tried on the steps before as well


@pytest.mark.parametrize(("changed", "placebo", "verdict"), [
    ((2.0, 1.0, 0.5), (2.0, 1e3, 1e6), "confirmed"), ((2.0, 1e3, 1e6), (2.0, 1e3, "+inf"), "inconclusive"),
    ((2.0, 1.0, 0.5), (2.0, 3.0, 2.5), "inconclusive"),
])
def test_a_divergence_that_is_put_off_is_not_cured(
    replayed: Case, monkeypatch: pytest.MonkeyPatch, changed: tuple[Any, ...], placebo: tuple[Any, ...], verdict: str,
) -> None:
    first, rate = rank(replayed).hypotheses[0].cause, Update(rate=0.1)
    monkeypatch.setattr(module, "predictions", lambda cause, _case: [Prediction(rate, steps=3)] if cause == first else [])

    def step(one: Intervention) -> Outcome:
        losses = changed if one == rate else placebo
        return Outcome(failed="+inf" in losses, fingerprint="", losses=losses, effect=Effect(applied=1))

    after, _ = conduct(replayed, rank(replayed), step)
    judged = next(one for one in after.hypotheses if one.cause == first)
    assert judged.verdict == verdict
    assert (judged.experiments[0].placebo == "rising") == (verdict == "confirmed")


def test_where_the_script_cannot_be_run_again_the_steps_that_are_remembered_tell(
    replayed: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rank(replayed).hypotheses[0].cause
    monkeypatch.setattr(module, "since_it_grew", lambda _case: 6)
    expected = {"confirmed": (2.0, 1.0, 0.5), "inconclusive": (2.0, 1e3, 1e6), "": ()}
    for verdict, losses in expected.items():
        asked: list[ReplayRequest] = []
        running = experiment(replayed, rank(replayed), budget=60.0)
        outcome: Outcome | None = None
        with pytest.raises(StopIteration) as finished:
            while True:
                request = running.send(outcome) if outcome is not None else next(running)
                asked.append(request)
                ok = request.intervention == CHANGE
                kept = None if losses or request.steps == 1 else "earlier steps are not remembered"
                outcome = Outcome(not ok, "", losses=losses if ok else ("nan",), effect=Effect(applied=1), unrepeatable=kept)
        assert [one.steps for one in asked][:3] == [1, 1, 6]
        judged = next(one for one in finished.value.value.hypotheses if one.cause == first)
        assert judged.verdict == (verdict or "inconclusive") and (judged.experiments[0].steps == 6) == bool(verdict)
        assert judged.experiments[0].replays == (len(asked) if verdict else 2)
