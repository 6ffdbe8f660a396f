"""One bit that falls over in the memory of a healthy training is never told as a fault of the program."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from flipping import Flip, flips
from forkserver import run_cli
from hypothesis import HealthCheck, given, settings

GALLERY = Path(__file__).resolve().parent.parent.parent / "gallery"
CASES = (
    "corrupt-buffer", "label-out-of-range", "log-of-zero", "missing-reading", "nonfinite-input", "positions-never-set", "sea-maps",
    "uninitialized-parameter", "unscaled-input", "unscaled-target",
)
"""Healthy twins of the gallery that take more than a dozen updates in a few seconds."""
HARDWARE = ("transient-fault", "corrupt-buffer", "corrupt-checkpoint", "corrupt-optimizer-state")
EXAMPLES = 25


def run(flip: Flip, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The incidents that stopped the run, and what was flipped (empty: there was nothing of that sort)."""
    flip.write(GALLERY, folder)
    done = run_cli(["run", "--report", "kept", "train.py"], folder, {"STAYFINITE_STRICT": "1"}, timeout=240)
    report = json.loads((folder / "kept" / "report.json").read_text(encoding="utf-8"))
    assert done.exit_code in (0, 3), done.stderr
    flipped = folder / "flipped.json"
    return (
        [one for one in report["incidents"] if one["stopped"]],
        json.loads(flipped.read_text(encoding="utf-8")) if flipped.exists() else {},
    )


def _sign(flip: Flip, flipped: dict[str, Any]) -> str:
    """What shows that the right tensor is told. A parameter of no module has no name that the worn part could know: then its
    number does, or, where an update was made with it first, that a single number of the state is named at all."""
    if flipped["name"] != "?":
        return str(flipped["name"])
    return f"{float(flipped['after']):.4g}" if flip.place == "weight" else "before the step `"


def wrong(flip: Flip, folder: Path) -> list[str]:
    """What is wrong with the report on `flip`, in words; nothing if all is right."""
    stopped, flipped = run(flip, folder)
    found = []
    for incident in stopped:
        first = incident["causes"][0]
        if first["cause"] not in HARDWARE:
            found.append(f"told as {first['cause']} ({first['probability']:.2f}): {flipped}")
        elif incident["reproduced"] and not any(_sign(flip, flipped) in json.dumps(one) for one in (first["evidence"], incident["origin"])):
            found.append(f"{flipped['name']} is not named: {first['evidence']}")
    return found


@pytest.mark.parametrize("flip", [
    Flip("missing-reading", "weight", 5, 30, 2), Flip("unscaled-target", "weight", 6, 30, 4),
    Flip("nonfinite-input", "gradient", 8, 30, 3), Flip("label-out-of-range", "activation", 8, 30, 3),
], ids=lambda flip: f"{flip.place} of {flip.case}")
def test_a_flipped_bit_is_told_as_one(flip: Flip, tmp_path: Path) -> None:
    stopped, flipped = run(flip, tmp_path)
    assert flipped, "nothing was flipped"
    for first in (one["causes"][0] for one in stopped):
        assert first["cause"] in HARDWARE, (first, flipped)
        if flip.place == "weight":
            assert first["cause"] == "transient-fault" and first["verdict"] == "confirmed"
            assert flipped["name"] in json.dumps(first["evidence"])
    if flip.place == "weight":
        assert stopped


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(flips(CASES))
def test_no_flipped_bit_is_told_as_a_fault_of_the_program(flip: Flip) -> None:
    with tempfile.TemporaryDirectory() as name:
        assert wrong(flip, Path(name)) == []
