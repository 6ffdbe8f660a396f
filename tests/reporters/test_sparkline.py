"""Curves in one line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stayfinite.records.numbers import Number, is_finite, to_number
from stayfinite.reporters.signs import ASCII, UNICODE
from stayfinite.reporters.sparkline import sparkline


def spark(*values: Number) -> str:
    return sparkline(values, UNICODE.spark, UNICODE.bad)


def test_shapes() -> None:
    assert spark(0, 1, 2, 3, 4, 5, 6, 7) == "▁▂▃▄▅▆▇█"
    assert spark(1, 2, "+inf", "nan") == "▁█××"
    assert spark(5, 5, 5) == "▅▅▅"
    assert spark("nan") == "×"
    assert spark() == ""
    assert spark(1, 10, 100, 1e7) == "▁▂▃█", "a divergence is drawn in logarithms"
    assert spark(-1e308, 1e308) == "▁█"
    assert sparkline([0, 1], ASCII.spark, ASCII.bad) == "_#"


@given(st.lists(st.floats().map(to_number)))
def test_one_sign_for_each_reading(values: list[Number]) -> None:
    drawn = sparkline(values, UNICODE.spark, UNICODE.bad)
    assert len(drawn) == len(values)
    assert [sign == UNICODE.bad for sign in drawn] == [not is_finite(value) for value in values]
