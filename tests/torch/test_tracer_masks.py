"""Intended infinities: where they turn into harm, and where they do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from tracing import Traced, check, some, trace_step, train

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class FullyMasked(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.scores = nn.Linear(4, 4)
        self.kind = kind
        mask = torch.zeros(8, 4)
        mask[5] = float("-inf")
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.scores(x)
        if self.kind == "buffer":
            scores = scores + self.mask
        elif self.kind == "fill":
            scores = scores.masked_fill(self.mask < 0, float("-inf"))
        else:
            scores[self.mask < 0] = -torch.inf
        weights = F.softmax(scores, dim=-1)  # <- origin
        return weights @ weights.t()


@pytest.mark.parametrize("kind", ["buffer", "fill", "assigned"])
def test_the_origin_of_a_masked_row_is_the_softmax(kind: str) -> None:
    check(
        train(FullyMasked(kind), some(), torch.sum),
        FullyMasked,
        "forward",
        "softmax",
        module="FullyMasked",
        samples=(5,),
    )


def masked_class_is_picked() -> Traced:
    net, x = nn.Linear(4, 5), some()
    labels = torch.tensor([0, 1, 0, 4, 2, 1, 0, 2])
    allowed = torch.tensor([True, True, True, True, False])

    def step() -> None:
        scores = net(x).masked_fill(~allowed, float("-inf"))
        logp = F.log_softmax(scores, -1)
        F.nll_loss(logp, labels).backward()  # <- origin

    return trace_step(step, [net], {"x": x, "labels": labels})


def test_a_loss_that_picks_a_masked_class() -> None:
    check(masked_class_is_picked(), masked_class_is_picked, "loss", "nll_loss", samples=(3,))


def infinity_minus_infinity() -> Traced:
    x = some()
    w = torch.randn(4, 4, requires_grad=True)

    def step() -> None:
        bias = torch.full((4,), float("-inf"))
        a = x @ w + bias
        b = a - bias  # <- origin
        b.sum().backward()

    return trace_step(step, [], {"x": x, "w": w})


def test_infinity_minus_infinity() -> None:
    check(infinity_minus_infinity(), infinity_minus_infinity, "forward", "sub")


def test_an_overflow_beside_a_mask_is_a_birth() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            masked = self.scores(x).masked_fill(torch.ones(8, 4).triu(1).bool(), float("-inf"))
            return torch.exp(masked + 1e3 * x)  # <- origin

    x = torch.zeros(8, 4)
    x[6, 0] = 1
    check(train(Both(), x, torch.sum), Both, "forward", "exp", module="Both", samples=(6,))
