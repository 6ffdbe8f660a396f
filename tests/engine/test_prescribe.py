"""Remedies are judged by what was seen: the held step with them, and a trial beside its control."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import pytest
from catalog.patching import ZERO, born, marked
from catalog.writing import stats

from stayfinite.engine.candidates import candidates
from stayfinite.engine.over_steps import Rerun
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.engine.prescribe import MOST, TRIED, is_mask, judge_trial, learns, moves, ordered, prescribe
from stayfinite.records.diagnosis import Diagnosis, Hypothesis, Judged, Remedy, Trial
from stayfinite.records.fix import Fix
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Effect, Intervention
from stayfinite.records.numbers import Number

TEXT, PLACE = marked("import torch\n\n\ndef scale(x):\n    return «x / x.std(0)»\n")
CASE: Case = born(PLACE, "div", ZERO, stats("x.std(0)", (10,), zero=1, min=0.0, culprit=0.0), step=20)
FALLING: tuple[Number, ...] = tuple(2.0 - 0.02 * step for step in range(40))
CONTROL = Trial("", "failed", 20, "nonfinite-loss", 20, (*FALLING[:20], "nan"))
GOOD = Trial("x", "finite", 40, losses=FALLING)


def blamed(*causes: str) -> Diagnosis:
    return Diagnosis(tuple(Hypothesis(cause, cause, 5.0, 0.9 / (number + 1), "confirmed" if not number else "not_tested")
                           for number, cause in enumerate(causes)))


BLAMED = blamed("division-by-zero")


def passed(**effect: object) -> Outcome:
    return Outcome(False, "", (0.5,), effect=Effect(**{"applied": 1, "gradient": "finite", **effect}))  # type: ignore[arg-type]


def cured(
    outcome: Callable[[ReplayRequest], Outcome] = lambda request: passed(), trial: Trial = GOOD, control: Trial = CONTROL,
    diagnosis: Diagnosis = BLAMED, case: Case = CASE, budget: float = 60.0,
) -> tuple[tuple[Remedy, ...], list[str], list[ReplayRequest]]:
    """What is prescribed, what was tried out, and what was replayed."""
    tried: list[str] = []
    asked: list[ReplayRequest] = []

    def try_out(
        change: str, *, interventions: tuple[Intervention, ...] = (), sources: Mapping[str, str] | None = None, steps: int = 0,
        seconds: float = 30.0,
    ) -> Trial:
        tried.append(change)
        assert not change or (sources is not None and sources["train.py"] != TEXT)
        return control if not change else trial

    running = prescribe(case, diagnosis, {"train.py": TEXT}, rerun=Rerun(case, try_out), budget=budget)
    sent: Outcome | None = None
    while True:
        try:
            request = running.send(sent) if sent is not None else next(running)
        except StopIteration as end:
            return end.value, tried, asked
        asked.append(request)
        sent = outcome(request)


def test_a_loss_without_a_floor_is_no_cure() -> None:
    """It always falls: a likelihood of scores that are none."""
    falling = tuple(-float(step) ** 3 for step in range(40))
    remedies, _, _ = cured(trial=Trial("x", "finite", 40, losses=falling))
    assert not any(one.verdict == "verified" for one in remedies)
    assert any(one.verdict == "refused" and "without a floor" in one.reason for one in remedies)
    deep = (*FALLING[:2], *(-60.0 - 0.1 * step for step in range(38)))  # a density may come to more than 1
    assert any(one.verdict == "verified" for one in cured(trial=Trial("x", "finite", 40, losses=deep))[0])


def named(remedies: tuple[Remedy, ...], name: str) -> Remedy:
    return next(one for one in remedies if one.remedy == name)


@pytest.mark.parametrize(("losses", "verdict"), [
    ((2.3, 2.2, 1.9, 1.5, 1.2, 1.1), "verified"),
    ((2.3, 2.31, 2.29, 2.3, 2.31, 2.29), "failed"),  # it moves, and nowhere
    ((0.69, 0.6, 0.5, 0.4, 0.3, 0.3), "verified"),  # another loss has another scale
    ((0.69, 0.7, 0.69, 0.7, 0.69, 0.69), "failed"),  # it is lower than the control from the start, and stands still
    ((), "inconclusive"),
])
def test_what_stood_still_has_to_move(losses: tuple[float, ...], verdict: str) -> None:
    control = Trial("", "failed", 20, "plateau", 20, (2.3, 2.29, 2.31, 2.3, 2.3))
    assert moves(Trial("x", "finite", 40, losses=losses), control)[0] == verdict


@pytest.mark.parametrize(("losses", "before", "verdict"), [
    ([1.46, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.11, 2.12, 2.1, 2.11], [1.46] * 6, "failed"),  # it is finite, and climbs
    ([1.0, 1e2, 1e5, 1e7, 1e8, 1e9, 1e9, 1e9], [1.0, 1e3, 1e6, 1e9, 1e15, 1e20, 1e25, 1e30], "failed"),  # clipped, and no better
    ([0.1, 0.3, 0.2, 0.4, 0.5, 0.4, 0.5, 0.6], [0.1, 0.1, 0.2, 0.2, 0.15, 0.2, 0.2, 0.2], "failed"),
    ([0.2, 0.21, 0.22, 0.24, 0.26, 0.27, 0.28, 0.29], [0.2, 0.2, 0.22, 0.24, 0.26, 0.28, 0.3, 0.32], "verified"),  # rewards grow
    ([0.96, 1.4, 1.8, 3.0, 4.4, 3.0, 2.5, 2.6, 2.5, 2.6, 2.5, 2.6], [0.96, 3.0, 40.0], "failed"),  # lower than a peak of its own
    ([-0.4, 0.1, -0.9, 0.6, -0.3, 0.2, -0.1, 0.5, -0.2, 0.1, 0.3, 0.1], [-0.4, 0.1], "verified"),  # a reward, and its noise
    ([3.0, 2.5, 3.5, 2.2, 3.1, 2.4, 2.9, 2.6], [3.0, 2.5], "verified"),
])
def test_a_loss_that_rises_is_no_cure(losses: list[float], before: list[float], verdict: str) -> None:
    control = Trial("", "failed", len(before), "nonfinite-loss", len(before), tuple(before))
    assert learns(Trial("x", "finite", len(losses), losses=tuple(losses)), control, len(before))[0] == verdict


def test_a_second_training_that_never_began_is_not_measured_by_the_first() -> None:
    control = Trial("", "failed", 9, "dead-gradient", 8, (1.6, 0.9, 0.3, 0.1, 0.05, 0.05, 0.05, 1.9, 2.1))
    losses = (1.6, 0.9, 0.3, 0.1, 0.05, 0.05, 0.05, 1.9, 1.7, 1.5, 1.3, 1.2, 1.1, 1.1, 1.0)
    assert moves(Trial("x", "finite", 15, losses=losses), control)[0] == "verified"


def test_a_run_that_died_late_is_measured_where_it_stood() -> None:
    control = Trial("", "failed", 20, "dead-gradient", 20, (2.3, 1.0, 0.4, 2.3, 2.3, 2.3, 2.3))
    assert moves(Trial("x", "finite", 40, losses=(2.3, 1.0, 0.6, 0.4, 0.38, 0.37)), control)[0] == "verified"


def test_a_remedy_that_passes_both_is_verified() -> None:
    remedies, tried, asked = cured()
    best = remedies[0]
    assert (best.remedy, best.verdict, best.applicability) == ("safe-divisor", "verified", "safe")
    assert best.reason == "it passes step 20 and 19 more; the loss goes from 1.91 to 1.31"
    assert best.fix is not None and "masked_fill(spread == 0, 1.0)" in best.fix.diff
    assert best.trial == GOOD and best.effect is not None and best.effect.gradient == "finite"
    assert tried[0] == "" and all(request.purpose == "experiment" and request.intervention for request in asked)


def test_what_is_no_longer_the_same_function_is_refused() -> None:
    other = Trial("x", "finite", 40, losses=(2.5, *FALLING[1:]))
    refused = named(cured(trial=other)[0], "safe-divisor")
    assert refused.verdict == "refused"
    assert refused.reason == "it claims to be the same function, and its loss 0 is 2.5 instead of 2"


@pytest.mark.parametrize(("losses", "verdict"), [
    ((*FALLING[:12], 1.5, *FALLING[13:]), "refused"),  # the floor lies above values that were fine
    ((*FALLING[:20], 1.4, *FALLING[21:]), "verified"),  # the step that failed has no loss to compare with
    ((*FALLING[:6], *(loss * (1 + 1e-5 * 2**at) for at, loss in enumerate(FALLING[6:20])), *FALLING[20:]), "verified"),  # rounding grows
])
def test_a_floor_leaves_the_run_as_it_was_up_to_the_failing_step(losses: tuple[float, ...], verdict: str) -> None:
    """Only of what claims it bit for bit: a stable form may differ where the original had lost its digits."""
    trial = Trial("x", "finite", 40, losses=losses)
    assert named(cured(trial=trial)[0], "safe-divisor").verdict == verdict
    stable = Remedy("use-log-softmax", "", "safe")
    assert judge_trial(stable, trial, CONTROL).verdict == "verified"


def test_the_loss_of_a_step_whose_gradient_failed_is_compared_too() -> None:
    control = Trial("", "failed", 20, "nonfinite-gradient", 20, (*FALLING[:21], "nan"))
    hides = Trial("x", "finite", 40, losses=(*FALLING[:20], 1.4, *FALLING[21:]))
    remedy = Remedy("guard-class-weights", "", "safe")
    assert judge_trial(remedy, hides, control).verdict == "refused"
    assert judge_trial(remedy, GOOD, control).verdict == "verified"
    apart = msgspec.structs.replace(hides, losses=(*FALLING[:40:4], 1.0), stride=4)  # other readings: those of the same updates
    assert judge_trial(remedy, apart, control).verdict == "verified"


def test_what_is_offered_as_another_function_need_not_be_the_same() -> None:
    """Predictions that nothing keeps between 0 and 1 are taken as logits: that is another loss from the first step."""
    text, place = marked("import torch.nn.functional as F\n\nloss = «F.binary_cross_entropy(net(x), y)»\n")
    given = stats("net(x)", min=-0.2, max=1.3, culprit=1.3)
    trial = Trial("x", "finite", 40, losses=(2.5, *FALLING[1:]))

    def try_out(change: str, **_: object) -> Trial:
        return trial if change else CONTROL

    case = born(place, "bce", given, phase="loss", step=20)
    running = prescribe(case, blamed("domain-error"), {"train.py": text}, rerun=Rerun(case, try_out), budget=60.0)
    with pytest.raises(StopIteration) as ended:
        next(running)
        running.send(passed(changed=9, deviation=0.5))
    logits = named(ended.value.value, "use-logits-loss")
    assert (logits.verdict, logits.applicability) == ("verified", "unsafe")


def test_a_patch_is_judged_by_its_trial_where_one_operation_alone_does_not_help() -> None:
    remedies, _, _ = cured(lambda request: Outcome(True, "", ("nan",), effect=Effect(applied=1, gradient="nonfinite")))
    assert named(remedies, "safe-divisor").verdict == "verified"


def test_a_stable_form_may_have_a_slope_of_zero() -> None:
    remedies, _, _ = cured(lambda request: passed(gradient="zero", changed=3, deviation=0.5))
    assert named(remedies, "safe-divisor").verdict == "verified"


def test_a_clamp_without_a_gradient_is_refused_and_never_run() -> None:
    text, place = marked("import torch\n\n\ndef loss(p):\n    return -«torch.log(p)».mean()\n")
    case = born(place, "log", ZERO, step=20)
    tried: list[str] = []

    def try_out(change: str, **rest: object) -> Trial:
        tried.append(change)
        return GOOD if change else CONTROL

    running = prescribe(case, blamed("log-of-zero"), {"train.py": text}, rerun=Rerun(case, try_out), budget=60.0)
    sent: Outcome | None = None
    remedies: tuple[Remedy, ...] = ()
    try:
        while True:
            request = running.send(sent) if sent is not None else next(running)
            sent = passed(gradient="zero")
    except StopIteration as end:
        remedies = end.value
    clamp = named(remedies, "clamp-argument")
    assert (clamp.verdict, clamp.reason) == ("refused", "it hides the failure: no gradient arrives at the elements it changes, so "
                                             "nothing is learned from them")
    assert request.intervention is not None and not any(change.startswith("clamp-argument") for change in tried)


@pytest.mark.parametrize("outcome", [
    Outcome(True, "", effect=Effect(applied=0)), Outcome(True, "", effect=Effect(refused="no performer")),
    Outcome(False, "", unrepeatable="a socket was opened", effect=Effect(applied=1)),
])
def test_nothing_follows_from_a_step_without_the_change(outcome: Outcome) -> None:
    remedies, _, _ = cured(lambda request: outcome)
    assert named(remedies, "safe-divisor").verdict == "verified"  # by its trial


@pytest.mark.parametrize(("trial", "verdict", "reason"), [
    (Trial("x", "failed", 20, "nonfinite-loss", 20), "failed", "the run fails at the same step"),
    (Trial("x", "failed", 31, "nonfinite-gradient", 31), "failed", "the run goes on to step 31 and ends with nonfinite-gradient"),
    (Trial("x", "broken", note="NameError: x"), "failed", "the patched script raises: NameError: x"),
    (Trial("x", "ended", 12, note="the 30 s were over after 12 updates"), "inconclusive",
     "the held step passes with it; the 30 s were over after 12 updates"),
    (Trial("x", "finite", 40, losses=(*FALLING[:20], *[0.0] * 20)), "refused",
     "it passes step 20 and 19 more, but the loss stands still at 0: nothing is learned"),
    (Trial("x", "finite", 40, losses=(*FALLING[:20], *[1e6] * 10, *[2e6] * 10)), "failed",
     "it passes step 20 and 19 more, but the loss goes from 1.91 to 2e+06"),
])
def test_verdicts_of_a_trial(trial: Trial, verdict: Judged, reason: str) -> None:
    remedy = named(cured(trial=trial)[0], "safe-divisor")
    assert (remedy.verdict, remedy.reason) == (verdict, reason)


@pytest.mark.parametrize(("control", "reason"), [
    (Trial("", "finite", 40, losses=FALLING), "the script, run again without a change, does not fail: it draws other numbers "
     "each time, or the fault has gone"),
    (Trial("", "not_run", note="a cell of a notebook cannot be run again"), "a cell of a notebook cannot be run again"),
    (Trial("", "failed", 7, "nonfinite-loss", 27),
     "the script, run again without a change, failed at step 27 instead of 20"),
])
def test_a_control_that_does_not_fail_proves_nothing(control: Trial, reason: str) -> None:
    remedies, tried, _ = cured(control=control)
    remedy = named(remedies, "safe-divisor")
    assert (remedy.verdict, remedy.reason) == ("inconclusive", f"the held step passes with it; {reason}")
    assert tried == [""] * len(tried) and tried


def test_nothing_is_begun_without_time() -> None:
    remedies, tried, asked = cured(budget=-1.0)
    assert not tried and not asked
    assert named(remedies, "safe-divisor").verdict == "not_tested"
    assert named(remedies, "safe-divisor").reason == "the budget was spent on others"


def test_a_step_that_cannot_be_repeated_leaves_the_trial() -> None:
    case = msgspec.structs.replace(CASE, replay=msgspec.structs.replace(CASE.replay, not_tested="a socket was opened"))
    remedies, tried, asked = cured(case=case)
    assert not asked and tried
    assert named(remedies, "safe-divisor").verdict == "verified"


def test_only_leading_causes_have_their_remedies_tried() -> None:
    assert cured(diagnosis=Diagnosis())[0] == ()
    refuted = Diagnosis((Hypothesis("division-by-zero", "", 5.0, 0.9, "refuted"),))
    assert cured(diagnosis=refuted)[0] == ()


def test_order() -> None:
    fix = Fix((), "x")
    made = [
        Remedy("a", "", "safe", verdict="refused", fix=fix), Remedy("b", "", "safe", verdict="failed", fix=fix),
        Remedy("c", "", "display-only"), Remedy("d", "", "unsafe", fix=fix), Remedy("e", "", "unsafe", verdict="verified", fix=fix),
        Remedy("f", "", "safe", verdict="verified"), Remedy("g", "", "safe", verdict="verified", fix=fix),
        Remedy("h", "", "safe", verdict="inconclusive", fix=fix),
    ]
    assert "".join(one.remedy for one in ordered(made)) == "gfehdcab"


def test_a_cure_of_the_first_cause_stands_before_one_that_ends_lower() -> None:
    def verified(name: str, cause: str, ends: float) -> Remedy:
        trial = Trial(name, "finite", 8, losses=(2.0,) * 4 + (ends,) * 4)
        return Remedy(name, "", "unsafe", (cause,), verdict="verified", fix=Fix((), name), trial=trial)

    made = [verified("clip", "exploding-gradient", 0.1), verified("zero", "missing-zero-grad", 0.2)]
    both = msgspec.structs.replace(verified("lower", "", 0.3), causes=("learning-rate-too-high", "exploding-gradient"))
    assert [one.remedy for one in ordered([both, made[0]])] == ["clip", "lower"]
    assert [one.remedy for one in ordered([both, *made], "learning-rate-too-high")] == ["lower", "clip", "zero"]
    assert [one.remedy for one in ordered([both, *made], "exploding-gradient")] == ["clip", "lower", "zero"]
    assert [one.remedy for one in ordered(made)] == ["clip", "zero"]
    assert [one.remedy for one in ordered(made, "missing-zero-grad")] == ["zero", "clip"]


def test_a_failure_in_the_first_step_has_no_losses_before_it() -> None:
    control = Trial("", "failed", 0, "nonfinite-loss", 0, ("nan",))
    assert learns(Trial("x", "finite", 40, losses=FALLING), control, 0)[0] == "verified"
    assert learns(Trial("x", "finite", 40, losses=tuple(reversed(FALLING))), control, 0)[0] == "failed"
    assert learns(Trial("x", "finite", 1, losses=(2.0,)), control, 0) == ("verified", "it passes step 0 and 0 more, where the run ends")


def test_a_mask_is_never_a_verified_cure_however_well_the_run_goes_on() -> None:
    remedies, _, _ = cured(outcome=lambda request: passed(applied=0))  # nothing was seen on the step: the trial alone would pass it
    masks = [one for one in remedies if is_mask(one)]
    assert masks and all(one.verdict not in ("verified", "inconclusive") for one in masks)
    assert any(one.verdict == "verified" for one in remedies if not is_mask(one))


MANY = "import torch\n\nlr = 0.1\noptimizer = torch.optim.SGD(net.parameters(), lr=lr)\nnn.init.normal_(net.weight)\n" \
    "x = torch.zeros(8, 3)\nfor step in range(99):\n    loss = «torch.exp(x).mean()»\n    loss.backward()\n    optimizer.step()\n"


def of_many(good: Callable[[str], bool], *causes: str) -> tuple[tuple[Remedy, ...], list[str]]:
    """What is prescribed for an exponential of a far row, and what was tried, where a trial is `good` for some changes."""
    text, place = marked(MANY)
    far = stats("x", (8, 3), min=-1.0, max=1e5, absmax_index=(2, 1), absmax_count=1, typical_row=1.0)
    case = msgspec.structs.replace(born(place, "exp", far, step=20), batch=(far,), batch_size=8)
    tried: list[str] = []

    def try_out(change: str, **_: object) -> Trial:
        tried.append(change)
        return GOOD if good(change) else CONTROL

    running = prescribe(case, blamed(*causes), {"train.py": text}, rerun=Rerun(case, try_out), budget=60.0)
    sent: Outcome | None = None
    while True:
        try:
            running.send(sent)  # type: ignore[arg-type]
            sent = passed()
        except StopIteration as end:
            return end.value, tried


def test_more_is_tried_while_nothing_helps() -> None:
    causes = ("learning-rate-too-high", "exp-overflow", "corrupt-sample")
    _, tried = of_many(lambda change: False, *causes)
    assert TRIED < len(set(tried) - {""}) <= MOST + TRIED
    remedies, tried = of_many(lambda change: change == tried[-1], *causes)
    assert remedies[0].verdict == "verified" and len(set(tried) - {""}) > TRIED


def test_a_neighbour_is_tried_at_the_failing_line_where_no_remedy_of_the_cause_helps() -> None:
    remedies, _, _ = cured(diagnosis=blamed("label-out-of-range"))
    assert (remedies[0].remedy, remedies[0].verdict) == ("safe-divisor", "verified")
    bad = Trial("x", "failed", 20, "nonfinite-loss", 20)
    remedies, _, _ = cured(diagnosis=blamed("label-out-of-range"), trial=bad)
    assert not any(one.remedy == "safe-divisor" for one in remedies)  # it is no news then


def test_nothing_before_the_first_update_is_changed_by_a_rate() -> None:
    text, place = marked(MANY)
    for step, expected in ((20, True), (0, False)):
        case = born(place, "exp", ZERO, step=step)
        found = {one.remedy for one in candidates(case, blamed("exp-overflow").hypotheses, {"train.py": text})}
        assert ({"lower-learning-rate", "clip-gradient-norm"} & found != set()) is expected
