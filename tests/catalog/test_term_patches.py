"""Patches of loss terms that drown the others, and of derivatives written by hand: word for word."""

from __future__ import annotations

import msgspec
import pytest
from catalog.patching import added, born, marked
from catalog.writing import stats

from stayfinite.records.location import Location
from stayfinite.records.series import Window
from stayfinite.records.trace import CustomFunction, LossTerm, Trace

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"


@pytest.mark.parametrize(("body", "expected"), [
    ('loss = ce + «F.mse_loss(ink, rows, reduction="sum")»', ['loss = ce + F.mse_loss(ink, rows, reduction="mean")']),
    ("kl = -0.5 * «torch.sum(1 + v - m**2 - v.exp())»", ["kl = -0.5 * torch.mean(1 + v - m**2 - v.exp())"]),
    ("penalty = «(h @ h.T).pow(2).sum()»", ["penalty = (h @ h.T).pow(2).mean()"]),
    ('class L:\n    def __init__(self):\n        self.pixels = nn.MSELoss(reduction="sum")\n\n    def __call__(self, a, b):\n'
     "        return «self.pixels(a, b)»", ['self.pixels = nn.MSELoss(reduction="mean")']),
    ("kl = «(mu**2).sum()» / len(mu)", []),  # it is divided by something already
    ("kl = «(mu**2).sum(1)».mean()", []),  # part of the formula
    ("rest = «a.sum() + b.sum()»", []),  # which one is meant?
])
def test_a_loss_term_that_is_a_sum(body: str, expected: list[str]) -> None:
    text, place = marked(HEAD + body + "\n")
    drowned = Location("train.py", place.line + 1)
    terms = (LossTerm("ink", place, "sum", 900.0, gradient=4e4, measured=True),
             LossTerm("ce", drowned, "nll_loss", 2.3, gradient=1.0, measured=True))
    assert added("average-the-loss-term", born(place, "mm", trace=Trace(terms=terms)), text) == ([expected] if expected else [])


def test_the_weight_of_the_term_that_drowns_the_others() -> None:
    text = "import torch\n\nink = rows.pow(2).sum()\nloss = 0.5 * symmetry\nloss = loss + 200.0 * ink\n"
    terms = (LossTerm("symmetry", Location("train.py", 1), "mean", 0.4, 0.5, gradient=0.1, measured=True,
                      weighted_at=Location("train.py", 4)),
             LossTerm("ink", Location("train.py", 3), "sum", 9e5, 200.0, gradient=4e4, measured=True,
                      weighted_at=Location("train.py", 5)))
    case = born(Location("train.py", 3), "mm", trace=Trace(terms=terms))
    assert added("lower-loss-weight", case, text) == [["loss = loss + 2 * ink"]]
    begun = msgspec.structs.replace(case, windows=(Window("loss", (0, 1), (2.6e6, 4e7)),))
    assert added("lower-loss-weight", begun, text) == [["loss = loss + 2e-05 * ink"]]


@pytest.mark.parametrize(("named", "factor", "expected"), [
    ("INK = 200.0", "INK", ["INK = 2"]),
    ("def objective(rows, ink_weight=200.0):\n    pass", "ink_weight", ["def objective(rows, ink_weight=2):"]),
    ('parser.add_argument("--ink")\nconfig = dict(ink_weight=2e2)', "config.ink_weight", ["config = dict(ink_weight=2)"]),
    ("INK = 0.5", "INK", []),  # another one by that name: it is changed elsewhere
])
def test_the_weight_under_a_name_of_its_own(named: str, factor: str, expected: list[str]) -> None:
    text = f"import torch\n\nink = rows.pow(2).sum()\nloss = symmetry + {factor} * ink\n{named}\n"
    at = Location("train.py", 4)
    terms = (LossTerm("symmetry", Location("train.py", 1), "mean", 0.4, 1.0, gradient=0.1, measured=True),
             LossTerm("ink", Location("train.py", 3), "sum", 9e5, 200.0, gradient=4e4, measured=True, weighted_at=at))
    case = born(Location("train.py", 3), "mm", trace=Trace(terms=terms))
    assert added("lower-loss-weight", case, text) == ([expected] if expected else [])


@pytest.mark.parametrize(("above", "below", "expected"), [
    (0.0, 0.0, [["unit = diff / dist.masked_fill(dist == 0, 1.0)"]]),
    (1.0, 0.0, []),  # a slope without a limit
])
def test_a_division_in_a_derivative_by_hand(above: float, below: float, expected: list[list[str]]) -> None:
    body = "class Distance(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, a, b):\n" \
           "        ctx.saved = a - b, (a - b).norm()\n" \
           "        return ctx.saved[1]\n\n    @staticmethod\n    def backward(ctx, g):\n        diff, dist = ctx.saved\n" \
           "        unit = «diff / dist»\n        return g * unit, -g * unit"
    text, place = marked(HEAD + body + "\n")
    place = msgspec.structs.replace(place, function="Distance.backward")
    case = born(place, "div", stats("diff", zero=1, culprit=above), stats("dist", zero=1, min=0.0, culprit=below), phase="backward",
                trace=Trace(functions=(CustomFunction("Distance", "backward", Location("train.py", 30), place, reference="finite"),)))
    assert added("safe-divisor", case, text) == expected
