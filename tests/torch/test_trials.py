"""A script is tried again from its start with one change; without a change it comes to the same losses and fails alike."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forkserver import run_bare, run_cli

from stayfinite.frameworks.torch.clock import Clock
from stayfinite.records.diagnosis import Trial
from stayfinite.rewrite import trials as rewrite_trials
from stayfinite.rewrite.births.second_run import Program
from stayfinite.rewrite.confinement import confine
from stayfinite.rewrite.trials import TrialRequest, run_trial, told, trials

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


def test_a_second_training_counts_on_from_the_first(tmp_path: Path) -> None:
    """Its optimizer counts its own updates from 0; the trial knows how many the run has taken."""
    trial = trial_of("corrupt-optimizer-state", tmp_path)
    assert (trial.status, trial.step) == ("failed", 16), trial  # two epochs of eight, then the first after the resumption
    assert len(trial.losses) >= 16


def test_a_changed_source_is_tried_and_goes_on_learning(tmp_path: Path) -> None:
    trial = trial_of("log-of-zero", tmp_path, fixed=True)
    assert (trial.status, trial.steps) == ("finite", 15)
    losses = [float(loss) for loss in trial.losses]
    assert len(losses) == 15 and losses[-1] < 0.1 * losses[0]


def test_it_ends_after_as_many_updates_as_were_asked_for(tmp_path: Path) -> None:
    trial = trial_of("log-of-zero", tmp_path, fixed=True, steps=4)
    assert (trial.status, trial.steps, len(trial.losses)) == ("finite", 4, 4)


def test_what_it_writes_lies_beside_what_was_there(tmp_path: Path) -> None:
    for name in ("data/one.txt", "data/two.txt", "old/deep/three.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    script = _write(tmp_path, LOOP + """
import glob, pathlib, shutil
model(x).sum().backward()
optimizer.step()
def names(folder):
    entries = sorted(entry.name for entry in os.scandir(folder))
    assert entries == sorted(os.listdir(folder)) == sorted(path.name for path in pathlib.Path(folder).iterdir())
    return entries
open("data/cache.txt", "w").write("new")
assert names("data") == ["cache.txt", "one.txt", "two.txt"], names("data")
assert sorted(glob.glob("data/*.txt")) == ["data/cache.txt", "data/one.txt", "data/two.txt"]
with open("data/one.txt", "a") as file:
    file.write("+")
assert pathlib.Path("data/one.txt").read_text() == "data/one.txt+"
os.remove("data/two.txt")
assert names("data") == ["cache.txt", "one.txt"] and not os.path.exists("data/two.txt")
os.rename("data/one.txt", "data/four.txt")
assert names("data") == ["cache.txt", "four.txt"]
shutil.rmtree("old")
assert not os.path.exists("old/deep/three.txt") and "old" not in names(".")
os.makedirs("old/deep")
assert names("old/deep") == [] and [files for _, _, files in os.walk("old")] == [[], []]
try:
    open("nowhere/x", "w")
except FileNotFoundError:
    pass
else:
    raise AssertionError
""")
    trial = run_trial(TrialRequest(program(script, tmp_path), "x"))
    assert (trial.status, trial.note) == ("finite", "it came to its end")
    assert {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.txt")} == {
        name: name for name in ("data/one.txt", "data/two.txt", "old/deep/three.txt")
    }


def test_a_source_that_does_not_parse_is_not_run(tmp_path: Path) -> None:
    script = GALLERY / "log-of-zero" / "train.py"
    trial = run_trial(TrialRequest(program(script, tmp_path), "x", {str(script): "def f(:\n"}))
    assert trial.status == "broken" and "does not parse" in trial.note


def test_nothing_to_run_again_is_said_in_words(tmp_path: Path) -> None:
    trial = run_trial(TrialRequest(Program("", None, (), str(tmp_path), str(tmp_path)), "x"))
    assert trial.status == "not_run" and trial.note == "there is no script that could be run again"


def test_processes_that_wait_for_each_other_are_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    trial = trial_of("log-of-zero", tmp_path)
    assert (trial.status, trial.note) == ("not_run", "the script trains in several processes that wait for each other")


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


def bare_losses(argv: list[str], cwd: Path) -> list[float]:
    """What a script prints after ``loss``, run by the interpreter alone."""
    done = run_bare(argv, cwd)
    assert done.exit_code == 0, done.stderr
    return [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("loss")]


def test_workers_that_load_its_data_work_as_in_a_plain_run(tmp_path: Path) -> None:
    script = _write(tmp_path, LOOP + """
