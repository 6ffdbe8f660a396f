"""From a case to ranked hypotheses: order, probabilities, verdicts, broken causes, wild cases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import get_args

import msgspec
import pytest
from catalog.cases import WRITTEN
from hypothesis import given, settings
from hypothesis import strategies as st

from stayfinite import shield
from stayfinite.catalog import pages
from stayfinite.catalog.ops import KINDS
from stayfinite.engine.rank import LEAST, MISREAD, MOST, NO_EXPERIMENT, NOT_AGAIN, heaviest, rank
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import (
    Case,
    Configuration,
    ExceptionInfo,
    OptimizerInfo,
    Origin,
    ReplaySummary,
    Symptom,
)
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import to_number
from stayfinite.records.series import Window
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, LeafKind, Magnitude, OpCall, Phase, Scalar, Trace

CASES = {written.name: written.case for written in WRITTEN}


@pytest.fixture
def forgiving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our own failures are noted instead of raised, as they are for users; what was noted is forgotten afterwards."""
    monkeypatch.setenv("STAYFINITE_STRICT", "0")
    monkeypatch.setattr(shield, "failures", {})
    yield


@pytest.mark.parametrize("name", CASES)
def test_best_first_and_at_most_six(name: str) -> None:
    ranked = rank(CASES[name]).hypotheses
    assert 1 <= len(ranked) <= MOST
    scores = [one.score for one in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(one.probability >= LEAST for one in ranked)
    assert sum(one.probability for one in ranked) <= 1.0 - MISREAD + 1e-9
    assert len({one.cause for one in ranked}) == len(ranked)


def test_however_much_evidence_there_is_something_is_kept_back() -> None:
    sure = rank(CASES["a missing measurement"]).hypotheses[0]
    assert sure.score > 4.0 and 0.89 < sure.probability <= 1.0 - MISREAD


def test_probability_is_a_softmax_of_bits() -> None:
    ranked = rank(CASES["a constant column"]).hypotheses
    first, second = ranked[:2]
    assert first.probability / second.probability == pytest.approx(2.0 ** (first.score - second.score))


@pytest.mark.parametrize("name", CASES)
def test_a_score_is_the_prior_and_the_evidence_shown(name: str) -> None:
    for one in rank(CASES[name]).hypotheses:
        cause = pages.load("causes", one.cause)
        assert one.title == cause.TITLE
        assert one.score == pytest.approx(cause.PRIOR + sum(piece.bits for piece in one.evidence))


def test_one_fact_counts_once() -> None:
    pieces = [Evidence("a", 2.0, "x"), Evidence("b", -5.0, "x"), Evidence("c", 1.0, "y"), Evidence("d", 0.0, "z")]
    assert heaviest(pieces) == (pieces[1], pieces[2])


def test_the_same_case_gives_the_same_diagnosis() -> None:
    case = CASES["house prices"]
    assert rank(case) == rank(case)


def test_nothing_is_a_verdict_without_an_experiment() -> None:
    ranked = rank(CASES["log of a softmax"]).hypotheses
    assert {(one.verdict, one.verdict_reason) for one in ranked} == {("not_tested", NO_EXPERIMENT)}


def test_the_reason_a_replay_gave_is_passed_on() -> None:
    replay = ReplaySummary(not_tested="the step draws from a socket")
    ranked = rank(msgspec.structs.replace(CASES["log of a softmax"], replay=replay)).hypotheses
    assert {(one.verdict, one.verdict_reason) for one in ranked} == {("not_tested", "the step draws from a socket")}
    assert ranked[0].cause == "log-of-zero"


def test_what_did_not_happen_again_is_not_reproduced() -> None:
    ranked = rank(CASES["log of zero, but not again"]).hypotheses
    assert ranked[0].cause == "transient-fault"
    assert {(one.verdict, one.verdict_reason) for one in ranked} == {("not_reproduced", NOT_AGAIN)}


def test_other_inputs_prove_nothing() -> None:
    ranked = rank(CASES["different inputs"]).hypotheses
    assert {one.verdict for one in ranked} == {"not_tested"}
    assert ranked[0].cause == "unknown"


@pytest.mark.usefixtures("forgiving")
@pytest.mark.parametrize("broken", ["evidence", "locate", "APPLIES_TO"])
def test_a_broken_cause_does_not_stop_the_others(
    broken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(case: Case) -> None:
        raise ZeroDivisionError("broken on purpose")

    monkeypatch.setattr(pages.load("causes", "division-by-zero"), broken, fail)
    ranked = rank(CASES["log of a softmax"]).hypotheses
    assert ranked[0].cause == "log-of-zero"
    case = CASES["x / 0"]
    for _ in range(2):
        assert "division-by-zero" not in {one.cause for one in rank(case).hypotheses}
    assert set(shield.failures) == {"cause division-by-zero"}
    assert capsys.readouterr().err.count("division-by-zero") == 1


@pytest.mark.usefixtures("forgiving")
def test_evidence_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = [Evidence("certain", math.inf, "x")]
    monkeypatch.setattr(pages.load("causes", "log-of-zero"), "evidence", lambda case: endless)
    ranked = rank(CASES["log of a softmax"]).hypotheses
    assert "log-of-zero" not in {one.cause for one in ranked}
    assert "cause log-of-zero" in shield.failures


@pytest.mark.usefixtures("forgiving")
def test_a_cause_that_cannot_be_imported_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = pages.load

    def load(shelf: pages.Shelf, name: str) -> ModuleType:
        if name == "exp-overflow":
            raise ImportError("broken on purpose")
        return plain(shelf, name)

    monkeypatch.setattr(pages, "load", load)
    assert "exp-overflow" not in {one.cause for one in rank(CASES["exp of a log-variance"]).hypotheses}


def test_in_strict_mode_a_broken_cause_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAYFINITE_STRICT", "1")
    monkeypatch.setattr(pages.load("causes", "unknown"), "evidence", lambda case: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rank(CASES["nothing located"])


# -- wild cases ------------------------------------------------------------------------------------------------------

text = st.sampled_from([
    "", "x", "y", "train_y[i : i + 50]", "[", "a(b", "\\", "(?P<", "mask.sum()", "v.norm()", "1e-8", "running_var", "é",
    "\0",
])
numbers = st.one_of(
    st.floats().map(to_number), st.sampled_from([0.0, 1.0, -1.0, 1e38, -1e38, 5e-324, 1.7e308, 255.0, 96.0])
)
formats = st.sampled_from(["float16", "bfloat16", "float32", "float64", "complex64", "int64", "bool", "", "float8"])
shapes = st.lists(st.integers(0, 10**6), max_size=4).map(tuple)
counts = st.integers(0, 10**9)
tensors = st.builds(
    TensorStats, name=text, shape=shapes, dtype=formats, nan=counts, posinf=counts, neginf=counts, zero=counts,
    min=numbers, max=numbers, culprit=st.none() | numbers,
)
some_tensors = st.lists(tensors, max_size=3).map(tuple)
kinds = st.sampled_from([*KINDS, "no_such_kind"])
phases = st.sampled_from(get_args(Phase))
places = st.builds(Location, file=text, line=st.integers(-1, 50), code=text, expression=text)
scalars = st.lists(st.builds(Scalar, name=text, value=numbers), max_size=2).map(tuple)
origins = st.builds(
    Origin, phase=phases, op=kinds, native_op=text, location=places, parameter=st.none() | text,
    buffer=st.none() | text,
    samples=st.lists(st.integers(0, 40), max_size=3).map(tuple), inputs=some_tensors, output=st.none() | tensors,
    absorbed_at=st.none() | places, scalars=scalars,
)
calls = st.builds(
    OpCall, index=st.integers(0, 9), kind=kinds, native_op=text, phase=phases, location=places, inputs=some_tensors,
    scalars=scalars, output=st.none() | tensors, sources=st.lists(st.integers(-3, 9), max_size=3).map(tuple),
    sentinel=st.booleans(), absorbed=st.booleans(), forward=st.integers(-1, 9),
)
magnitudes = st.lists(
    st.builds(Magnitude, module=text, kind=text, absmax=numbers, std=numbers, dtype=formats), max_size=8
).map(tuple)
traces = st.builds(
    Trace, calls=st.lists(calls, max_size=5).map(tuple),
    leaves=st.lists(
        st.builds(Leaf, kind=st.sampled_from(get_args(LeafKind)), name=text, stats=tensors), max_size=2
    ).map(tuple),
    profile=magnitudes, gradient_profile=magnitudes, unseen=st.lists(text, max_size=1).map(tuple),
    model_inputs=some_tensors,
)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, ...]:
    found = []
    for series in draw(st.lists(st.sampled_from(["loss", "gradient_norm", "learning_rate"]), max_size=3, unique=True)):
        values = draw(st.lists(numbers, max_size=12))
        start = draw(st.integers(-3, 5))
        found.append(Window(series, tuple(range(start, start + len(values))), tuple(values)))
    return tuple(found)


optimizers = st.builds(
    OptimizerInfo, kind=st.sampled_from(["SGD", "Adam", "Sophia"]), rates=st.lists(numbers, max_size=2).map(tuple),
    epsilon=st.none() | st.floats(), betas=st.lists(st.floats(), max_size=3).map(tuple), location=places,
    schedulers=st.lists(text, max_size=1).map(tuple),
)
configurations = st.builds(
    Configuration, optimizers=st.lists(optimizers, max_size=2).map(tuple),
    parameter_dtypes=st.lists(formats, max_size=2).map(tuple), clip_norm=st.none() | st.floats(),
    clipped_norm=st.none() | numbers, checkpoint=st.none() | places, gradients_alive=st.none() | st.booleans(),
)
messages = st.sampled_from([
    "", "Target 10 is out of bounds.", "all elements of input should be between 0 and 1", "the matrix is singular",
    "Expected more than 1 value per channel when training", "(((", "nan",
])
cases = st.builds(
    Case,
    symptom=st.builds(
        Symptom,
        detector=st.sampled_from(["nonfinite-loss", "nonfinite-learning-rate", "numeric-exception", "divergence"]),
        step=st.integers(-1, 100), series=text, value=numbers,
    ),
    origin=st.none() | origins, trace=traces, windows=windows(), batch=some_tensors,
    batch_size=st.none() | st.integers(0, 64), parameters=some_tensors, configuration=configurations,
    exception=st.none() | st.builds(ExceptionInfo, type=text, message=messages, location=places),
    replay=st.builds(
        ReplaySummary, attempts=st.integers(0, 3), same_inputs=st.booleans(), agreed=st.booleans(),
        not_tested=st.none() | text,
    ),
)


@settings(max_examples=300, deadline=None)
@given(cases)
def test_a_wild_case_is_ranked_all_the_same(case: Case) -> None:
    ranked = rank(case).hypotheses
    assert 1 <= len(ranked) <= MOST
    assert math.fsum(one.probability for one in ranked) <= 1.0 + 1e-9
    assert all(LEAST <= one.probability <= 1.0 for one in ranked)
    assert all(math.isfinite(one.score) for one in ranked)
    assert msgspec.json.decode(msgspec.json.encode(ranked)) is not None


@settings(max_examples=150, deadline=None)
@given(cases, st.sampled_from(pages.ids("causes")))
def test_every_cause_answers_every_case(case: Case, name: str) -> None:
    """Also the cases it does not apply to: a scope may be widened without looking at the rest."""
    cause = pages.load("causes", name)
    assert all(isinstance(piece, Evidence) and math.isfinite(piece.bits) for piece in cause.evidence(case))
    assert isinstance(cause.locate(case), Location)


def test_an_empty_case() -> None:
    case = Case(symptom=Symptom("nonfinite-loss", 0, "loss", "nan"))
    ranked = rank(case).hypotheses
    assert ranked[0].cause == "unknown"
    assert ranked[0].location == UNKNOWN_LOCATION
