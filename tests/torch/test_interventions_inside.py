"""Changes inside what torch computes by itself: the backward pass, what a checkpoint repeats, a distribution that is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Gamma, Independent, LogNormal, Normal
from torch.utils.checkpoint import checkpoint

from stayfinite.frameworks.torch.interventions.performing import Given, Performer, performer
from stayfinite.frameworks.torch.passes import Window
from stayfinite.frameworks.torch.subjects import Subjects, namer
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.records.intervention import Intervention, Place, Stable, State, Update, Within

HERE = os.path.basename(__file__)


def performing(change: Intervention, *own: Tensor, by_hand: bool = False) -> Performer:
    frames = Frames(lambda file: file == __file__, os.path.basename)
    return performer(change, Given(Window([], by_hand=by_hand), Subjects(own, [], namer({}, {})), frames, lambda tensor: "", {}))


def line_in(function: Callable[..., Any], offset: int) -> int:
    return function.__code__.co_firstlineno + offset


class Unwritten(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        made = torch.empty(gradient.shape)
        made[1:] = gradient[1:]
        return made


def test_memory_that_a_derivative_leaves_unwritten_begins_as_zeros() -> None:
    leaf = torch.ones(4, requires_grad=True)
    one = performing(Stable(Place("empty", HERE, line_in(Unwritten.backward, 2)), "zeros"))
    engine = torch.autograd._engine_run_backward
    with one.entered():
        Unwritten.apply(leaf).sum().backward()
    assert leaf.grad is not None and leaf.grad.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert one.effect().applied == 4 and torch.autograd._engine_run_backward is engine


def test_what_a_checkpoint_computes_once_more_is_changed_alike() -> None:
    weight = torch.tensor([0.0, 4.0], requires_grad=True)

    def rooted(x: Tensor) -> Tensor:
        return x.sqrt()

    one = performing(Within(Place("sqrt", HERE, line_in(rooted, 1)), 0, low=1.0))
    with one.entered():
        checkpoint(rooted, weight * 1.0, use_reentrant=False).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None and weight.grad.tolist() == [0.0, 0.25]
    assert one.effect().applied == 2


def test_what_a_hook_computes_is_no_line_of_the_step() -> None:
    leaf = torch.tensor([0.0, 4.0], requires_grad=True)
    line = line_in(test_what_a_hook_computes_is_no_line_of_the_step, 7)
    one = performing(Within(Place("abs", HERE, line), 0, low=100.0))
    with one.entered():
        root = (leaf + 1.0).sqrt()
        root.register_hook(torch.abs)
        root.sum().backward()
    assert one.effect().applied == 0 and [place.kind for place in one.places()] == ["add", "sqrt", "sum"]


SPREAD = torch.tensor([[0.5], [-0.1]])
MADE: dict[str, Callable[[], Any]] = {
    "normal": lambda: Normal(torch.zeros(2, 1), SPREAD),
    "in another": lambda: Independent(Normal(torch.zeros(2, 1), SPREAD), 1),
    "of another": lambda: LogNormal(torch.zeros(2, 1), SPREAD),
    "two parameters": lambda: Gamma(SPREAD, SPREAD),
}


@pytest.mark.parametrize("name", MADE)
def test_parameters_of_a_distribution_are_kept_inside_what_it_allows(name: str) -> None:
    make, init = MADE[name], torch.distributions.Distribution.__init__
    place = Place("distribution", HERE, make.__code__.co_firstlineno)
    with pytest.raises(ValueError, match="constraint"):
        make()
    one = performing(Within(place, 0, low=1e-3))
    with one.entered():
        made = make()
    assert torch.isfinite(made.log_prob(torch.ones(2, 1))).all() and one.effect().applied >= 1
    assert torch.distributions.Distribution.__init__ is init
    for other in (Within(place, 0, low=1e-3, others=True), Within(Place("distribution", HERE, 1), 0, low=1e-3)):
        with performing(other).entered(), pytest.raises(ValueError, match="constraint"):
            make()


def test_what_is_computed_when_it_is_asked_for_is_left_alone() -> None:
    make = lambda: Bernoulli(logits=torch.tensor([0.0, torch.nan]))  # noqa: E731
    one = performing(Within(Place("distribution", HERE, make.__code__.co_firstlineno), 0, low=0.0))
    with one.entered(), pytest.raises(ValueError, match="constraint"):
        make()
    assert one.effect().applied == 0


def test_a_part_of_a_softmax_that_underflows_is_the_same_softmax() -> None:
    scores = torch.tensor([[200.0, 60.0, -50.0], [10.0, -70.0, 1.0]], requires_grad=True)
    step: Callable[[Tensor], Tensor] = lambda z: (lambda e: e / e.sum(1, keepdim=True))(torch.exp(z))  # noqa: E731
    one = performing(Stable(Place("exp", HERE, step.__code__.co_firstlineno), "shifted-softmax"))
    with one.entered():
        result = step(scores)
    assert not one.effect().refused and one.effect().applied and torch.allclose(result, torch.softmax(scores, 1))


def test_modules_are_met_inside_a_backward_pass_that_is_asked_for_by_grad() -> None:
    layer = nn.Linear(2, 2)
    value = torch.ones(1, 2, requires_grad=True)
    one = performing(Stable(Place("empty", HERE, line_in(Unwritten.backward, 2)), "zeros"))
    with one.entered():
        torch.autograd.grad(Unwritten.apply(layer(value)).sum(), value)
    assert one.effect().applied == 2


def test_shares_of_nothing_are_equal_shares() -> None:
    weights = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 3.0]], requires_grad=True)
    step: Callable[[Tensor], Tensor] = lambda x: x / x.sum(-1, keepdim=True)  # noqa: E731
    one = performing(Stable(Place("div", HERE, step.__code__.co_firstlineno), "epsilon-inside"))
    with one.entered():
        result = step(weights)
    assert torch.allclose(result, torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.25, 0.0, 0.75]])) and one.effect().applied == 1
    torch.distributions.Categorical(probs=result)


def test_a_softmax_over_one_number_becomes_a_sigmoid() -> None:
    scores = torch.tensor([[2.0], [-1.0]], requires_grad=True)
    step: Callable[[Tensor], Tensor] = lambda x: torch.softmax(x, dim=1)  # noqa: E731
    change = Stable(Place("softmax", HERE, step.__code__.co_firstlineno), "sigmoid")
    one = performing(change)
    with one.entered():
        result = step(scores)
        both = step(torch.ones(2, 2))
    assert torch.allclose(result, scores.sigmoid()) and torch.allclose(both, torch.full((2, 2), 0.5)) and one.effect().applied == 2


@pytest.mark.parametrize(("change", "expected"), [
    (Update(rate=0.1), [0.8, 0.8]), (Update(skipped=True), [1.0, 1.0]), (Update(rate=0.99), [-0.98, -0.98]),
    (Update(clip="value", limit=0.5), [0.0, 0.0]), (Update(clip="norm", limit=2.0**0.5), [-1.0, -1.0]),
])
def test_an_update_by_hand_is_taken_otherwise(change: Update, expected: list[float]) -> None:
    weight = torch.ones(2, requires_grad=True)
    one = performing(change, weight, by_hand=True)
    with one.entered():
        one.rebind({}, [])
        loss = (weight * 4.0 if change.clip else weight).sum()
        for _ in range(1 if change.clip else 2):  # two passes, and in each the parameter is written twice
            one.rebind({}, [])
            (loss if change.clip else weight.sum()).backward()
            assert weight.grad is not None
            with torch.no_grad():
                weight.sub_(0.5 * weight.grad)
                weight.sub_(1.5 * weight.grad if change.clip else 0.5 * weight.grad)
                weight.grad.zero_()
    assert torch.allclose(weight.detach(), torch.tensor(expected), atol=1e-4) and one.effect().applied
    weight.sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [1.0, 1.0]


def test_with_an_optimizer_what_a_script_writes_is_its_own() -> None:
    weight = torch.ones(2, requires_grad=True)
    one = performing(Update(rate=0.1), weight)
    with one.entered(), torch.no_grad():
        weight.sub_(1.0)
    assert weight.tolist() == [0.0, 0.0] and one.effect().applied == 0


def test_a_negative_mean_of_squares_is_mended() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], 0.1)
    weight.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.state[weight]["exp_avg_sq"][1] = -0.5
    optimizer.state[weight]["exp_avg"][0] = -0.25
    subjects = Subjects([], [optimizer], namer({}, {}))
    (name,) = subjects.parameter_names.values()
    frames = Frames(lambda file: True, os.path.basename)
    change = State("moments", "mended", (f"exp_avg_sq of {name}", f"exp_avg of {name}"))
    one = performer(change, Given(Window([]), subjects, frames, lambda tensor: "", {}))
    with one.entered():
        one.rebind({}, [])
        optimizer.step()
    assert one.effect().applied == 1 and torch.isfinite(weight).all()
    assert optimizer.state[weight]["exp_avg"][0] != 0.0