import numpy as np, random
from torch.utils.data import DataLoader, Dataset

class Noisy(Dataset):
    def __len__(self):
        return 24
    def __getitem__(self, index):
        return torch.randn(3) + index, np.float32(random.random())

if __name__ == "__main__":
    random.seed(1)
    loader = DataLoader(Noisy(), batch_size=4, num_workers=2, shuffle=True)
    for epoch in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            loss = (model(x)[:, 0] * 0.01 - y).pow(2).mean()
            loss.backward()
            optimizer.step()
            print("loss", loss.item())
""")
    trial = run_trial(TrialRequest(program(script, tmp_path), "x"))
    assert (trial.status, trial.steps) == ("finite", 12), trial
    assert [*trial.losses] == bare_losses([str(script)], tmp_path)


def test_a_module_with_arguments_finds_its_package_and_its_working_directory(tmp_path: Path) -> None:
    package = tmp_path / "job"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "data.py").write_text("""
import torch
def rows(path):
    return torch.tensor([float(x) for x in open(path).read().split()])
""")
    (package / "train.py").write_text("""
import argparse, os, torch
from .data import rows
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float)
rate = parser.parse_args().rate
assert __package__ == "job" and os.path.basename(__file__) == "train.py"
w = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=rate)
for step in range(5):
    optimizer.zero_grad()
    loss = ((w - rows("numbers.txt")) ** 2).mean()
    loss.backward()
    optimizer.step()
    print("loss", loss.item())
""")
    (tmp_path / "numbers.txt").write_text("1 2 3 4")
    ran = Program("job.train", "job.train", ("--rate", "0.25"), str(tmp_path), str(package))
    trial = run_trial(TrialRequest(ran, "x"))
    assert (trial.status, trial.steps) == ("finite", 5), trial
    assert [*trial.losses] == bare_losses(["-m", "job.train", "--rate", "0.25"], tmp_path)
    text = (package / "data.py").read_text().replace("split()", "split()[:2]")
    changed = run_trial(TrialRequest(ran, "x", {str(package / "data.py"): text}))
    assert changed.losses[0] == 2.5  # (1 + 4) / 2: a module that the script imports was changed, and the file was not
    assert "[:2]" not in (package / "data.py").read_text()


UNWRAPPED = LOOP + """
w = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.5)
def step(number):
    optimizer.zero_grad()
    loss = torch.log(w - 0.1 * number).sum()
    loss.backward()
    optimizer.step()
list(map(step, range(30)))
"""


def test_a_loop_that_is_not_wrapped_is_watched_and_can_be_left(tmp_path: Path) -> None:
    script = _write(tmp_path, UNWRAPPED)
    trial = run_trial(TrialRequest(program(script, tmp_path), "x"))
    assert (trial.status, trial.symptom) == ("failed", "nonfinite-loss")
    assert trial.losses[-1] in ("nan", "-inf") and len(trial.losses) == trial.step + 1 > 1
    short = run_trial(TrialRequest(program(script, tmp_path), "x", steps=1))
    assert (short.status, short.steps, short.losses) == ("finite", 1, trial.losses[:1])


SHORT = LOOP + """
for number in range(6):
    optimizer.zero_grad()
    loss = model(x).pow(2).mean()
    loss.backward()
    optimizer.step()
    THEN
