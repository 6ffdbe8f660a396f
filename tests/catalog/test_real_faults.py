"""Faults of real trainings, through the tracer and the localiser to the ranking."""

from __future__ import annotations

import random

import pytest
import torch
from catalog.real_faults import FAULTS, Batch, classes, entropy, perceptron, regression, sgd, squares
from catalog.real_steps import Training, failing_case
from torch import nn

from stayfinite.engine.rank import rank


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_the_cause_comes_first(name: str) -> None:
    cause, make = FAULTS[name]
    case = failing_case(make())
    assert case is not None, "the training did not fail"
    ranked = rank(case).hypotheses
    assert ranked[0].cause == cause, [(one.cause, round(one.probability, 2), one.evidence) for one in ranked]


def drawn(kind: str, seed: int) -> Training:
    """A training with one fault and everything else drawn at random from what is customary."""
    torch.manual_seed(seed)
    dice = random.Random(f"{kind}{seed}")
    labelled = kind in ("rate", "weights") and dice.random() < 0.5
    depth = dice.choice([5, 8, 12, 20]) if kind == "weights" else dice.choice([1, 2, 3])
    width = dice.choice([32, 64, 128])
    model = perceptron(width=width, outputs=5 if labelled else 1, depth=depth)
    rate = 10 ** dice.uniform(0.3, 2.5) if kind == "rate" else 10 ** dice.uniform(-2.5, -1.5)
    scale = {"target": 10 ** dice.uniform(3.5, 6), "input": 10 ** dice.uniform(3, 5)}.get(kind, 1.0)
    if kind == "weights":
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight)

    def batch(step: int) -> Batch:
        made = classes() if labelled else regression()
        if kind == "target":
            made["y"] *= scale
        if kind == "input":
            made["x"] *= scale
        return made

    momentum = dice.choice([0.0, 0.9])
    return Training(model, sgd(model, rate, momentum), batch, entropy if labelled else squares, steps=150)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("rate", "learning-rate-too-high"),
        ("target", "unscaled-target"),
        ("input", "unscaled-input"),
        ("weights", "bad-initialization"),
    ],
)
def test_drawn_trainings_mostly_get_their_cause(kind: str, cause: str) -> None:
    """Causes that make all numbers grow look alike; nine of ten must still be told apart."""
    cases = [case for seed in range(12) if (case := failing_case(drawn(kind, seed))) is not None]
    assert len(cases) >= 6, "too few of the trainings failed"
    right = sum(rank(case).hypotheses[0].cause == cause for case in cases)
    assert right >= 0.9 * len(cases)
