"""Every cause: its page, its declarations, its own cases, and cases that only look like it."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalog.cases import WRITTEN as OLDER
from catalog.data_cases import data
from catalog.precision_cases import code, precision
from catalog.rival_cases import rivals
from catalog.writing import LOADED, MADE, Written

from stayfinite.catalog import pages
from stayfinite.catalog.cause import CATALOGUED, THREADS, Scope, prior
from stayfinite.engine.rank import rank
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case, ExceptionInfo, Origin, Symptom
from stayfinite.records.location import Location

WRITTEN: tuple[Written, ...] = (*OLDER, *precision(), *code(), *data(), *rivals())
CAUSES = pages.ids("causes")
GALLERY = Path(__file__).parents[2] / "gallery"


@pytest.mark.parametrize("name", CAUSES)
def test_declarations(name: str) -> None:
    cause = pages.load("causes", name)
    assert cause.TITLE and not cause.TITLE.endswith(".")
    assert prior(0) <= cause.PRIOR <= prior(THREADS)
    assert isinstance(cause.APPLIES_TO, Scope)
    assert isinstance(cause.EXAMPLES, tuple)


@pytest.mark.parametrize("name", [name for name in CAUSES if name != "unknown"])
def test_examples_are_gallery_cases(name: str) -> None:
    examples = pages.load("causes", name).EXAMPLES
    assert len(set(examples)) >= 2 or getattr(pages.load("causes", name), "NO_EXAMPLE", "")
    assert [one for one in examples if not (GALLERY / one / "train.py").is_file()] == []


def test_the_priors_share_at_most_one() -> None:
    assert len(CAUSES) <= CATALOGUED
    assert sum(2.0 ** pages.load("causes", name).PRIOR for name in CAUSES) <= 1.0


@pytest.mark.parametrize("written", WRITTEN, ids=lambda one: one.name)
def test_the_cause_comes_first(written: Written) -> None:
    ranked = rank(written.case).hypotheses
    assert ranked[0].cause == written.cause, [(one.cause, one.score, one.evidence) for one in ranked]


@pytest.mark.parametrize("written", WRITTEN, ids=lambda one: one.name)
def test_what_looks_like_it_does_not(written: Written) -> None:
    ranked = rank(written.case).hypotheses
    assert ranked[0].cause not in written.near
    beaten = [one.probability for one in ranked if one.cause in written.near]
    assert all(probability <= 0.5 for probability in beaten)


@pytest.mark.parametrize("name", CAUSES)
def test_every_cause_has_a_case_and_three_near_misses(name: str) -> None:
    assert [one.name for one in WRITTEN if one.cause == name]
    assert len([one.name for one in WRITTEN if name in one.near]) >= 3


@pytest.mark.parametrize("written", WRITTEN, ids=lambda one: one.name)
def test_evidence_is_told_with_its_numbers(written: Written) -> None:
    cause = pages.load("causes", written.cause)
    evidence = cause.evidence(written.case)
    assert all(isinstance(piece, Evidence) and piece.claim and piece.fact for piece in evidence)
    assert all(-12.0 <= piece.bits <= 12.0 for piece in evidence)
    assert written.cause == "unknown" or sum(piece.bits for piece in evidence) > 0.0


def test_a_run_up_beats_the_operation_it_ends_in() -> None:
    by_name = {one.name: one for one in WRITTEN}
    at_once, run_up = by_name["exp of a log-variance"], by_name["exp at the end of a run-up"]
    assert at_once.case.origin is not None and run_up.case.origin is not None
    assert at_once.case.origin.op == run_up.case.origin.op == "exp"
    assert (at_once.cause, run_up.cause) == ("exp-overflow", "learning-rate-too-high")


def test_no_update_was_made_before_the_first_step() -> None:
    first = next(one.case for one in WRITTEN if one.name == "exp in the first step")
    assert "learning-rate-too-high" not in {one.cause for one in rank(first).hypotheses}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("squares at the end of a run-up", MADE),
        ("a rate of nan", MADE),
        ("a gradient of 0 under Adam in half", MADE),
        ("a bad checkpoint", LOADED),
        ("moments from elsewhere", LOADED),
    ],
)
def test_the_place_to_change_may_be_elsewhere(name: str, place: Location) -> None:
    case = next(one.case for one in WRITTEN if one.name == name)
    assert rank(case).hypotheses[0].location == place


def test_the_place_to_change_is_the_origin_otherwise() -> None:
    case = next(one.case for one in WRITTEN if one.name == "log of a softmax")
    assert case.origin is not None
    assert rank(case).hypotheses[0].location == case.origin.location


SYMPTOM = Symptom("nonfinite-loss", 3, "loss", "nan")


@pytest.mark.parametrize(
    ("scope", "origin", "message", "covered"),
    [
        (Scope(), None, "", True),
        (Scope(), Origin("forward", "log", ""), "", True),
        (Scope(kinds=frozenset({"log"})), Origin("forward", "log", ""), "", True),
        (Scope(kinds=frozenset({"log"})), Origin("forward", "exp", ""), "", False),
        (Scope(kinds=frozenset({"log"})), None, "", False),
        (Scope(phases=frozenset({"forward"})), None, "", True),
        (Scope(phases=frozenset({"forward"})), Origin("backward", "log", ""), "", False),
        (Scope(detectors=frozenset({"nonfinite-loss"})), None, "", True),
        (Scope(detectors=frozenset({"nonfinite-gradient"})), None, "", False),
        (Scope(kinds=frozenset({"log"}), messages="singular"), None, "the matrix is singular", True),
        (Scope(kinds=frozenset({"log"}), messages="singular"), None, "something else", False),
    ],
)
def test_scope(scope: Scope, origin: Origin | None, message: str, covered: bool) -> None:
    raised = ExceptionInfo("RuntimeError", message) if message else None
    assert scope.covers(Case(symptom=SYMPTOM, origin=origin, exception=raised)) is covered


def test_prior_is_a_smoothed_share() -> None:
    assert prior(19) > prior(0)
    assert prior(19) - prior(0) < 3.0