"""


@pytest.mark.parametrize(
    ("then", "status", "note"),
    [
        ("number == 3 and sys.exit('enough')", "broken", "it ended with exit code 1"),
        ("if number == 3: raise KeyError('y')", "broken", "it was ended by KeyError: 'y' (train.py:13)"),
        ("if number == 3: break", "finite", "it came to its end"),
        ("import subprocess; subprocess.run(['true'])", "not_run", "it starts another program, which a trial must not do"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "broken", "network"),
        ("os.rename(os.getcwd(), '../elsewhere')", "not_run", "it moves or changes the folder"),
        ("import platform; platform.processor()", "finite", "it came to its end"),
        ("import sqlite3; sqlite3.connect('runs.db')", "not_run", "it opens the database 'runs.db', which a trial must not do"),
        ("if number == 3: raise torch.OutOfMemoryError('no')", "not_run", "not enough memory for it beside the run that is held"),
        ("number == 3 and os.kill(os.getpid(), 9)", "broken", "its process was ended by SIGKILL"),
        ("import time; number == 3 and time.sleep(60)", "ended", "the 2 s were over after 4 updates"),
        ("try: raise SystemExit\n    except BaseException: pass", "finite", "it came to its end"),
    ],
)
def test_how_it_ended_is_said_in_words(then: str, status: str, note: str, tmp_path: Path) -> None:
    script = _write(tmp_path, SHORT.replace("THEN", then))
    trial = run_trial(TrialRequest(program(script, tmp_path), "x", seconds=2.0))
    assert trial.status == status and note in trial.note, trial
    assert os.listdir(tmp_path) == ["train.py"]
    assert all(isinstance(loss, float) for loss in trial.losses) and len(trial.losses) >= 1


def test_a_handler_of_the_users_does_not_swallow_the_failure(tmp_path: Path) -> None:
    script = _write(tmp_path, LOOP + """
while True:
    try:
        for number in range(6):
            optimizer.zero_grad()
            loss = model(x).pow(2).mean() / (3 - number)
            loss.backward()
            optimizer.step()
    except BaseException:
        pass
""")
    trial = run_trial(TrialRequest(program(script, tmp_path), "x", seconds=20.0))
    assert (trial.status, trial.symptom, trial.step, trial.losses[-1]) == ("failed", "nonfinite-loss", 3, "+inf")


def test_a_script_that_trains_in_other_processes_cannot_be_judged(tmp_path: Path) -> None:
    script = _write(tmp_path, """
import multiprocessing
def train():
    import torch
    w = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)
    for _ in range(3):
        w.sum().backward()
        optimizer.step()
if __name__ == "__main__":
    worker = multiprocessing.Process(target=train)
    worker.start()
    worker.join()
    assert worker.exitcode == 0
