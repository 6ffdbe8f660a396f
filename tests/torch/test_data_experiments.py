"""Causes in data, state and loss terms, and of finite failures, proven on real scripts: with a placebo, within the replays that
are allowed, and without a trace in the training that goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from forkserver import run_bare, run_cli

from stayfinite.engine.experiments import REPLAYS

GALLERY = Path(__file__).resolve().parent.parent.parent / "gallery"


def copied(case: str, folder: Path) -> Path:
    shutil.copytree(GALLERY / case, folder / case)
    return folder / case


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "kept" / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("case", "cause"), [
    ("missing-reading", "nonfinite-input"), ("harbour-buoys", "extreme-input"), ("sea-maps", "corrupt-sample"),
    ("label-out-of-range", "label-out-of-range"), ("corrupt-buffer", "corrupt-buffer"),
    ("corrupt-checkpoint", "corrupt-checkpoint"), ("corrupt-optimizer-state", "corrupt-optimizer-state"),
    ("uninitialized-parameter", "uninitialized-parameter"), ("sunspot-warmup", "invalid-learning-rate-schedule"),
    ("star-luminosity", "unscaled-target"), ("progression-by-hand", "unscaled-input"), ("grid-load", "unscaled-target"),
    ("plate-residual", "dominant-loss-term"), ("warehouse-actor-critic", "unscaled-target"),
])
def test_the_cause_is_proven_and_the_step_is_held(case: str, cause: str, tmp_path: Path) -> None:
    folder = copied(case, tmp_path)
    run_cli(["run", "--report", "kept", "train.py"], folder, {"STAYFINITE_STRICT": "1"}, timeout=240)
    incident = report(folder)["incidents"][-1]
    first = incident["causes"][0]
    assert (first["cause"], first["verdict"]) == (cause, "confirmed"), first
    assert all(one["verdict"] != "confirmed" for one in incident["causes"][1:])
    proof = next(one for one in first["experiments"] if one["outcome"] == "finite")
    assert proof["placebo"] not in ("", "finite") and proof["placebo_change"] != proof["change"]
    assert sum(one["replays"] for cause in incident["causes"] for one in cause["experiments"]) <= REPLAYS
    assert incident["held"] or incident["hold_note"]
    assert incident["hold_note"] is None or "put back" not in incident["hold_note"]


@pytest.mark.parametrize(("case", "cause"), [
    ("tidal-harmonics", "frozen-parameters"), ("borrowed-eyes", "frozen-parameters"), ("machine-hum", "dead-relu"),
    ("defect-or-not", "activation-loss-mismatch"), ("trigram-amp", "loss-scale-misuse"),
])
def test_a_training_goes_on_as_if_nothing_had_been_tried(case: str, cause: str, tmp_path: Path) -> None:
    folder = copied(case, tmp_path)
    bare = run_bare(["train.py"], folder, timeout=240)
    watched = run_cli(["run", "--report", "kept", "train.py"], folder, {"STAYFINITE_STRICT": "1"}, timeout=240)
    assert watched.stdout == bare.stdout and watched.exit_code == bare.exit_code == 0
    first = report(folder)["incidents"][0]["causes"][0]
    assert (first["cause"], first["verdict"]) == (cause, "confirmed"), first
    assert "is gone" in first["verdict_reason"]
