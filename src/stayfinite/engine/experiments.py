"""From ranked causes to verdicts: change one thing, replay, compare with the control and a placebo.

A cause says what it expects (`predict`). The unchanged step is known to fail, by the control replays. If it passes with the
change and still fails with the placebo, the cause is confirmed; if it fails with the change, at the same place, it is refuted;
all else is inconclusive, and says why. What does not apply, or cannot be performed, says nothing at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence

import msgspec

from stayfinite import shield
from stayfinite.catalog import pages
from stayfinite.catalog.predictions import since_it_grew
from stayfinite.engine.over_steps import Rerun, still_rises
from stayfinite.engine.placebos import enough, over_steps, placebos
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.engine.rank import one_proof, ranked_again
from stayfinite.records.diagnosis import Diagnosis, Evidence, Experiment, Hypothesis, VerdictName
from stayfinite.records.incident import Case
from stayfinite.records.intervention import (
    Intervention,
    Precision,
    Prediction,
    Rows,
    Stable,
    State,
    Term,
    Update,
    Values,
    Within,
)

REPLAYS = 20
"""Repetitions that the experiments of one incident may take."""
LIKELY = 0.02
"""Probability from which a cause is worth an experiment."""
TESTED = 4
"""Causes that are tested at most."""
CONFIRMED_BITS = (6.0, 4.0, 2.0)
"""Bits for a confirmed cause by the breadth of the change: a narrow change seldom cures what it did not cause, one to the whole
step cures several causes."""
REFUTED_BITS = -6.0

UPSTREAM = Rows | Values | Term | Update
"""Changes to what steps are made of. Where earlier steps did the harm, the last one fails with any of them."""
LOCAL = Within | Precision | Stable | Update
"""Changes to one operator cure whatever gave it its operands, and a smaller step cures whatever made the steps too large."""

SAME = "the same"
Judge = Callable[[Outcome], str]
"""What a survey shows of a failure with finite numbers: empty if nothing, `SAME` if the same as before, else what, in words."""
Experiments = Generator[ReplayRequest, Outcome, Diagnosis]


class _Lab:
    """What the experiments of one incident share."""

    def __init__(
        self, case: Case, budget: float, replays: int, rerun: Rerun | None, judge: Judge | None = None, *, runs_only: bool = False
    ) -> None:
        self.case = case
        self.runs_only = runs_only
        self.judge = judge
        self.rerun = rerun
        self.until = time.monotonic() + budget
        self.left = replays
        self.done = 0
        self.shown: dict[tuple[Intervention, bool | None], tuple[str, float]] = {}
        """Changes that confirmed a cause, with what it said of their use: which, and by how many bits."""
        self.rivals: set[str] = set()
        """Causes that were given the bits of another, because the same change would confirm them."""
        self.before = since_it_grew(case) - 1
        """Steps before this one on which the loss had risen already."""
        self.grew = self.before >= 2 and judge is None
        """The loss had been rising before the step: a change to the step alone proves little."""
        value = case.symptom.value
        self.control: str = value if isinstance(value, str) else "nonfinite"
        if case.exception is not None:
            self.control = case.exception.type
        self.passes, self.fails = "the step passes", "it still fails"
        if judge is not None or runs_only:
            self.control = case.symptom.detector
            self.passes, self.fails = f"the {self.control} is gone", "it is still there"

    @property
    def proof(self) -> float:
        """Bits of the strongest proof; 0 if nothing was confirmed."""
        return max((bits for _, bits in self.shown.values()), default=0.0)

    @property
    def seconds(self) -> float:
        """What is left of the budget."""
        return max(0.0, self.until - time.monotonic())

    def may_go_on(self, replays: int = 1) -> bool:
        return self.left >= replays and time.monotonic() < self.until

    def replay(self, request: ReplayRequest) -> Generator[ReplayRequest, Outcome, Outcome]:
        self.left -= 1
        self.done += 1
        if self.judge is None:
            return (yield request)
        outcome = yield msgspec.structs.replace(request, purpose="survey")
        return msgspec.structs.replace(outcome, failed=outcome.failed or bool(self.judge(outcome)))


def experiment(
    case: Case, diagnosis: Diagnosis, *, budget: float, replays: int = REPLAYS, rerun: Rerun | None = None,
    judge: Judge | None = None, runs_only: bool = False,
) -> Experiments:
    """Test the likely causes of `case`, the likeliest first.

    **Arguments**: `budget`: seconds; `replays`: repetitions at most; `rerun`: runs the script again from its start, for what a
    single step cannot tell; `judge`: of a failure whose numbers are finite, what a survey of the repeated step still shows of it;
    `runs_only`: the step itself is sound, and only whole runs can tell.

    **Returns** a generator of replay requests whose value is the diagnosis with verdicts, ranked anew.
    """
    started = time.monotonic()
    if case.replay.not_tested is not None or not case.replay.agreed or not diagnosis.hypotheses:
        return diagnosis
    lab = _Lab(case, budget, replays, rerun, judge, runs_only=runs_only)
    tested: list[Hypothesis] = []
    for number, hypothesis in enumerate(diagnosis.hypotheses):
        likely = hypothesis.probability >= LIKELY and number < TESTED
        tested.append((yield from _test(hypothesis, lab)) if likely else hypothesis)
    tested = _shared(tested, lab)
    return msgspec.structs.replace(
        diagnosis, hypotheses=one_proof(ranked_again(tested, diagnosis.hypotheses, lab.proof)), replays=lab.done,
        seconds=time.monotonic() - started,
    )


def predictions(cause: str, case: Case) -> Sequence[Prediction]:
    """What `cause` expects of `case`, narrow changes first; nothing if it makes no predictions."""
    sensor = f"cause {cause}"
    found: Sequence[Prediction] = ()
    with shield.shielded(sensor):
        predict = getattr(pages.load("causes", cause), "predict", None)
        if predict is not None:
            found = sorted(predict(case), key=lambda prediction: prediction.breadth)
    return found


def _test(hypothesis: Hypothesis, lab: _Lab) -> Generator[ReplayRequest, Outcome, Hypothesis]:
    expected = predictions(hypothesis.cause, lab.case)
    if not expected:
        return msgspec.structs.replace(hypothesis, verdict_reason="no experiment is known for this cause")
    known = next((lab.shown[one.change, one.used] for one in expected if (one.change, one.used) in lab.shown), None)
    if known is not None:  # it speaks as much for this one, but it is no second proof
        lab.rivals.add(hypothesis.cause)
        reason = f"what would show it has confirmed {known[0]} already: that experiment does not tell them apart"
        return msgspec.structs.replace(hypothesis, score=hypothesis.score + known[1], verdict="inconclusive", verdict_reason=reason)
    done: list[tuple[Prediction, Experiment, VerdictName]] = []
    for prediction in expected:
        if not lab.may_go_on(2):
            break
        if prediction.steps == 1:
            if lab.runs_only:
                continue
            with_one, verdict = yield from _compare(prediction, lab)
            if verdict == "confirmed" and lab.grew and not _was_bad_before(prediction.change):
                with_one, verdict = _holds(prediction, with_one, lab)
                if verdict == "not_tested":
                    longer = msgspec.structs.replace(prediction, steps=lab.before + 1)
                    again, other = yield from _compare(longer, lab)
                    verdict = "inconclusive"
                    if other != "not_tested":
                        again = msgspec.structs.replace(again, replays=again.replays + with_one.replays)
                        prediction, with_one, verdict = longer, again, other
        else:
            with_one, verdict = _compare_runs(prediction, lab)
            back = prediction.steps if prediction.steps > 1 else lab.before + 1
            if verdict == "not_tested" and back > 1 and not lab.runs_only:  # what is remembered of the steps since it grew may do
                shorter = msgspec.structs.replace(prediction, steps=back)
                again, other = yield from _compare(shorter, lab)
                if other != "not_tested":
                    prediction, with_one, verdict = shorter, again, other
        done.append((prediction, with_one, verdict))
        if verdict == "confirmed":
            break
    if not done and lab.runs_only:
        return msgspec.structs.replace(hypothesis, verdict_reason="no experiment over a whole run is known for this cause")
    if not done:
        return msgspec.structs.replace(hypothesis, verdict_reason="the budget for experiments was spent on likelier causes")
    told = tuple(one for _, one, _ in done)
    performed = [(prediction, one, verdict) for prediction, one, verdict in done if verdict != "not_tested"]
    if not performed:
        return msgspec.structs.replace(hypothesis, experiments=told, verdict="not_tested", verdict_reason=done[0][1].note)
    best = next((entry for entry in performed if entry[2] == "confirmed"), None)
    if best is not None:
        prediction, one, _ = best
        lab.shown[prediction.change, prediction.used] = hypothesis.cause, CONFIRMED_BITS[prediction.breadth]
        passes = lab.passes if prediction.steps == 1 else "the run passes" if one.steps != prediction.steps else \
            f"the last {one.steps} steps pass"
        passes = "the failure shows" if prediction.reveals and one.outcome != "finite" else passes
        fails = "the loss still rises" if one.placebo == "rising" else lab.fails
        bits, claim = CONFIRMED_BITS[prediction.breadth], f"with {one.change} {passes}; with {one.placebo_change} {fails}"
        return _judged(hypothesis, told, "confirmed", claim, bits)
    if all(verdict == "refuted" for _, _, verdict in performed):
        prediction, one, _ = performed[0]
        still = "the step still fails at the same place" if prediction.steps == 1 else "the run still fails"
        return _judged(hypothesis, told, "refuted", f"with {one.change} {still}", REFUTED_BITS)
    reason = next(one.note for _, one, verdict in performed if verdict == "inconclusive")
    return msgspec.structs.replace(hypothesis, experiments=told, verdict="inconclusive", verdict_reason=reason)


def _was_bad_before(change: Intervention) -> bool:
    """True for a change that mends what was not finite when the step began: however the loss had run, the step fails by that."""
    return isinstance(change, State) and change.how == "mended"


def _shared(tested: list[Hypothesis], lab: _Lab) -> list[Hypothesis]:
    """Bits for a cause that was confirmed at the failing operator count against those that said otherwise, not against those
    that were not asked: whoever made the operand too large, the step passes with a smaller one."""
    confirmed = {cause for (change, _), (cause, _) in lab.shown.items() if not isinstance(change, LOCAL)}
    bits = [bits for (change, _), (cause, bits) in lab.shown.items() if isinstance(change, LOCAL) and cause not in confirmed]
    if not bits:
        return tested
    return [
        msgspec.structs.replace(one, score=one.score + max(bits)) if one.verdict not in ("confirmed", "refuted")
        and one.cause != "unknown" and one.cause not in lab.rivals else one for one in tested
    ]


def _judged(
    hypothesis: Hypothesis, experiments: tuple[Experiment, ...], verdict: VerdictName, claim: str, bits: float
) -> Hypothesis:
    return msgspec.structs.replace(
        hypothesis, experiments=experiments, verdict=verdict, verdict_reason=claim, score=hypothesis.score + bits,
        evidence=(Evidence(f"{verdict} by an experiment", bits, "experiment"), *hypothesis.evidence),
    )


def _compare(prediction: Prediction, lab: _Lab) -> Generator[ReplayRequest, Outcome, tuple[Experiment, VerdictName]]:
    """One change beside its placebos."""
    started, before = time.monotonic(), lab.done
    change = prediction.change

    def told(outcome: str, placebo: str, note: str, placebo_change: str = "") -> Experiment:
        return Experiment(
            change=change.told, outcome=outcome, control=lab.control, placebo=placebo, steps=prediction.steps,
            seconds=time.monotonic() - started, placebo_change=placebo_change, note=note, replays=lab.done - before,
        )

    changed = yield from lab.replay(ReplayRequest("experiment", change, steps=prediction.steps))
    not_done = _not_performed(changed)
    if not_done:
        return told("not performed", "", not_done), "not_tested"
    revealed = prediction.reveals and _openly(changed)
    if changed.failed and not revealed:
        elsewhere = yield from _elsewhere(prediction, changed, lab)
        if elsewhere:
            return told("elsewhere", "", elsewhere), "inconclusive"
        if prediction.steps == 1 and lab.before and isinstance(change, UPSTREAM):
            note = f"the harm may have been done in the {lab.before} step{'s' * (lab.before > 1)} before, on which the loss rose"
            return told(_word(changed, lab), "", note), "inconclusive"
        return told(_word(changed, lab), "", "the change makes no difference"), "refuted"
    if prediction.steps > 1 and still_rises(changed.losses):
        return told("finite", "", "the steps pass, but the loss still rises"), "inconclusive"
    arrived = changed.effect.arrived if changed.effect is not None else ""
    if prediction.used is not None and arrived in ("zero", "finite") and prediction.used != (arrived == "finite"):
        part = "a part" if arrived == "finite" else "no part"
        return told("finite", "", f"the step passes, but what is changed has {part} in the loss"), "inconclusive"
    given = placebos(change, lab.case, changed.places)
    dose = over_steps(change) if prediction.steps > 1 else None
    given = [one for one in (prediction.placebo, dose, *given) if one is not None]
    still, wanted = 0, min(enough(change), len(given))
    word, last = "nonfinite" if revealed else "finite", ""
    for placebo in given:
        if not lab.may_go_on():
            break
        outcome = yield from lab.replay(ReplayRequest("experiment", placebo, steps=prediction.steps))
        if _not_performed(outcome):
            continue
        last = placebo.told
        diverges = prediction.steps > 1 and not outcome.failed and still_rises(outcome.losses)
        if (not outcome.failed and not diverges) or (revealed and _openly(outcome)):
            same = _word(outcome, lab) if outcome.failed else "finite"
            return told(word, same, f"a change that should not matter {'does' if revealed else 'cures'} it as well", last), "inconclusive"
        still += 1
        if still >= wanted:
            return told(word, "rising" if diverges else _word(outcome, lab), "", last), "confirmed"
    if still:
        return told(word, lab.control, "", last), "confirmed"
    return told(word, "", "the step passes, but no placebo could be performed beside it"), "inconclusive"


def _holds(prediction: Prediction, one: Experiment, lab: _Lab) -> tuple[Experiment, VerdictName]:
    """A change that cured the held step, where the loss had been growing before it: does it cure the run? ``"not_tested"`` if the
    script cannot be run again."""
    started, rerun = time.monotonic(), lab.rerun
    doubt = rerun.doubt(lab.seconds / 3) if rerun is not None else "the script cannot be run again"
    outcome, note = "", f"the step passes, but the loss had been growing before it, and {doubt}"
    if doubt:
        return msgspec.structs.replace(one, note=note), "not_tested"
    if rerun is not None:
        trial = rerun.changed(prediction.change, lab.seconds / 2)
        outcome, note = rerun.verdict(trial)
        note = f"the step passes, but the run does not: {note}"
    again = msgspec.structs.replace(
        one, note="" if outcome == "finite" else note, seconds=one.seconds + time.monotonic() - started,
        replays=one.replays + int(rerun is not None),
    )
    return again, "confirmed" if outcome == "finite" else "inconclusive"


def _compare_runs(prediction: Prediction, lab: _Lab) -> tuple[Experiment, VerdictName]:
    """One change beside its placebo, over the whole run."""
    started, change, rerun = time.monotonic(), prediction.change, lab.rerun
    before = rerun.count if rerun is not None else 0

    def told(outcome: str, placebo: str, note: str, placebo_change: str = "", steps: int = 0) -> Experiment:
        return Experiment(
            change=change.told, outcome=outcome, control=lab.control, placebo=placebo, steps=steps,
            seconds=time.monotonic() - started, placebo_change=placebo_change, note=note,
            replays=rerun.count - before if rerun is not None else 0,
        )

    if rerun is None:
        return told("not performed", "", "one step cannot tell, and the script cannot be run again"), "not_tested"
    doubt = rerun.doubt(lab.seconds / 3)
    if doubt:
        return told("not performed", "", doubt), "not_tested"
    trial = rerun.changed(change, lab.seconds / 2)
    outcome, note = rerun.verdict(trial)
    if not outcome:
        return told("not performed" if trial.status == "not_run" else "finite", "", note), \
            "not_tested" if trial.status == "not_run" else "inconclusive"
    if outcome == "failed" and trial.step > lab.case.step_of_run + 1 and trial.symptom != lab.case.symptom.detector:
        return told("elsewhere", "", f"it gets past step {lab.case.step_of_run}, and fails in another way: {note}", steps=trial.steps), \
            "inconclusive"
    if outcome == "failed":
        return told("failed", "", note, steps=trial.steps), "refuted"
    placebo = prediction.placebo or over_steps(change) or next(iter(placebos(change, lab.case, ())), None)
    if placebo is None:
        return told("finite", "", "the run passes, but no placebo could be performed beside it", steps=trial.steps), "inconclusive"
    beside, trial = rerun.beside(change, placebo, trial, lab.seconds)
    if trial.status == "failed":
        return told("failed", "", f"{trial.symptom} at step {trial.step}", placebo.told, trial.steps), "refuted"
    if beside.status == "failed":
        return told("finite", f"failed at step {beside.step}", "", placebo.told, trial.steps), "confirmed"
    if beside.status in ("broken", "not_run"):
        return told("finite", "", beside.note, placebo.told, trial.steps), "inconclusive"
    return told("finite", "finite", "a change that should not matter cures it as well", placebo.told, trial.steps), "inconclusive"


def _elsewhere(prediction: Prediction, changed: Outcome, lab: _Lab) -> Generator[ReplayRequest, Outcome, str]:
    """Whether what fails with the change is another operation, in words; empty if it is the same."""
    from stayfinite.engine.localize import localize

    origin = lab.case.origin
    if lab.judge is not None:
        shown = lab.judge(changed)
        return "" if shown in ("", SAME) else shown
    if origin is None or prediction.steps > 1 or not lab.may_go_on():
        return ""
    watched = yield from lab.replay(ReplayRequest("experiment", prediction.change, watched=True))
    if watched.trace is None:
        return ""
    found = localize(watched.trace, lab.case.symptom, watched.exception).origin
    if found is None or found.identity == origin.identity:
        return ""
    at = f" at {found.location.file}:{found.location.line}" if found.location.file else ""
    return f"the origin passes, and {found.op}{at} fails instead"


def _openly(outcome: Outcome) -> bool:
    """Whether an execution failed with a number that is not finite, or raised."""
    return outcome.exception is not None or any(isinstance(loss, str) for loss in outcome.losses)


def _not_performed(outcome: Outcome) -> str:
    """Why an outcome says nothing about the change, in words; empty if it does."""
    if outcome.effect is not None and outcome.effect.refused:
        return outcome.effect.refused
    if outcome.unrepeatable is not None:
        return outcome.unrepeatable
    if outcome.effect is not None and outcome.effect.applied == 0:
        return "the step has nothing there to change"
    return ""


def _word(outcome: Outcome, lab: _Lab) -> str:
    if lab.judge is not None:
        return lab.control if outcome.failed else "finite"
    if outcome.exception is not None:
        return outcome.exception.type
    bad = [loss for loss in outcome.losses if isinstance(loss, str)]
    return str(bad[0]) if bad else "nonfinite" if outcome.failed else "finite"