""")
    trial = run_trial(TrialRequest(program(script, tmp_path), "x"))
    assert (trial.status, trial.note) == ("not_run", "no update was seen: it came to its end")


def test_it_passes_where_it_had_failed(tmp_path: Path) -> None:
    script = _write(tmp_path, SHORT.replace("THEN", "pass"))
    assert run_trial(TrialRequest(program(script, tmp_path), "x", failed_at=5)).status == "finite"
    assert run_trial(TrialRequest(program(script, tmp_path), "x", failed_at=6)).status == "ended"


@pytest.mark.slow
def test_without_a_server_it_begins_in_an_interpreter_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = _write(tmp_path, SHORT.replace("THEN", "pass"))
    by_server = run_trial(TrialRequest(program(script, tmp_path), "x"))
    monkeypatch.setattr(rewrite_trials, "_server", lambda _program: (_ for _ in ()).throw(OSError("no")))
    fresh = run_trial(TrialRequest(program(script, tmp_path), "x"))
    assert (fresh.status, fresh.steps, fresh.losses) == ("finite", 6, by_server.losses), fresh


def test_a_long_run_is_thinned_evenly_and_keeps_its_end() -> None:
    request = TrialRequest(Program("x.py", None, (), "", ""), "x")
    journal = "".join(f"{step} {1.0 / (step + 1)}\n" for step in range(4501)) + '{"how": "end", "steps": 4501}\n'
    trial = told(request, journal)
    assert trial.stride == 3 and len(trial.losses) == 1501 and trial.losses[1] == 0.25
    assert trial.losses[-1] == 1.0 / 4501


@pytest.mark.slow
def test_finite_symptoms_end_it_where_they_are_what_failed(tmp_path: Path) -> None:
    trial = trial_of("silent-filters", tmp_path, watch_for="dead-gradient")
    assert (trial.status, trial.symptom) == ("failed", "dead-gradient")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux confines a process")
def test_what_compiled_code_writes_is_kept_from_the_users_files(tmp_path: Path) -> None:
    then = "import ctypes; assert ctypes.CDLL(None).fopen(b'precious.txt', b'w') == 0; open('other', 'w').close()"
    script = _write(tmp_path, SHORT.replace("THEN", then))
    (tmp_path / "precious.txt").write_text("kept")
    if not _can_confine():
        pytest.skip("this system does not know how to confine a process")
    trial = run_trial(TrialRequest(program(script, tmp_path), "x"))
    assert (trial.status, trial.note) == ("finite", "it came to its end")
    assert (tmp_path / "precious.txt").read_text() == "kept"


def _can_confine() -> bool:
    child = os.fork()
    if not child:
        os._exit(not confine([]))
    return os.waitpid(child, 0)[1] == 0


COMPARE = """
import sys
from stayfinite.cli import runner
from stayfinite.frameworks.torch.incidents import Incidents
from stayfinite.frameworks.torch.options import Options
from stayfinite.rewrite.trials import TrialRequest, run_trial

def conclude(self, incident, failure, *rest, conclude=Incidents._conclude):
    trial = run_trial(TrialRequest(self._options.program, ""))
    window = next(one for one in incident.case.windows if one.series == "loss")
    print("equal" if trial.losses == window.values and len(window.values) == 13 else (trial, window.values))
    return conclude(self, incident, failure, *rest)

Incidents._conclude = conclude
target = runner.Target("train.py", None, ())
sys.exit(runner.run(target, Options(budget=0.0), folder=None, json_file=None, rewrite=True, color=False, quiet=True))
"""


def test_a_script_that_seeds_nothing_draws_the_same_again(tmp_path: Path) -> None:
    _write(tmp_path, """
import os, random
os.environ["HOW_OFTEN"] = os.environ.get("HOW_OFTEN", "") + "x"
import numpy as np, torch
w = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.01)
for step in range(20):
    optimizer.zero_grad()
    drawn = random.gauss(0, 1) + np.random.rand() + np.random.randn() + torch.rand(1).item()
    loss = (w * (drawn + len(os.environ["HOW_OFTEN"]))).sum() / (1.0 if step < 12 else 0.0)
    loss.backward()
    optimizer.step()
""")
    (tmp_path / "compare.py").write_text(COMPARE)
    losses = {run_bare(["compare.py"], tmp_path, fresh=True).stdout for _ in range(2)}
    assert losses == {"equal\n"}


def test_the_time_that_a_survey_takes_is_none_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that diverges first and overflows later is tried both times, however long the first look took."""
    wall, work = [100.0], [0.0]
    monkeypatch.setattr("stayfinite.frameworks.torch.clock.time.monotonic", lambda: wall[0])
    monkeypatch.setattr("stayfinite.frameworks.torch.clock.time.process_time", lambda: work[0])
    clock = Clock()

    def passes(seconds: float, worked: float) -> None:
        wall[0] += seconds
        work[0] += worked

    passes(5.0, 6.0)  # two threads
    with clock.paused():
        passes(20.0, 30.0)
        assert clock.ran == 5.0
        with clock.paused():
            passes(5.0, 5.0)
    assert clock.ran == 5.0
    passes(40.0, 1.0)  # it waits for a disk: that is not what it takes when it is run again
    assert clock.ran == 7.0
