"""Gradient scalers: calibration is silent, a scaler that goes on skipping is an incident, misuse is noticed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stayfinite.frameworks.torch.passes import Failure
from stayfinite.frameworks.torch.scaling import LONGEST_CALIBRATION, SKIPPED_IN_A_ROW, Scaling, at_scale
from stayfinite.records.location import Location

LINE = Location(file="train.py", line=7)


class Loop:
    """A loop in float16 autocast whose sensors report to a `Scaling` alone."""

    def __init__(self, **scaler: float) -> None:
        torch.manual_seed(0)
        self.net = nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-4)
        self.scaling = Scaling(lambda: LINE)
        self.scaler = torch.amp.GradScaler("cpu", **scaler)
        self.found: list[Failure] = []
        self.x = torch.randn(8, 4)

    def loss(self, times: float = 1.0) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.float16):
            return self.net(self.x).float().square().mean() * times

    def steps(self, count: int, times: float = 1.0) -> None:
        for step in range(count):
            self.optimizer.zero_grad()
            scaled = self.scaler.scale(self.loss(times))
            self.scaling.after_scale(self.scaler, scaled)
            self.scaling.before_backward([scaled])
            scaled.backward()
            self.scaling.after_backward([self.optimizer])
            self.scaling.before_scaler_step(self.scaler, self.optimizer)
            handle = self.optimizer.register_step_pre_hook(
                lambda one, *_: self.scaling.before_step(one, scaled=True)
            )
            self.scaler.step(self.optimizer)
            handle.remove()
            failure = self.scaling.after_scaler_step(self.scaler, self.optimizer, step, lambda _: "weight")
            self.found += [failure] if failure is not None else []
            self.scaler.update()


@pytest.mark.parametrize("start", [2.0**16, 2.0**24, 2.0**32])
def test_a_scale_that_is_being_found_is_no_failure(start: float) -> None:
    loop = Loop(init_scale=start)
    loop.steps(60)
    assert loop.found == []
    told = loop.scaling.described()
    assert told is not None and 0 < told.skipped < LONGEST_CALIBRATION and told.in_a_row == 0


def test_a_scale_that_grows_too_far_every_few_steps_is_no_failure() -> None:
    loop = Loop(init_scale=2.0**16, growth_interval=3)
    loop.steps(120)
    told = loop.scaling.described()
    assert loop.found == [] and told is not None and told.skipped > 15


def test_a_scale_beyond_all_calibration_is_a_failure() -> None:
    loop = Loop(init_scale=2.0**100)
    loop.steps(LONGEST_CALIBRATION + 1)
    assert loop.found and loop.found[0].step == LONGEST_CALIBRATION - 1
    assert loop.found[0].detector == "nonfinite-gradient" and loop.found[0].at == "scaler"


def test_a_gradient_that_is_infinite_at_any_scale_is_a_failure() -> None:
    loop = Loop()
    loop.steps(SKIPPED_IN_A_ROW + 1, times=1e30)
    assert loop.found and loop.found[0].step <= SKIPPED_IN_A_ROW
    assert "20 updates in a row" in loop.found[0].hold_note


def test_a_fault_in_every_third_step_is_told_before_the_scale_is_gone() -> None:
    loop = Loop()
    for number in range(120):
        loop.steps(1, times=1e30 if number % 3 == 0 else 1.0)
    assert loop.found and loop.scaler.get_scale() > 0.0
    assert loop.found[0].hold_note.startswith("the scaler skipped it, as gradients are not finite at a scale of")


def test_a_factor_that_outgrows_its_fall_is_a_failure() -> None:
    loop = Loop(init_scale=2.0**10, growth_interval=1, growth_factor=4096.0)
    loop.steps(150)
    assert loop.found and "of the latest" in loop.found[0].hold_note


def test_at_scale_leaves_the_scale_alone() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    with at_scale(1.0):
        assert float(scaler.scale(torch.tensor(3.0))) == 3.0
    assert float(scaler.scale(torch.tensor(3.0))) == 3.0 * 512.0
    assert scaler.get_scale() == 512.0


def _misuses(loop: Loop) -> dict[str, int]:
    return {kind: one.times for kind, one in loop.scaling.misuses.items()}


def _differentiate(loop: Loop, root: torch.Tensor) -> None:
    loop.optimizer.zero_grad()
    loop.scaling.before_backward([root])
    root.backward()
    loop.scaling.after_backward([loop.optimizer])


def test_a_step_with_scaled_gradients_is_noticed_with_its_line() -> None:
    loop = Loop()
    scaled = loop.scaler.scale(loop.loss())
    loop.scaling.after_scale(loop.scaler, scaled)
    _differentiate(loop, scaled / 2)
    loop.scaling.before_step(loop.optimizer, scaled=False)
    assert _misuses(loop) == {"stepped-scaled": 1}
    assert loop.scaling.misuses["stepped-scaled"].location == LINE


def test_gradients_divided_by_hand_are_no_misuse() -> None:
    loop = Loop()
    scaled = loop.scaler.scale(loop.loss())
    loop.scaling.after_scale(loop.scaler, scaled)
    _differentiate(loop, scaled)
    for parameter in loop.net.parameters():
        assert parameter.grad is not None
        parameter.grad /= loop.scaler.get_scale()
    loop.scaling.before_step(loop.optimizer, scaled=False)
    assert _misuses(loop) == {}


@pytest.mark.parametrize(("factor", "noticed"), [(1024.0, True), (4096.0 / 8.0, True), (10.0, False), (0.5, False)])
def test_a_constant_is_taken_for_a_scale_from_64_on(factor: float, noticed: bool) -> None:
    loop = Loop()
    _differentiate(loop, loop.loss() * factor)
    loop.scaling.before_step(loop.optimizer, scaled=False)
    assert _misuses(loop) == ({"not-divided": 1} if noticed else {})


@pytest.mark.parametrize(
    ("how", "noticed"), [("as it is", True), ("unscaled", False), ("divided", False), ("limit times scale", False)]
)
def test_clipping_is_noticed_only_before_the_scale_is_taken_out(how: str, noticed: bool) -> None:
    loop = Loop()
    scaled = loop.scaler.scale(loop.loss())
    loop.scaling.after_scale(loop.scaler, scaled)
    _differentiate(loop, scaled)
    if how == "unscaled":
        loop.scaling.after_unscale()
    elif how == "divided":
        for parameter in loop.net.parameters():
            assert parameter.grad is not None
            parameter.grad /= loop.scaler.get_scale()
    loop.scaling.before_clip([loop.optimizer], loop.scaler.get_scale() if how == "limit times scale" else 1.0)
    assert _misuses(loop) == ({"clipped-scaled": 1} if noticed else {})
    told = loop.scaling.told()
    assert [one.id for one in told] == (["loss-scale-misuse"] if noticed else [])
    assert all("65536" in one.message and "(train.py:7)" in one.message for one in told)


@pytest.mark.parametrize("scaled_by_hand", [False, True])
def test_a_loss_without_its_scale_is_told_and_one_scaled_by_hand_is_not(scaled_by_hand: bool) -> None:
    loop = Loop()
    loop.scaling.after_scale(loop.scaler, loop.scaler.scale(loop.loss()))
    for _ in range(2):
        loss = loop.loss()
        _differentiate(loop, loss * loop.scaler.get_scale() if scaled_by_hand else loss)
        loop.scaling.before_scaler_step(loop.scaler, loop.optimizer)
        loop.scaling.after_scaler_step(loop.scaler, loop.optimizer, 0, lambda _: "weight")
    told = loop.scaling.told()
    assert [one.message.rpartition("; ")[2] for one in told] == ([] if scaled_by_hand else ["it happened 2 times"])


def test_a_factor_that_may_be_a_weight_is_not_told() -> None:
    loop = Loop()
    _differentiate(loop, loop.loss() * 128.0)
    loop.scaling.before_step(loop.optimizer, scaled=False)
    assert _misuses(loop) == {"not-divided": 1} and loop.scaling.told() == []


@pytest.mark.parametrize(("divided", "noticed"), [("both", 0), ("first", 1), ("none", 2)])
def test_each_of_several_optimizers_has_to_divide(divided: str, noticed: int) -> None:
    loop = Loop()
    other = torch.optim.SGD([nn.Parameter(torch.ones(4))], lr=1e-4)
    (weight,) = other.param_groups[0]["params"]
    for turn in range(2):  # what one turn leaves is not held against the next
        loss = (loop.loss() + weight.square().mean()) * (1024.0 if turn == 0 else 1.0)
        loop.scaling.before_backward([loss])
        loop.optimizer.zero_grad()
        other.zero_grad()
        loss.backward()
        loop.scaling.after_backward([loop.optimizer, other])
        for optimizer in (loop.optimizer, other)[: {"both": 2, "first": 1, "none": 0}[divided]]:
            for parameter in optimizer.param_groups[0]["params"]:
                parameter.grad /= 1024.0
        loop.scaling.before_step(loop.optimizer, scaled=False)
        loop.scaling.before_step(other, scaled=False)
    assert _misuses(loop) == ({"not-divided": noticed} if noticed else {})
