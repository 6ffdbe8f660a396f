"""The bisection of a held step, on steps whose fault is written down here."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from catalog.cases import WRITTEN
from hypothesis import given
from hypothesis import strategies as st

from stayfinite.engine.narrowing import REPLAYS, narrow
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.engine.rank import rank
from stayfinite.records.diagnosis import Diagnosis, Experiment
from stayfinite.records.incident import Case, ReplaySummary
from stayfinite.records.intervention import Effect, Intervention, Precision, Rows, State, Values
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Trace

CASE = msgspec.structs.replace(WRITTEN[0].case, replay=ReplaySummary(attempts=2))
RANKED = rank(CASE)


def conduct(
    size: int | None, fails: Callable[[Intervention], bool], diagnosis: Diagnosis | None = None, *, width: int = 0
) -> tuple[Experiment, ...]:
    table = TensorStats(name="x", shape=(size or 0, width), dtype="float32")
    case: Case = msgspec.structs.replace(CASE, batch_size=size, trace=Trace(), batch=(table,) if width else ())
    running = narrow(case, diagnosis or RANKED, budget=60.0, replays=20)
    count, outcome = 0, None
    while True:
        try:
            request: ReplayRequest = running.send(outcome) if outcome is not None else next(running)
        except StopIteration as finished:
            assert count <= REPLAYS
            told: tuple[Experiment, ...] = finished.value
            return told
        assert request.intervention is not None
        count += 1
        outcome = Outcome(fails(request.intervention), "", effect=Effect(applied=1))


def with_rows(bad: set[int], size: int) -> Callable[[Intervention], bool]:
    """A step that fails as long as one of the samples `bad` is in the batch."""
    return lambda change: not isinstance(change, Rows) or bool(bad - set(change.rows))


@given(st.integers(2, 64), st.data())
def test_one_bad_sample_is_found(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, size - 1))
    told = conduct(size, with_rows({bad}, size))
    assert told[-1].change == f"sample {bad} alone" and told[-1].outcome == "fails"


def test_either_half_of_the_batch() -> None:
    told = conduct(32, lambda change: True)
    assert [one.outcome for one in told] == ["fails"] * 3 and "no single sample" in told[-1].note


def test_several_samples_together() -> None:
    told = conduct(32, lambda change: not isinstance(change, Rows) or not {3, 30} & set(change.rows))
    assert told[-1].outcome == "finite" and "together" in told[-1].note


def test_weights_or_format() -> None:
    told = conduct(None, lambda change: not isinstance(change, State))
    assert [(one.outcome, one.note.partition(":")[0]) for one in told] == [
        ("finite", "it takes these weights"), ("fails", "the format does not matter"),
    ]
    wide = conduct(None, lambda change: not isinstance(change, Precision))
    assert wide[1].outcome == "finite" and "magnitudes" in wide[1].note


def test_a_confirmed_cause_needs_none() -> None:
    sure = [msgspec.structs.replace(RANKED.hypotheses[0], verdict="confirmed"), *RANKED.hypotheses[1:]]
    assert conduct(8, lambda change: True, msgspec.structs.replace(RANKED, hypotheses=tuple(sure))) == ()


@given(st.integers(2, 40), st.data())
def test_one_bad_column_is_found(width: int, data: st.DataObject) -> None:
    """No sample is to blame: every row has the column."""
    bad = data.draw(st.integers(0, width - 1))
    told = conduct(8, lambda change: not isinstance(change, Values) or bad not in change.columns, width=width)
    assert "no single sample" in told[-2].note
    assert told[-1].change == f"column {bad} alone" and told[-1].outcome == "fails"


def test_columns_together() -> None:
    told = conduct(8, lambda change: not isinstance(change, Values) or not {0, 5} & set(change.columns), width=6)
    assert told[-1].change == "either half of the columns of `x` alone" and "several columns together" in told[-1].note
