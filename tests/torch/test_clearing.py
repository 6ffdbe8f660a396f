"""Whose gradients were not cleared, where several optimizers take turns."""

from __future__ import annotations

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
    clearing.used(optimizer)
    clearing.wiped = False


def test_only_the_optimizer_that_never_cleared_is_to_blame() -> None:
    clearing, (critic, generator) = Clearing(), _optimizers()
    for _ in range(3):
        _step(clearing, critic, None)
        _step(clearing, generator, generator)
    assert clearing.alive and clearing.left(critic) and not clearing.left(generator)


def test_a_module_clears_for_every_optimizer() -> None:
    clearing, (critic, generator) = Clearing(), _optimizers()
    for _ in range(3):
        _step(clearing, critic, nn.Linear(1, 1))
        _step(clearing, generator, nn.Linear(1, 1))
    assert not clearing.alive and not clearing.left(critic) and not clearing.left(generator)


def test_the_first_update_has_nothing_to_add_to() -> None:
    clearing, (critic, _) = Clearing(), _optimizers()
    _step(clearing, critic, None)
    assert not clearing.left(critic)


def test_the_place_is_that_of_the_guilty_optimizer() -> None:
    made = tuple(OptimizerInfo("SGD", location=Location(file="gan.py", line=n), gradients_alive=n == 8) for n in (7, 8))
    case = Case(Symptom("nonfinite-loss", 30, "loss", "inf"), configuration=Configuration(optimizers=made, gradients_alive=True))
    assert missing_zero_grad.locate(case).line == 8
