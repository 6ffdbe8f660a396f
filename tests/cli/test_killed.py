"""``kill -9`` at each stage of an investigation: what was known by then is on disk, and `report` tells it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forkserver import run_cli
from sameness import write_job

TRAIN = """
import itertools, os, signal, sys
import torch
import stayfinite.watching
from stayfinite.recording.writer import Recorder

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def die_in(owner, name, when):
    original = getattr(owner, name)
    def dying(*args, **kwargs):
        if when == "before":
            die()
        original(*args, **kwargs)
        die()
    setattr(owner, name, dying)

point, _, when = sys.argv[1].partition(":")
if point in ("symptom", "located", "incident", "_tell", "case_folder"):
    die_in(stayfinite.watching.Watching, point, when)
elif point == "stage":
    original = stayfinite.watching.Watching.stage
    def stage(self, incident, name):
        original(self, incident, name)
        if name == when:
            die()
    stayfinite.watching.Watching.stage = stage
elif point == "save":
    die_in(Recorder, "save", when)

ticks = itertools.count()  # `next(ticks)` would be given again what it had given

class Tick(torch.nn.Module):
    def forward(self, x):
        if torch.isnan(x).any() and ticks.__next__() == (int(when) if point == "repetition" else -1):
            die()
        return x

torch.manual_seed(0)
net = torch.nn.Sequential(Tick(), torch.nn.Linear(4, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
for step in range(6):
    x = torch.randn(8, 4)
    if step == 3:
        x[0] = float("nan")
    optimizer.zero_grad()
    loss = net(x).pow(2).mean()
    loss.backward()
    optimizer.step()
"""
POISON = '        x[0] = float("nan")'
POINTS = (
    "symptom:after", "stage:replay", "repetition:1", "repetition:2", "repetition:3", "stage:locate", "located:before",
    "located:after", "stage:rank", "case_folder:before", "case_folder:after", "incident:before", "incident:after",
    "_tell:before", "save:before", "save:after",
)


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_is_killed_leaves_a_report(point: str, tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": TRAIN})
    killed = run_cli(["run", "--report", "kept", "train.py", point], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert killed.exit_code == -9, killed.stderr
    told = run_cli(["report", "kept", "--json", "told.json"], tmp_path)
    assert told.exit_code == 0, told.stderr
    report = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert report["status"] == "incident"
    (incident,) = report["incidents"]
    assert (incident["symptom"], incident["step"], incident["value"]) == ("nonfinite-loss", 3, "nan")
    if POINTS.index(point) >= POINTS.index("located:after"):
        assert incident["origin"]["line"] == 1 + TRAIN.splitlines().index(POISON)
    if POINTS.index(point) >= POINTS.index("incident:after"):
        assert incident["causes"][0]["cause"] == "nonfinite-input"


def test_a_run_that_is_killed_before_anything_was_seen_left_nothing_but_its_beginning(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": TRAIN})
    killed = run_cli(["run", "--report", "kept", "train.py", "symptom:before"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert killed.exit_code == -9
    told = run_cli(["report", "kept", "--json", "-"], tmp_path)
    assert json.loads(told.stdout)["incidents"] == []
