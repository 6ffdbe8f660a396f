"""The benchmarks start, and their quick forms measure something. The figures are not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
NAMES = sorted(path.stem for path in BENCH.glob("*.py") if not path.name.startswith("_"))


def bench(*arguments: str | Path) -> str:
    """Standard output of a Python process in `bench/`; its exit code must be 0."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(BENCH)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=BENCH, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_they_can_be_imported() -> None:
    assert len(NAMES) >= 6
    assert bench("-c", f"import {', '.join(NAMES)}; print('imported')") == "imported\n"


@pytest.mark.slow
def test_watching_is_measured_beside_the_bare_step(tmp_path: Path) -> None:
    told = bench(BENCH / "overhead.py", "--rounds", "1", "--workload", "brief", "--json", tmp_path / "rows.json")
    assert "| stayfinite |" in told
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    assert [row["arm"] for row in rows] == ["bare again", "stayfinite", "stayfinite, looking every step"]
    assert all(row["bare"] > 0 and 0.1 < row["median"] < 20 for row in rows)


@pytest.mark.slow
def test_every_peer_raises_its_alarm() -> None:
    """A peer that checks nothing would look cheap."""
    told = bench("-c", (
        "import torch, _arms\n"
        "for name, around in _arms.PEERS.items():\n"
        "    model = torch.nn.Linear(3, 1)\n"
        "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    for bad in (False, True):\n"
        "        x = torch.ones(4, 3)\n"
        "        x[2, 1] = float('nan') if bad else 1.0\n"
        "        try:\n"
        "            with around():\n"
        "                model(x).square().sum().backward()\n"
        "                optimizer.step()\n"
        "            print(bad, 'quiet', name)\n"
        "        except (FloatingPointError, RuntimeError):\n"
        "            print(bad, 'alarm', name)\n"
    ))
    lines = told.splitlines()
    assert len(lines) >= 12
    assert all(line.startswith(("False quiet", "True alarm")) for line in lines), told


def test_shares_and_probabilities_are_counted_right() -> None:
    """Against published values: Wilson's interval of 0 in 10 is 0 to 0.278, of 81 in 263 is 0.255 to 0.366."""
    sys.path.insert(0, str(BENCH))
    try:
        from _figures import calibration_error, rate_at_most, reliability, wilson
    finally:
        sys.path.pop(0)
    assert [round(end, 3) for end in wilson(0, 10)] == [0.0, 0.278]
    assert [round(end, 3) for end in wilson(81, 263)] == [0.255, 0.366]
    assert wilson(0, 0) == (0.0, 1.0)
    assert rate_at_most(0, 30_000) == 1e-4
    rows = [{"ranked": [(0.5, True), (0.5, False)]}, {"ranked": [(1.0, False)]}, {}]
    assert [(line[0], line[1]) for line in reliability(rows)] == [("0.4 to 0.6", "2"), ("0.99 to 1", "1")]
    assert round(calibration_error(rows), 3) == 0.333
