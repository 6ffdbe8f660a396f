"""Whose gradients were not cleared, where several optimizers take turns."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from stayfinite.catalog.causes import missing_zero_grad
from stayfinite.frameworks.torch.clearing import Clearing
from stayfinite.records.incident import Case, Configuration, OptimizerInfo, Symptom
from stayfinite.records.location import Location


def _optimizers() -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    return torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1), torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)


def _step(clearing: Clearing, optimizer: torch.optim.Optimizer, subject: object | None, *, first: bool = True) -> None:
    if subject is not None:
        clearing.cleared(subject, to_none=True)
    clearing.before_backward(first=first, none_left=lambda: False)
    for parameter in optimizer.param_groups[0]["params"]:
        if parameter.grad is None or subject is not None:
            parameter.grad = torch.ones_like(parameter)
        else:
            parameter.grad.add_(1.0)  # as a backward pass does
    clearing.used(optimizer)
    clearing.wiped = False


def test_only_the_optimizer_that_never_cleared_is_to_blame() -> None:
    clearing, (critic, generator) = Clearing(), _optimizers()
    for _ in range(3):
        _step(clearing, critic, None)
        _step(clearing, generator, generator)
    assert clearing.alive and clearing.left(critic) and not clearing.left(generator)


def test_a_module_clears_for_every_optimizer_whose_parameters_it_has() -> None:
    both = nn.ModuleList([nn.Linear(2, 1), nn.Linear(2, 1)])
    clearing, (critic, generator) = Clearing(), (torch.optim.SGD(part.parameters(), lr=0.1) for part in both)
    for _ in range(3):
        _step(clearing, critic, both)
        _step(clearing, generator, both)
    assert not clearing.alive and not clearing.left(critic) and not clearing.left(generator)


def test_the_copy_of_a_module_clears_nothing() -> None:
    net = nn.Linear(2, 1)
    clearing, optimizer, averaged = Clearing(), torch.optim.SGD(net.parameters(), lr=0.1), copy.deepcopy(net)
    for _ in range(3):
        clearing.cleared(averaged, to_none=True)
        _step(clearing, optimizer, None)
    assert clearing.alive and clearing.left(optimizer)


def test_the_first_update_has_nothing_to_add_to() -> None:
    clearing, (critic, _) = Clearing(), _optimizers()
    _step(clearing, critic, None)
    assert not clearing.left(critic)


def test_the_place_is_that_of_the_guilty_optimizer() -> None:
    made = tuple(OptimizerInfo("SGD", location=Location(file="gan.py", line=n), gradients_alive=n == 8) for n in (7, 8))
    case = Case(Symptom("nonfinite-loss", 30, "loss", "inf"), configuration=Configuration(optimizers=made, gradients_alive=True))
    assert missing_zero_grad.locate(case).line == 8


def test_gradients_taken_away_or_zeroed_by_hand_are_not_left() -> None:
    for clear in (lambda p: setattr(p, "grad", None), lambda p: p.grad.zero_(), lambda p: setattr(p, "grad", torch.ones_like(p))):
        clearing, (critic, generator) = Clearing(), _optimizers()
        for _ in range(3):
            _step(clearing, critic, None)
            _step(clearing, generator, generator)
            for parameter in critic.param_groups[0]["params"]:
                clear(parameter)
        assert not clearing.left(critic)


def test_two_updates_of_one_backward_pass_add_nothing_up() -> None:
    clearing, (critic, _) = Clearing(), _optimizers()
    _step(clearing, critic, critic)
    clearing.used(critic)
    assert not clearing.left(critic) and not clearing.alive


def test_one_of_two_optimizers_that_step_after_one_backward_pass_owes() -> None:
    clearing, (encoder, head) = Clearing(), _optimizers()
    for _ in range(3):
        clearing.cleared(head, to_none=True)
        _step(clearing, encoder, None)
        clearing.used(head)
    assert clearing.alive and clearing.left(encoder) and not clearing.left(head)


def test_the_place_is_beside_the_clearing_of_another_in_the_same_function() -> None:
    lines = iter([5, 8])
    clearing, (encoder, head) = Clearing(lambda: Location("train.py", next(lines), function="step")), _optimizers()
    for _ in range(2):
        clearing.cleared(head, to_none=True)
        _step(clearing, encoder, None)
    assert clearing.place(encoder).line == 5 and not clearing.place(head).file


def test_the_place_is_that_of_the_update_where_nothing_is_cleared_nearby() -> None:
    places = iter([Location("train.py", 5, function="make"), Location("train.py", 8, function="judge")])
    clearing, (encoder, head) = Clearing(lambda: next(places)), _optimizers()
    for _ in range(2):
        clearing.cleared(head, to_none=True)
        _step(clearing, encoder, None)
    assert clearing.place(encoder).line == 8


STEPS = {
    "in a function that the step calls": ("def clear(c, a):\n    c.cleared(a, to_none=True)  # here\n"
                                          "def step(c, a, b, take):\n    clear(c, a)\n    take(c, a, b)\n"),
    "in another step": "def other(c, a):\n    c.cleared(a, to_none=True)\ndef step(c, a, b, take):\n    take(c, a, b)  # here\n",
}


@pytest.mark.parametrize("style", STEPS)
def test_the_line_that_clears_for_this_step_is_the_place(style: str, tmp_path: Path) -> None:
    path = tmp_path / "user.py"
    path.write_text(STEPS[style])
    module = ModuleType("user")
    exec(compile(path.read_text(), str(path), "exec"), vars(module))

    def here() -> Location:
        frame = sys._getframe()
        while frame.f_code.co_filename != str(path):
            assert frame.f_back is not None
            frame = frame.f_back
        return Location("user.py", frame.f_lineno, function=frame.f_code.co_qualname)

    clearing, (head, body) = Clearing(here), _optimizers()

    def take(clearing: Clearing, head: torch.optim.Optimizer, body: torch.optim.Optimizer) -> None:
        _step(clearing, head, None, first=True)
        _step(clearing, body, None, first=False)

    other: Callable[..., None] | None = vars(module).get("other")
    for _ in range(3):
        if other is not None:
            other(clearing, head)
        module.step(clearing, head, body, take)
    wanted = next(n for n, line in enumerate(path.read_text().splitlines(), 1) if line.endswith("# here"))
    assert clearing.left(body) and clearing.place(body).line == wanted
