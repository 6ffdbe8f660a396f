"""The small sentences of a report."""

from __future__ import annotations

import pytest

from stayfinite.records.tensor import TensorStats
from stayfinite.reporters.words import culprit


@pytest.mark.parametrize(
    ("name", "index", "said"),
    [
        ("p", (17, 4), "p[17, 4] = 0"),
        ("1 - p", (3,), "(1 - p)[3] = 0"),
        ("-p", (3,), "(-p)[3] = 0"),
        ("x.norm(dim=1)", (5, 0), "x.norm(dim=1)[5, 0] = 0"),
        ("a if b else c", (1,), "(a if b else c)[1] = 0"),
        ("1 - p", (), "1 - p = 0"),
        ("0.weight", (2,), "0.weight[2] = 0"),
        ("", (2,), "result[2] = 0"),
    ],
)
def test_the_element_that_did_it(name: str, index: tuple[int, ...], said: str) -> None:
    assert culprit(TensorStats(name, (32, 10), "float32", culprit_index=index, culprit=0.0)) == said
