"""`watch()` in a notebook: loops in the cells behind it are wrapped as those of a script are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forkserver import Completed, run_bare

pytest.importorskip("IPython")

DRIVER = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="nocolor")
shell.run_line_magic("xmode", "Plain")
for cell in json.load(open("cells.json")):
    shell.run_cell(cell, store_history=True)
"""
WATCH = "import stayfinite\nguard = stayfinite.watch(quiet=True)"
MODEL = """
import torch
torch.manual_seed(0)
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.out, self.calls = torch.nn.Linear(4, 1), 0
    def forward(self, x):
        self.calls += 1
        return self.out(x)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
bad, losses = 7, []
"""
LOSS = """
def loss_of(x, i):
    level = torch.log(x.abs().sum(1) * (i != bad))
    return (level + net(x)[:, 0]).square().mean()
"""
LOOP = """
for i in range(12):
    x = torch.randn(8, 4)
    loss = loss_of(x, i)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
"""
DIGEST = """
import hashlib
print(len(losses), net.calls, hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
"""
REPORT = """
from stayfinite.reporters.json import to_bytes
print(guard.close().incidents[0].origin.excerpt.lines[0])
open("report.json", "wb").write(to_bytes(guard.report))
"""


def notebook(folder: Path, *cells: str) -> Completed:
    (folder / "driver.py").write_text(DRIVER, encoding="utf-8")
    (folder / "cells.json").write_text(json.dumps(cells), encoding="utf-8")
    return run_bare(["driver.py"], folder, {"STAYFINITE_STRICT": "1", "IPYTHONDIR": str(folder / "ipython")})


def test_the_cell_and_the_line(tmp_path: Path) -> None:
    done = notebook(tmp_path, WATCH, MODEL, LOSS, LOOP, DIGEST, REPORT)
    assert done.exit_code == 0, done.stderr
    assert "TrainingHalted: step 7: nonfinite loss (+inf), born in log at In [3]:2" in done.stdout
    (incident,) = json.loads((tmp_path / "report.json").read_bytes())["incidents"]
    origin: dict[str, Any] = incident["origin"]
    assert (incident["held"], incident["reproduced"], incident["causes"][0]["cause"]) == (True, True, "log-of-zero")
    assert (origin["file"], origin["line"], origin["function"]) == ("In [3]", 2, "loss_of")
    assert "def loss_of(x, i):" in done.stdout  # the excerpt has the lines around it
    assert done.stdout.count("7 8 ") == 1  # seven losses, and the eighth call's own count put back after each replay


def test_a_healthy_notebook_is_as_it_would_be(tmp_path: Path) -> None:
    cells = [MODEL.replace("bad, ", "bad = 99\n").replace("losses = 7, []", "losses = []"), LOSS, LOOP, LOOP, DIGEST]
    (tmp_path / "bare").mkdir()
    (tmp_path / "watched").mkdir()
    bare, watched = notebook(tmp_path / "bare", *cells), notebook(tmp_path / "watched", WATCH, *cells)
    assert (watched.exit_code, watched.stdout) == (bare.exit_code, bare.stdout)
    assert "24 24 " in bare.stdout
    assert not (tmp_path / "watched" / "stayfinite-reports").exists()


def test_functions_of_cells_before_the_watch_are_known(tmp_path: Path) -> None:
    step = "def train_step(x, i):\n    loss = loss_of(x, i)\n    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()\n"
    loop = "for i in range(12):\n    train_step(torch.randn(8, 4), i)\n"
    done = notebook(tmp_path, MODEL, LOSS, step, WATCH, loop, DIGEST, REPORT)
    assert done.exit_code == 0, done.stderr
    (incident,) = json.loads((tmp_path / "report.json").read_bytes())["incidents"]
    assert (incident["step"], incident["reproduced"], incident["origin"]["function"]) == (7, True, "loss_of")


def test_cells_run_as_they_are_once_the_watch_has_ended(tmp_path: Path) -> None:
    done = notebook(tmp_path, WATCH, MODEL, LOSS, "_ = guard.close()", LOOP, DIGEST)
    assert done.exit_code == 0, done.stderr
    assert "12 12 " in done.stdout


def test_a_notebook_cannot_be_replayed_and_that_is_said(tmp_path: Path) -> None:
    from forkserver import run_cli

    done = notebook(tmp_path, WATCH, MODEL, LOSS, LOOP, "_ = guard.close()")
    assert done.exit_code == 0, done.stderr
    (folder,) = (tmp_path / "stayfinite-reports").iterdir()
    assert folder.name.endswith("-notebook")
    again = run_cli(["replay", str(folder)], tmp_path)
    assert again.exit_code == 2
    assert "ran in a notebook" in again.stderr
