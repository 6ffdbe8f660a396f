"""Patches word for word: windows and means along a dimension, powers of data below 0, predictions that nothing keeps between 0 and 1."""

from __future__ import annotations

import pytest
from catalog.patching import ZERO, added, born, changed, changed_lines, marked
from catalog.writing import stats

from stayfinite.records.tensor import TensorStats

HEAD = "import torch\nimport torch.nn.functional as F\n\n\n"
DARK = stats("x", min=-0.04, max=1.2, culprit=-0.02, made_by=("add", "mul", "index"))
LEARNED = stats("x", min=-0.04, max=1.2, culprit=-0.02, made_by=("add", "move", "matmul"))
BEYOND = stats("p", min=-0.3, max=1.7, culprit=1.7, made_by=("add", "matmul"))
WITHIN = stats("p", min=0.2, max=0.9, culprit=0.9, made_by=("add", "matmul"))


def ways(remedy: str, body: str, op: str, *inputs: TensorStats) -> list[list[str]]:
    text, place = marked(HEAD + body + "\n")
    return added(remedy, born(place, op, *inputs), text)


@pytest.mark.parametrize(("body", "expected"), [
    ("pooled = [«h[0, start:end].mean(0)» for start, end in spans]",
     [["pooled = [h[0, start:max(end, start + 1)].mean(0) for start, end in spans]"],
      ["pooled = [h[0, min(start, end - 1):end].mean(0) for start, end in spans]"]]),
    ("part = row[:, at[k]:at[k + 1]]\nf = «part.mean(dim=1)»",
     [["part = row[:, at[k]:max(at[k + 1], at[k] + 1)]"], ["part = row[:, min(at[k], at[k + 1] - 1):at[k + 1]]"]]),
    ("f = «x[:length].mean(0)»", [["f = x[:max(length, 1)].mean(0)"]]),  # there is nothing before it
])
def test_a_window_grows_at_its_end_or_at_its_beginning(body: str, expected: list[list[str]]) -> None:
    assert ways("keep-one-element", body, "mean", ZERO) == expected


@pytest.mark.parametrize(("body", "expected"), [
    ("f = «h[0, a:b].mean(0)»", ["f = ((chosen := h[0, a:b]).sum(0) / max(chosen.shape[0], 1))"]),
    ("f = «part.mean(dim=-1, keepdim=True)»", ["f = (part.sum(dim=-1, keepdim=True) / max(part.shape[-1], 1))"]),
    ("f = «part.mean(axis)»", None),  # which dimension is not told
    ("f = «part.mean(0, dtype=torch.float64)»", None),
])
def test_a_mean_along_a_dimension(body: str, expected: list[str] | None) -> None:
    assert ways("skip-empty-reduction", body, "mean", ZERO) == ([expected] if expected else [])


@pytest.mark.parametrize(("body", "op", "given", "expected"), [
    ("x = «x ** gamma»", "pow", DARK, ["x = x.clamp(min=0) ** gamma"]),
    ("level = «torch.sqrt(power - floor)»", "sqrt", DARK, ["level = torch.sqrt((power - floor).clamp(min=0))"]),
    ("x = «x ** gamma»", "pow", LEARNED, None),  # its gradient would be lost
    ("s = «((x ** 2).mean(0) - m ** 2).sqrt()»", "sqrt", DARK, None),  # a variance has another reason
    ("x = «x ** gamma»", "pow", ZERO, None),
])
def test_data_is_cut_at_0_before_a_root(body: str, op: str, given: TensorStats, expected: list[str] | None) -> None:
    assert ways("keep-inside-domain", body, op, given) == ([expected] if expected else [])


def test_predictions_become_logits_only_where_nothing_keeps_them_between_0_and_1() -> None:
    text = HEAD + "loss = «F.binary_cross_entropy(input=net(x), target=y)»\n"
    after = changed("use-logits-loss", text, "bce", BEYOND)
    assert after is not None
    assert changed_lines(marked(text)[0], after)[1] == "+ loss = F.binary_cross_entropy_with_logits(input=net(x), target=y)"
    assert changed("use-logits-loss", text, "bce", WITHIN) is None  # the network squashes them itself
