"""A script is tried again from its start with one change; without a change it comes to the same losses and fails alike."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forkserver import run_cli

from stayfinite.records.diagnosis import Trial
from stayfinite.rewrite.births.second_run import Program
from stayfinite.rewrite.trials import TrialRequest, run_trial, trials

GALLERY = Path(__file__).resolve().parents[2] / "gallery"


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with trials():
        yield


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `forkserver` runs the script itself: sums are grouped by thread."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    monkeypatch.setenv("PYTHONPATH", str(GALLERY.parent / "src"))


def program(script: Path, cwd: Path, *argv: str) -> Program:
    return Program(str(script), None, argv, str(cwd), str(script.resolve().parent))


def trial_of(case: str, cwd: Path, *, fixed: bool = False, steps: int = 0, watch_for: str = "") -> Trial:
    script = GALLERY / case / "train.py"
    sources = {str(script): (GALLERY / case / "train_fixed.py").read_text()} if fixed else {}
    request = TrialRequest(program(script, cwd), "the fixed script" if fixed else "", sources, steps=steps, watch_for=watch_for)
    return run_trial(request)


@pytest.mark.parametrize("case", ["log-of-zero", "division-by-zero", "guard-assert", "exploding-gradient", "two-optimizers"])
def test_without_a_change_it_comes_to_the_same_losses_and_fails_alike(case: str, tmp_path: Path) -> None:
    done = run_cli(["run", "--report", "out", str(GALLERY / case / "train.py")], tmp_path)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    incident = report["incidents"][0]
    trial = trial_of(case, tmp_path)
    assert trial.status == "failed", (trial, done.stderr)
    assert (trial.symptom, trial.step) == (incident["symptom"], incident["step"])
    real: dict[int, Any] = {}
    for window in (w for w in incident["windows"] if w["series"].startswith("loss")):
        for step, value in zip(window["steps"], window["values"], strict=True):
            real.setdefault(step, value)  # the first of each step
    if incident["series"].startswith("loss"):
        real[incident["step"]] = incident["value"]
    assert len(trial.losses) == len(real) and len(real) > 1
    assert dict(enumerate(trial.losses)) == real


def test_a_changed_source_is_tried_and_goes_on_learning(tmp_path: Path) -> None:
    trial = trial_of("log-of-zero", tmp_path, fixed=True)
    assert (trial.status, trial.steps) == ("finite", 15)
    losses = [float(loss) for loss in trial.losses]
    assert len(losses) == 15 and losses[-1] < 0.1 * losses[0]


def test_it_ends_after_as_many_updates_as_were_asked_for(tmp_path: Path) -> None:
    trial = trial_of("log-of-zero", tmp_path, fixed=True, steps=4)
    assert (trial.status, trial.steps, len(trial.losses)) == ("finite", 4, 4)


def test_a_source_that_does_not_parse_is_not_run(tmp_path: Path) -> None:
    script = GALLERY / "log-of-zero" / "train.py"
    trial = run_trial(TrialRequest(program(script, tmp_path), "x", {str(script): "def f(:\n"}))
    assert trial.status == "broken" and "does not parse" in trial.note


def test_nothing_to_run_again_is_said_in_words(tmp_path: Path) -> None:
    trial = run_trial(TrialRequest(Program("", None, (), str(tmp_path), str(tmp_path)), "x"))
    assert trial.status == "not_run" and trial.note == "there is no script that could be run again"


def _write(folder: Path, text: str) -> Path:
    script = folder / "train.py"
    script.write_text(text)
    return script


LOOP = """
import os, sys, torch
torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(8, 3)
"""


def test_what_it_writes_it_finds_again_and_nobody_else_does(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"of the real run")
    script = _write(tmp_path, LOOP + """
os.makedirs("out/best")
with open("out/best/log.txt", "w") as log:
    for step in range(4):
        loss = model(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        print(step, file=log)
torch.save(model.state_dict(), "last.pt")
os.replace("last.pt", "out/best/model.pt")
assert not os.path.exists("last.pt") and os.path.isdir("out/best")
assert sorted(os.listdir("out/best")) == ["log.txt", "model.pt"]
model.load_state_dict(torch.load("out/best/model.pt"))
assert open("out/best/log.txt").read().split() == ["0", "1", "2", "3"]
open("other.txt", "a").close()
os.remove("train.py")
""")
    trial = run_trial(TrialRequest(program(script, tmp_path), "x"))
    assert (trial.status, trial.note) == ("finite", "it came to its end")
    assert sorted(os.listdir(tmp_path)) == ["last.pt", "train.py"]
    assert (tmp_path / "last.pt").read_bytes() == b"of the real run"
