"""The policy of recovery: what it does first, what it does last, and that it always comes to an end."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stayfinite.engine.ports import Action, Past, Trouble
from stayfinite.engine.recover import (
    AT_ONCE,
    FIRST,
    IN_A_ROW,
    LATER,
    MENDS,
    MOST_AGAIN,
    MOST_REMEDIES,
    MOST_REWINDS,
    PATIENCE,
    PROBATION,
    Policy,
    typical,
    where_it_left,
)
from stayfinite.records.recovery import Toll

LOSSES = tuple((step, 1.0 / (step + 1)) for step in range(60))
NORMS = tuple((step, 2.0) for step in range(60))
PAST = Past((0, 8, 16, 32, 48), LOSSES, NORMS)


def bad(step: int, **what: bool) -> Trouble:
    return Trouble(step, "nonfinite-loss", **what)


def test_one_dirty_sample_is_left_out_and_nothing_else_happens() -> None:
    policy = Policy()
    for step in range(0, 200, 10):
        assert policy.decide(bad(step), PAST).kind == "leave-out"
        assert [policy.passed(step + n, 0.1) for n in range(1, 10)] == [""] * 9
    assert (policy.rate, policy.clip, policy.left_out, policy.rewound) == (1.0, None, 20, 0)


def test_steps_that_go_on_failing_lead_back_before_the_first_of_them_and_to_a_lower_rate() -> None:
    policy = Policy()
    actions = [policy.decide(bad(step), PAST) for step in range(48, 48 + IN_A_ROW)]
    assert [action.kind for action in actions] == ["leave-out"] * (IN_A_ROW - 1) + ["rewind"]
    assert actions[-1].back_to == 32  # before 48 the state was what it is now
    assert (policy.goal, policy.clip) == (FIRST, 2.0)
    rates, told = [], []
    for step in range(60, 60 + PROBATION):
        rates.append(policy.rate)
        told.append(policy.passed(step, 0.02))
    assert rates == sorted(rates) and rates[0] == pytest.approx(0.1 * FIRST) and rates[-1] == FIRST
    assert told == [""] * (PROBATION - 1) + ["overcome"]


def test_a_divergence_goes_back_to_where_the_loss_was_still_low_and_lower_each_time() -> None:
    policy = Policy()
    losses = (*LOSSES[:40], *((40 + n, 0.5 * 3.0**n) for n in range(10)))
    past = Past((0, 8, 16, 32, 48), losses, NORMS)
    actions = [policy.decide(bad(step, grows=True), past) for step in (50, 51, 52)]
    assert [(action.kind, action.back_to) for action in actions] == [("rewind", 32)] * 3  # what was kept since is not known to be good
    growth = (0.5 * 3.0) / 0.5
    assert policy.goal < FIRST * LATER**2 and policy.goal <= 1 / (1 + math.sqrt(growth))


def test_an_explosion_goes_back_at_its_first_bad_step_to_a_rate_that_its_growth_tells() -> None:
    """On a parabola of curvature c, a rate r = k/c multiplies the loss by (k - 1)^2; the best rate is 1/c."""
    for k in (3.0, 30.0, 300.0):
        policy = Policy()
        losses = tuple((step, (k - 1.0) ** (2 * step)) for step in range(4))
        action = policy.decide(bad(4), Past((0, 1, 2, 3), losses, ()))
        assert action.kind == "rewind" and action.back_to <= 1
        assert policy.goal == pytest.approx(1.0 / k)


def test_a_rate_is_raised_again_while_all_is_well_and_never_to_the_one_that_failed() -> None:
    policy = Policy()
    policy.decide(bad(4), Past((0, 1, 2, 3), tuple((step, 1e4**step) for step in range(4)), ()))
    low = policy.goal
    for step in range(5, 300):
        assert policy.passed(step, 0.5) in ("", "overcome")
    assert low < 0.02 and policy.goal == FIRST


def test_a_loss_that_leaves_again_after_a_rewind_is_a_reason_to_go_back_though_it_is_finite() -> None:
    policy = Policy()
    policy.decide(bad(50, grows=True), PAST)
    assert [policy.passed(51 + n, 10.0**n) for n in range(4)] == ["", "", "leaving", "leaving"]


def test_a_step_that_never_succeeds_ends_soon_and_says_what_was_tried() -> None:
    policy = Policy()
    kinds = []
    for step in range(50, 150):
        action = policy.decide(bad(step), PAST)
        kinds.append(action.kind)
        if action.kind == "stop":
            break
    assert (kinds.count("rewind"), len(kinds)) == (2, IN_A_ROW + 2 * AT_ONCE)
    assert action.told.startswith("no step succeeds from an earlier state either; tried: 2 rewinds with the rate down to 0.35")
    assert policy.at_loss


def test_a_run_whose_every_step_is_bad_stops_without_going_back_to_where_it_is() -> None:
    policy = Policy()
    past = Past((0, 2, 3))
    actions = [policy.decide(bad(step), past) for step in range(AT_ONCE)]
    assert [action.kind for action in actions] == ["leave-out"] * (AT_ONCE - 1) + ["stop"]


def test_bad_batches_are_left_out_for_as_long_as_a_sensor_may_be_silent() -> None:
    policy = Policy()
    kinds = [policy.decide(bad(step, data=True), PAST).kind for step in range(PATIENCE + 1)]
    assert kinds == ["leave-out"] * PATIENCE + ["stop"]


def test_a_bad_state_is_mended_before_it_is_given_up() -> None:
    policy = Policy()
    kinds = [policy.decide(bad(step, state=True), PAST).kind for step in range(MENDS + 1)]
    assert kinds == ["mend"] * MENDS + ["rewind"]


def test_a_remedy_that_passed_its_trial_comes_first_and_once() -> None:
    policy = Policy()
    trouble = Trouble(5, "nonfinite-loss", remedies=("use-log-softmax",))
    actions = [policy.decide(trouble, PAST) for _ in range(2)]
    assert [(action.kind, action.remedy) for action in actions] == [("remedy", "use-log-softmax"), ("leave-out", "")]


def test_without_anything_remembered_it_stops_honestly() -> None:
    policy = Policy()
    action = policy.decide(bad(3, grows=True), Past())
    assert (action.kind, action.told.partition(";")[0]) == ("stop", "no earlier state is remembered")


@given(st.lists(st.sampled_from(["ok", "bad", "grows", "state"]), max_size=400))
def test_it_is_bounded_whatever_happens(events: list[str]) -> None:
    policy = Policy()
    goals = [policy.goal]
    rewound = 0
    for step, event in enumerate(events):
        assert 0.0 < policy.rate <= policy.goal <= 1.0
        if event == "ok":
            policy.passed(step, 1.0)
            continue
        past = Past(tuple(range(0, step + 1, 7)), tuple((n, 1.0) for n in range(step)), tuple((n, 3.0) for n in range(step)))
        action = policy.decide(bad(step, grows=event == "grows", state=event == "state"), past)
        if action.kind == "rewind":
            rewound += 1
            assert action.back_to in past.snapshots
            goals.append(policy.goal)
        if action.kind == "stop":
            break
    assert rewound == policy.rewound <= MOST_REWINDS
    assert max(goals[1:], default=0.0) <= FIRST  # the rate never comes back to the one that failed


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 5))
def test_the_step_at_which_a_loss_left_is_one_of_its_steps_and_before_an_explosion(values: list[float], rising: int) -> None:
    losses = list(enumerate(values))
    assert where_it_left(losses) in dict(losses)
    blown = [*losses, *((len(values) + n, 1e9 * 10.0**n) for n in range(rising))]
    if len(values) > 2 * rising + 2:
        assert where_it_left(blown) < len(values)


@given(st.lists(st.floats(0.0, 1e30), max_size=100))
def test_the_limit_of_a_gradient_is_a_norm_that_was_seen(norms: list[float]) -> None:
    limit = typical(norms)
    assert limit in norms if any(norms) else limit is None
    assert limit is None or math.isfinite(limit)


def test_a_run_goes_on_with_a_change_at_once_and_with_each_only_once() -> None:
    policy = Policy()
    what = {"remedies": ("a: stable", "a: wide")}
    first, second, third = (policy.decide(Trouble(50 + n, "nonfinite-loss", **what), PAST) for n in range(3))
    assert [(one.kind, one.remedy, one.back_to) for one in (first, second)] == [("remedy", "a: stable", -1), ("remedy", "a: wide", -1)]
    assert (third.kind, policy.remedied, policy.rewound, policy.goal) == ("leave-out", 2, 0, 1.0)
    for step in range(60, 60 + PROBATION):
        told = policy.passed(step, 0.02)
    assert told == "overcome"
    assert policy.decide(Trouble(90, "nonfinite-loss", **what), PAST).kind == "leave-out"


def test_what_only_the_run_can_tell_begins_at_a_state_from_before_the_failure_and_at_the_full_rate() -> None:
    policy = Policy()
    action = policy.decide(Trouble(48, "nonfinite-loss", untried=("a: gradients zeroed",)), PAST)
    assert (action.kind, action.back_to, policy.rate) == ("remedy", 32, 1.0)
    assert "only the run can tell" in action.told


def test_changes_come_to_an_end_as_well() -> None:
    policy = Policy()
    actions = [policy.decide(Trouble(48, "nonfinite-loss", remedies=(f"{n}: x",)), PAST) for n in range(MOST_REMEDIES + 1)]
    assert [one.kind for one in actions] == ["remedy"] * MOST_REMEDIES + ["leave-out"]


def test_rare_bad_steps_do_not_press_and_those_one_after_the_other_do() -> None:
    policy = Policy()
    pressing = []
    for step in range(0, 120, 30):
        pressing.append(policy.pressing)
        policy.decide(bad(step), PAST)
        for healthy in range(29):
            policy.passed(step + healthy, 0.02)
    assert pressing == [False] * 4
    policy.decide(bad(120), PAST)
    assert policy.pressing


def test_a_finite_failure_costs_no_update_and_is_answered_only_where_something_is_known() -> None:
    policy = Policy()
    assert policy.cure(Trouble(50, "dead-gradient"), PAST) is None and not policy.open
    action = policy.cure(Trouble(50, "dead-gradient", remedies=("a: adopted",)), PAST)
    assert action is not None and (action.kind, action.back_to, policy.left_out) == ("remedy", -1, 0)
    assert policy.cure(Trouble(51, "dead-gradient", remedies=("a: adopted",)), PAST) is None


CURED = Trouble(8, "nonfinite-loss", remedies=("exact",), cure="clip-gradient-norm")


def test_where_hardly_anything_is_lost_the_script_begins_again_with_a_verified_cure() -> None:
    policy = Policy()
    action = policy.decide(CURED, PAST)
    assert action.kind == "begin-again" and not policy.left_out + policy.rewound + policy.remedied
    assert Policy(begun_again=MOST_AGAIN).decide(CURED, PAST) == policy_without_cure(CURED)


def policy_without_cure(trouble: Trouble) -> Action:
    return Policy().decide(msgspec.structs.replace(trouble, cure=""), PAST)


def test_one_bad_batch_late_in_a_run_is_left_out_and_the_next_one_begins_it_again() -> None:
    policy = Policy()
    late = Trouble(400, "nonfinite-loss", data=True, cure="fill-missing")
    assert [policy.decide(late, PAST).kind, policy.decide(late, PAST).kind] == ["leave-out", "begin-again"]


@pytest.mark.parametrize("what", [{"grows": True}, {"remedies": ("an epsilon",)}, {"untried": ("lr = 0.3",)}, {"raised": True}])
def test_what_one_update_left_out_does_not_end_begins_the_script_again_at_any_time(what: dict[str, Any]) -> None:
    assert Policy().decide(Trouble(400, "nonfinite-loss", cure="clip-gradient-norm", **what), PAST).kind == "begin-again"


def test_what_has_learned_nothing_begins_again_rather_than_to_go_on() -> None:
    stuck = Trouble(400, "plateau", remedies=("the inputs standardised",), cure="add-a-skip-connection")
    policy = Policy(begun_again=MOST_AGAIN - 1)
    actions = [policy.cure(stuck, PAST), policy.cure(stuck, PAST)]
    assert [action.kind for action in actions if action is not None] == ["begin-again", "remedy"]


def test_what_was_done_before_a_script_began_again_is_counted_with_what_came_after() -> None:
    earlier, later = Toll(2, 1, 0, 0, 1.0, 1), Toll(1, 0, 1, 1, 0.5)
    assert later.after(earlier) == Toll(3, 1, 1, 1, 0.5, 1) and later.after(None) == later
