"""The script once more in a fresh process: who made a value before the first step, and what it must not do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stayfinite.records.survey import Birth
from stayfinite.rewrite.births.second_run import Program, Wanted, affordable, find
from stayfinite.rewrite.births.slicing import slice_back

SCRIPT = """
import os, sys, logging
import numpy as np

logging.basicConfig(filename="run.log")
os.makedirs("out", exist_ok=True)
with open("out/config.txt", "w") as file:
    file.write("second")


def load(count):
    table = np.ones((count, 3))
    table[2, 1] = float(sys.argv[1])
    return table


data = load(20)
scaled = (data - data.mean(0)) / 2
print("muted")
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.txt").write_text("first")
    (tmp_path / "train.py").write_text(SCRIPT)
    return Program(str(tmp_path / "train.py"), None, ("nan",), str(tmp_path), str(tmp_path))


def test_the_line_is_found_and_no_file_is_touched(program: Program) -> None:
    found = find(program, Wanted(names=("scaled",), shape=(20, 3), dtype="float64", nonfinite=20), 60.0)
    assert isinstance(found, Birth), found
    assert (found.location.file, found.location.line) == ("train.py", 13)
    assert found.searched_in == "setup"
    folder = Path(program.folder)
    assert (folder / "out" / "config.txt").read_text() == "first"
    assert sorted(os.listdir(folder)) == ["out", "train.py"]


def test_a_script_that_is_gone_is_a_reason(program: Program) -> None:
    os.remove(program.script)
    found = find(program, Wanted(names=("scaled",)), 20.0)
    assert isinstance(found, str) and "second run" in found


def test_only_quick_scripts_are_run_again() -> None:
    assert affordable(1.0, 60.0) and not affordable(60.0, 60.0) and not affordable(0.1, 2.0)


def test_the_source_tells_where_a_second_run_cannot(tmp_path: Path) -> None:
    nan = float("nan")
    (tmp_path / "t.py").write_text("raw = read()\nspread = raw.std()\nx = raw / spread\ny = x * 2\nfor step in range(3):\n    go(y)\n")
    names = {"y": [nan], "x": [nan], "raw": [1.0], "spread": 0.0}
    found = slice_back(("y",), str(tmp_path / "t.py"), 5, names, os.path.basename, float("inf"))
    assert found is not None and found.location.line == 3 and found.searched_in == "source" and "not run again" in found.how
    assert slice_back(("y",), str(tmp_path / "t.py"), 5, {"y": [1.0]}, os.path.basename, float("inf")) is None
