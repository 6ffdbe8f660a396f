"""Patches word for word: what lies beyond the last bin is counted in it."""

from __future__ import annotations

import msgspec
import pytest
from catalog.patching import added, born, marked
from catalog.writing import stats

from stayfinite.records.incident import Case
from stayfinite.records.location import Location
from stayfinite.records.survey import Making

HEAD = "import numpy as np\nimport torch\nimport torch.nn.functional as F\n\n"
SCORES = stats("scores", (30, 12), min=-3.0, max=0.0)
BINS = stats("bins", (30,), "int64", min=0, max=12)


def beyond(body: str, op: str = "nll_loss", low: int = 0, high: int = 12, made: int = 0) -> tuple[Case, str]:
    """A case of numbers from `low` to `high` for 12 classes; `made`: the line that makes them, from the first of `body`."""
    text, place = marked(HEAD + body + "\n")
    line = Location("train.py", made + 4)
    makings = (Making("operand", "bins", "made", line),) if made else ()
    return born(place, op, SCORES, stats("bins", (30,), "int64", min=low, max=high), phase="loss", makings=makings), text


@pytest.mark.parametrize(("body", "expected"), [
    ("bins = (time / self.width).long()\nloss = «F.cross_entropy(z, bins)»", "bins = (time / self.width).long().clamp(max=11)"),
    ("scaled = torch.floor(depth * LEVELS)\nbins = scaled.to(torch.int64)\nloss = «F.cross_entropy(z, bins)»",
     "bins = scaled.to(torch.int64).clamp(max=11)"),
    ("loss = «F.cross_entropy(z, torch.bucketize(x, borders))»", "loss = F.cross_entropy(z, torch.bucketize(x, borders).clamp(max=11))"),
    ("def classes(x):\n    return torch.from_numpy(np.digitize(x, edges))\n\n\nbins = classes(x)\nloss = «F.cross_entropy(z, bins)»",
     "return torch.from_numpy(np.digitize(x, edges).clip(max=11))"),
    ("def item(i):\n    return x[i], int(hours[i] / 100)\n\n\nloss = «F.cross_entropy(z, bins)»",
     "return x[i], min(int(hours[i] / 100), 11)"),
    ("class Bulbs:\n    hours = read()\n\n    def __getitem__(self, i):\n        return int(self.hours[i] * 0.01)\n\n\n"
     "for bins in loader:\n    loss = «F.cross_entropy(z, bins)»", "return min(int(self.hours[i] * 0.01), 11)"),
    ("labels = labels.long()\nloss = «F.cross_entropy(z, labels)»", None),  # nothing was measured
    ("bins = (time / width).long().clamp(max=12)\nloss = «F.cross_entropy(z, bins)»", None),  # somebody ends them already
])
def test_what_lies_beyond_the_last_bin(body: str, expected: str | None) -> None:
    assert added("count-in-the-last-bin", *beyond(body, made=2)) == ([[expected]] if expected else [])


def test_what_lies_before_the_first_bin() -> None:
    case, text = beyond("bins = (time / width).long()\nloss = «F.cross_entropy(z, bins)»", low=-1, high=11)
    assert added("count-in-the-last-bin", case, text) == []  # the loss leaves out or refuses a mark, which is no bin
    case, text = beyond("bins = (time / width).long()\nh = «scores.gather(1, bins[:, None])»", op="index", low=-40, high=12)
    assert case.origin is not None
    case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, native_op="aten.gather.default"))
    assert added("count-in-the-last-bin", case, text) == [["bins = (time / width).long().clamp(0, 11)"]]


def test_numbers_within_the_classes_are_left() -> None:
    case, text = beyond("bins = (time / width).long()\nloss = «F.cross_entropy(z, bins)»", high=11)
    assert added("count-in-the-last-bin", case, text) == []
