"""The small sentences of a report."""

from __future__ import annotations

import pytest

from stayfinite.records.incident import ReplaySummary
from stayfinite.records.tensor import TensorStats
from stayfinite.reporters.words import culprit, reproduction


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


@pytest.mark.parametrize(("attempts", "surveyed", "said"), [
    (0, True, "a step was repeated, and shows why"),  # a plateau: no step failed, one was looked at
    (0, False, "not replayed"),
    (2, False, "not reproduced: replayed twice with the same inputs, state and random numbers, and it did not happen again"),
])
def test_what_repeating_a_step_said(attempts: int, surveyed: bool, said: str) -> None:
    assert reproduction(ReplaySummary(attempts=attempts, same_inputs=True), reproduced=False, surveyed=surveyed) == said
