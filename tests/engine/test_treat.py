"""What a run may go on with: what lets the held step pass, is to be had for more than a step, and hides nothing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from catalog.patching import ZERO, born, marked
from catalog.writing import stats

from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.engine.treat import ENOUGH, REPLAYS, lasting, passes, treatments, with_cure
from stayfinite.records.diagnosis import Diagnosis, Hypothesis, Remedy, Treatment
from stayfinite.records.fix import Fix
from stayfinite.records.incident import Case
from stayfinite.records.intervention import (
    Effect,
    Intervention,
    LossScale,
    Place,
    Precision,
    Rows,
    Stable,
    State,
    Term,
    Update,
    Values,
    Within,
)
from stayfinite.records.scaling import LossScaling
from stayfinite.records.series import Window
from stayfinite.records.trace import LossTerm

TEXT, PLACE = marked("import torch\n\n\ndef scale(x):\n    return «x / x.std(0)»\n")
CASE: Case = born(PLACE, "div", ZERO, stats("x.std(0)", (10,), zero=1, min=0.0, culprit=0.0), step=20)
AT = Place("log", "train.py", 3)


def blamed(cause: str) -> Diagnosis:
    return Diagnosis((Hypothesis(cause, cause, 5.0, 0.9),))


def passed(**effect: object) -> Outcome:
    return Outcome(False, "", (0.5,), effect=Effect(**{"applied": 1, "gradient": "finite", **effect}))  # type: ignore[arg-type]


FAILED = Outcome(True, "", ("nan",), effect=Effect(applied=1))


def treated(
    answer: Callable[[Intervention | None], Outcome], case: Case = CASE, diagnosis: Diagnosis | None = None, replays: int = REPLAYS
) -> tuple[tuple[Treatment, ...], list[ReplayRequest]]:
    asked: list[ReplayRequest] = []
    running = treatments(case, diagnosis or blamed("division-by-zero"), {"train.py": TEXT}, budget=60.0, replays=replays)
    sent: Outcome | None = None
    while True:
        try:
            request = running.send(sent) if sent is not None else next(running)
        except StopIteration as finished:
            return finished.value, asked
        asked.append(request)
        sent = answer(request.intervention)


def test_nothing_is_gone_on_with_that_hides_the_failure_or_is_for_one_step() -> None:
    for change in (Rows((1,), 8), Term(AT, "loss"), Update(rate=0.1), Update(skipped=True), State("parameters", "frozen", ("w",)),
                   Stable(AT, "zero-infinity")):
        assert lasting(change, CASE) is None
    for change in (Stable(AT, "log-softmax"), Precision("float64", AT), Update(options=(("eps", 1e-3),)), State("gradients", "zeroed")):
        assert lasting(change, CASE) == change
    kept = lasting(Within(AT, 0, low=1e-6), CASE)
    assert isinstance(kept, Within) and kept.passes and kept.low == 1e-3  # where its slope is one that a run bears
    both = lasting(Within(AT, 0, low=-1.0 + 1e-6, high=1.0 - 1e-6), CASE)
    assert isinstance(both, Within) and (both.low, both.high) == (-0.999, 0.999)
    assert lasting(Within(AT, 0, high=35.49), CASE) == Within(AT, 0, high=35.49, passes=True)


def test_a_target_is_not_made_up() -> None:
    case = msgspec.structs.replace(CASE, batch=(stats("x", (8, 4)), stats("target", (8, 1), nan=1)))
    assert lasting(Values("target", "filled"), case) is None
    assert lasting(Values("x", "filled"), case) is not None
    labels = msgspec.structs.replace(CASE, batch=(stats("labels", (8,), dtype="int64"),))
    assert lasting(Values("labels", "filled", 2.0), labels) is None


def test_a_dead_or_a_bad_gradient_or_a_ruined_state_is_no_pass() -> None:
    stable = Stable(AT, "log-softmax")
    assert passes(stable, passed()) and passes(stable, passed(gradient="zero", arrived="finite"))
    assert not passes(stable, passed(gradient="nonfinite")) and not passes(stable, FAILED)
    assert not passes(stable, passed(applied=0)) and not passes(stable, passed(refused="no"))
    assert not passes(stable, msgspec.structs.replace(passed(), losses=(0.0,)))
    assert not passes(Within(AT, 0, low=0.1), passed(gradient="zero", arrived="finite"))
    chosen = Stable(AT, "double-where")
    assert passes(chosen, passed(gradient="zero", arrived="zero"))
    assert not passes(chosen, passed(gradient="zero", arrived="finite"))
    calm = msgspec.structs.replace(CASE, windows=(Window("loss", tuple(range(6)), (0.05, 0.04, 0.05, 0.04, 0.05, 0.04)),))
    assert treated(lambda change: passed())[0] and not treated(lambda change: passed(), calm)[0]  # 0.5 is that of other weights


def test_other_forms_come_before_an_operand_kept_inside_and_the_search_ends() -> None:
    found, asked = treated(lambda change: passed())
    assert len(found) == ENOUGH and len(asked) < REPLAYS and not any(isinstance(one.interventions[0], Within) for one in found)
    found, asked = treated(lambda change: passed() if isinstance(change, Within) else FAILED)
    assert [type(one.interventions[0]) for one in found] == [Within] and len(asked) <= REPLAYS
    assert not found[0].sure and found[0].tried
    assert treated(lambda change: FAILED)[0] == ()


def test_a_term_that_drowns_the_others_is_weighed_and_never_left_out() -> None:
    """Before a change that belongs to no proven cause, and happens to let this step pass."""
    terms = (LossTerm("penalty", PLACE, "mean", 1e30, gradient=4e3, measured=True),
             LossTerm("task", PLACE, "mean", 2.0, gradient=2.0, measured=True))
    case = msgspec.structs.replace(CASE, trace=msgspec.structs.replace(CASE.trace, terms=terms))
    proven = Diagnosis((msgspec.structs.replace(blamed("dominant-loss-term").hypotheses[0], verdict="confirmed"),))
    found, _ = treated(lambda change: passed() if isinstance(change, Precision) else FAILED, case, proven)
    weights = [one.interventions[0].weight for one in found if isinstance(one.interventions[0], Term)]
    assert weights == [5e-4, 1e-2, 1e-4] and isinstance(found[-1].interventions[0], Precision)


def test_what_no_step_can_tell_is_offered_for_the_run_where_its_cause_leads() -> None:
    scaling = LossScaling(scale=65536.0)
    case = msgspec.structs.replace(CASE, configuration=msgspec.structs.replace(CASE.configuration, loss_scaling=scaling))
    found, asked = treated(lambda change: FAILED, case, blamed("loss-scale-misuse"), replays=0)
    assert asked == [] and [(one.interventions, one.tried) for one in found] == [((LossScale(1.0),), False)]
    unlikely = Diagnosis((Hypothesis("unknown", "", 5.0, 0.8), Hypothesis("loss-scale-misuse", "", 1.0, 0.1)))
    assert treated(lambda change: FAILED, case, unlikely, replays=0)[0] == ()


def test_a_run_goes_on_with_what_its_verified_cure_does_or_begins_again_with_its_patch() -> None:
    stable, wider = Stable(AT, "log-softmax"), Precision("float64", AT)
    found = tuple(Treatment("", (change,), exact=True) for change in (wider, stable))

    def after(cure: Remedy) -> Diagnosis:
        return with_cure(CASE, Diagnosis(treatments=found, remedies=(cure,)))

    cure = Remedy("subtract-the-maximum", "", "safe", verdict="verified", interventions=(stable,), fix=Fix())
    assert (after(cure).treatments, after(cure).again) == (found[::-1], "")  # exactly that lets the held step pass
    for other in (msgspec.structs.replace(cure, interventions=()), msgspec.structs.replace(cure, interventions=(Update(clip="norm"),))):
        assert (after(other).treatments, after(other).again) == (found, "subtract-the-maximum")
    for useless in (msgspec.structs.replace(cure, verdict="failed"), msgspec.structs.replace(cure, fix=None)):
        assert (after(useless).treatments, after(useless).again) == (found, "")
