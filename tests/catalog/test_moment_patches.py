"""Patches word for word: a variance of two running averages becomes an average of squared deviations."""

from __future__ import annotations

import pytest
from catalog.patching import added, born, marked
from catalog.writing import stats

from stayfinite.catalog.edits.changes import patched
from stayfinite.catalog.pages import load

RAW = stats("v", min=-0.4, culprit=-0.1, made_by=("sub", "pow"))
CLASS = ("class Moments:\n    def update(self, x):\n        self.first += w * (x.mean() - self.first)\n"
         "        self.second += w * (x.square().mean() - self.second)\n\n    def spread(self):\n"
         "        return «(self.second - self.first**2).sqrt()»\n")
LAYER = ("class Norm:\n    def variance(self):\n        return self.ex2 - self.ex.pow(2)\n\n    def forward(self, x):\n"
         "        self.ex2.mul_(m).add_(w * x.pow(2).mean(0))\n        self.ex.mul_(m).add_(w * x.mean(0))\n"
         "        return x / «self.variance().sqrt()»\n")
LOOP = ("for p in prices:\n    total = total + p.sum()\n    squares = squares + (p * p).sum()\n    n += len(p)\n    mean = total / n\n"
        "    std = «torch.sqrt(squares / n - mean * mean)»\n")


def ways(body: str) -> list[list[str]]:
    text, place = marked("import torch\n\n" + body)
    return added("variance-from-deviations", born(place, "sqrt", RAW), text)


@pytest.mark.parametrize(("body", "expected"), [
    (CLASS, ["self.second += w * ((x - self.first).square().mean() - self.second)", "return (self.second).sqrt()"]),
    (LAYER, ["return self.ex2", "self.ex2.mul_(m).add_(w * (x - self.ex).pow(2).mean(0))"]),
    (LOOP, ["squares = squares + ((p - mean) ** 2).sum()", "std = torch.sqrt(squares / n)"]),
])
def test_running_moments(body: str, expected: list[str]) -> None:
    found = ways(body)
    assert found[0] == expected
    assert len(found) == 2 and any("+ 1e-6" in line for line in found[1])  # for what divides by it


@pytest.mark.parametrize("body", [
    CLASS.replace("x.mean()", "y.mean()"),  # the square of another mean
    CLASS.replace("x.square().mean()", "x.mean()"),  # no squares are averaged
    LOOP.replace("mean = total / n", "mean = centre"),
    CLASS + "\n    def rms(self):\n        return self.second.sqrt()\n",  # the mean of squares itself is meant as well
    LOOP + "    print(squares)\n",
])
def test_other_differences_are_left(body: str) -> None:
    assert ways(body) == []


@pytest.mark.parametrize(("body", "order"), [
    (LAYER, ("self.ex.mul_", "self.ex2.mul_")), (LOOP, ("mean = total / n", "squares = squares +")),
])
def test_the_mean_is_brought_up_to_date_first(body: str, order: tuple[str, str]) -> None:
    """A deviation from a mean that is still 0 is the number itself."""
    text, place = marked("import torch\n\n" + body)
    offer = load("remedies", "variance-from-deviations").propose(born(place, "sqrt", RAW), {"train.py": text})[0]
    after = patched({"train.py": text}, offer.fix)["train.py"]
    assert after.index(order[0]) < after.index(order[1]) and after.count(order[1]) == 1


def test_a_variance_is_not_cut_at_0_as_data_are() -> None:
    text, place = marked("import torch\n\n" + LOOP)
    assert added("keep-inside-domain", born(place, "sqrt", RAW), text) == []
