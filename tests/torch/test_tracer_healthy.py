"""Whole healthy trainings in many styles under one tracer: what they print, digests of their weights included, is equal
to the bit, and nothing is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forkserver import run_bare

TESTS = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((TESTS / "healthy").glob("*.py"))
ALONE = "# process: fresh"


def runs_here(script: Path) -> bool:
    """Scripts that spawn processes or compile need an interpreter, and a tracer, of their own."""
    return ALONE not in script.read_text(encoding="utf-8", errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize("script", [pytest.param(script, id=script.stem) for script in SCRIPTS if runs_here(script)])
def test_a_traced_training_is_the_training(script: Path, tmp_path: Path) -> None:
    bare, traced = tmp_path / "bare", tmp_path / "traced"
    bare.mkdir()
    traced.mkdir()
    expected = run_bare([str(script)], bare)
    found = run_bare([str(TESTS / "under_microscope.py"), str(script)], traced, {"STAYFINITE_STRICT": "1"})
    assert found.exit_code == expected.exit_code, found.stderr
    assert found.stdout == expected.stdout
    said = json.loads(found.stderr.strip().splitlines()[-1])
    # Modes belong to one thread: a training in another one is not seen, and not disturbed either.
    assert said["operations"] > 0 or "threading.Thread(" in script.read_text(encoding="utf-8")
    assert said["sinks"] == 0
