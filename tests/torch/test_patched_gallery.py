"""Patches against the real thing: a gallery case runs watched, the remedy patches a copy, the copy runs healthy from its start."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import pytest
from forkserver import run_bare, run_cli

from stayfinite.catalog import pages
from stayfinite.catalog.edits.changes import patched
from stayfinite.recording.reader import read_recording

GALLERY = Path(__file__).resolve().parent.parent.parent / "gallery"
EXAMPLES = [(remedy, case) for remedy in pages.ids("remedies") for case in pages.load("remedies", remedy).EXAMPLES]


def last_loss(text: str) -> float:
    """The last number of the last line that tells a loss or an energy; of the last line of numbers, if none says so."""
    lines = [line for line in text.splitlines() if not line.startswith("weights")]
    told = [line for line in lines if re.search(r"loss|energy|error|score|return|mae|rmse", line)] or lines
    return float(re.findall(r"[-+]?(?:nan|inf|\d+(?:\.\d+)?(?:e[-+]?\d+)?)", told[-1])[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("remedy", "name"), EXAMPLES, ids=lambda given: given)
def test_a_patched_script_is_healthy_from_its_start(remedy: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(GALLERY / name, folder)
    run_cli(["run", "--quiet", "--no-case", "--report", str(tmp_path / "report"), "train.py"], folder, timeout=180)
    case = read_recording(tmp_path / "report").incidents[0].case
    sources = {
        path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in folder.rglob("*.py") if "_fixed" not in path.name
    }
    offers = pages.load("remedies", remedy).propose(case, sources)
    fix = next(offer.fix for offer in offers if offer.fix is not None)
    before = run_bare(["train.py"], folder, timeout=180)
    healthy = run_bare(["train_fixed.py"], folder, timeout=180)
    for file, text in patched(sources, fix).items():
        (folder / file).write_bytes(text.encode())
    after = run_bare(["train.py"], folder, timeout=180)
    assert after.exit_code == healthy.exit_code == 0, after.stderr
    assert math.isfinite(last_loss(after.stdout))
    if before.exit_code == 0 and before.stdout == after.stdout:  # a loss that is NaN once, and leaves no trace in what is printed
        assert run_cli(["run", "--quiet", "--no-case", "train.py"], folder, timeout=180).exit_code == 0
