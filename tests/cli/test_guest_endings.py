"""How a watched run ends: by Ctrl-C, with nowhere to write, and with each option about what is told where."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from forkserver import Completed, environment, run_bare, run_cli
from sameness import FAILING, TRAIN, write_job

# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import itertools, os, signal, sys
import torch
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
ticks = itertools.count()  # counts repetitions too: nothing of Python's own can put it back

class Tick(torch.nn.Module):
    def forward(self, x):
        if torch.isnan(x).any() and ticks.__next__() == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGINT)
        return x

net = torch.nn.Sequential(Tick(), model)

def digest():
    return [p.detach().numpy().tobytes().hex() for p in model.parameters()]

def train():
    for step in range(6):
        x = torch.randn(8, 4)
        if step == 3:
            x[0] = float("nan")
        optimizer.zero_grad()
        loss = net(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        print(step, digest(), flush=True)

"""


@pytest.mark.parametrize("repetition", ["0", "1", "2", "3"])
def test_ctrl_c_during_a_repetition(repetition: str, tmp_path: Path) -> None:
    """Repetition 0 is the step itself, 1 and 2 are controls, 3 is traced."""
    write_job(tmp_path, {"train.py": INTERRUPTED + "train()\n"})
    watched = run_cli(["run", "train.py", repetition], tmp_path, {"STAYFINITE_STRICT": "1"})
    bare = run_bare(["train.py", "0"], tmp_path)
    assert watched.exit_code == bare.exit_code == -2
    assert watched.stdout == bare.stdout
    assert watched.stderr.startswith("Traceback (most recent call last):\n  File ")
    assert watched.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert os.sep + "stayfinite" + os.sep not in watched.stderr


@pytest.mark.parametrize("repetition", ["0", "1", "2", "3"])
def test_ctrl_c_that_the_script_catches_finds_the_last_good_weights(repetition: str, tmp_path: Path) -> None:
    ending = "try:\n    train()\nexcept KeyboardInterrupt:\n    print('saved', digest())\n"
    write_job(tmp_path, {"train.py": INTERRUPTED + ending})
    watched = run_cli(["run", "train.py", repetition], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert watched.exit_code == 0
    lines = watched.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "saved"]
    assert lines[-1].split(maxsplit=1)[1] == lines[-2].split(maxsplit=1)[1]


# ---- where the report goes -------------------------------------------------------------------------------------------


def _told(done: Completed) -> None:
    assert done.exit_code == 3
    assert "step 4: the loss became nan" in done.stderr
    assert "train.py:15:9" in done.stderr


def test_a_file_where_the_reports_should_go(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": FAILING, "stayfinite-reports": "mine"})
    done = run_cli(["run", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    _told(done)
    assert "could not be written" in done.stderr.splitlines()[-1]
    assert (tmp_path / "stayfinite-reports").read_text() == "mine"


def test_a_file_where_the_named_report_should_go(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": FAILING, "mine": "kept"})
    done = run_cli(["run", "--report", "mine", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    _told(done)
    assert "could not be written" in done.stderr.splitlines()[-1]
    assert (tmp_path / "mine").read_text() == "kept"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": FAILING})
    head: list[str] = []
    if os.geteuid() == 0:  # root may write anywhere, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root cannot be kept from writing without setpriv")
        dropped = "-dac_override,-dac_read_search"
        head = ["setpriv", "--bounding-set", dropped, "--inh-caps", dropped]
    tmp_path.chmod(0o555)
    try:
        command = [*head, sys.executable, "-m", "stayfinite", "run", "train.py"]
        env = environment({"STAYFINITE_STRICT": "1"})
        ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    finally:
        tmp_path.chmod(0o755)
    _told(Completed(ran.returncode, ran.stdout, ran.stderr))
    assert "could not be written" in ran.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Files may not grow beyond 3000 bytes from the middle of the run on."""
    limit = "import resource, torch._dynamo\nresource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
    write_job(tmp_path, {"train.py": FAILING.replace("BAD = 4\n", "BAD = 4; " + limit.replace("\n", "; ") + "\n")})
    command = [sys.executable, "-m", "stayfinite", "run", "train.py"]
    env = environment({"STAYFINITE_STRICT": "1"})
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    _told(Completed(ran.returncode, ran.stdout, ran.stderr))
    assert "could not be written" in ran.stderr.splitlines()[-1]
    (events,) = tmp_path.rglob("events.jsonl")
    assert all(json.loads(line) for line in events.read_bytes().splitlines())


def test_json_goes_where_it_was_asked_for_though_the_script_goes_elsewhere(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": "import os\nos.mkdir('out')\nos.chdir('out')\n" + FAILING.lstrip()})
    done = run_cli(["run", "--quiet", "--json", "out.json", "--report", "made", "train.py"], tmp_path)
    assert (done.exit_code, done.stderr) == (3, "")
    report = (tmp_path / "made" / "report.json").read_bytes()
    assert json.loads((tmp_path / "out.json").read_bytes()) == json.loads(report)


@pytest.mark.parametrize("place", ["no/such/folder/x.json", "/dev/full"])
def test_json_that_cannot_be_written_is_one_line(place: str, tmp_path: Path) -> None:
    if place.startswith("/dev") and not os.path.exists(place):
        pytest.skip("there is no /dev/full")
    write_job(tmp_path, {"train.py": "print('done')"})
    done = run_cli(["run", "--json", place, "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert (done.exit_code, done.stdout) == (0, "done\n")
    assert len(done.stderr.splitlines()) == 1
    assert place in done.stderr


def test_json_to_standard_output_is_refused(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": "print('done')"})
    done = run_cli(["run", "--json", "-", "train.py"], tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--json -" in done.stderr


def test_a_named_report_makes_room_and_keeps_what_is_not_ours(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": FAILING, "made/notes.txt": "keep"})
    for _ in range(2):
        assert run_cli(["run", "--quiet", "--report", "made", "train.py"], tmp_path).exit_code == 3
    names = sorted(path.name for path in (tmp_path / "made").iterdir())
    assert {"earlier-1", "events.jsonl", "notes.txt", "report.json"} <= set(names)
    assert (tmp_path / "made" / "notes.txt").read_text() == "keep"


def test_quiet_says_nothing_and_still_writes(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": FAILING})
    done = run_cli(["run", "--quiet", "train.py"], tmp_path)
    assert (done.exit_code, done.stderr) == (3, "")
    assert len(list(tmp_path.rglob("report.json"))) == 1


@pytest.mark.parametrize("options", [[], ["--no-color"]], ids=["piped", "no-color"])
def test_no_colour_where_nobody_sees_it(options: list[str], tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": FAILING})
    done = run_cli(["run", *options, "train.py"], tmp_path)
    _told(done)
    assert "\x1b" not in done.stderr


def test_without_rewriting_the_step_is_held_and_not_replayed(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": FAILING})
    done = run_cli(["run", "--no-rewrite", "--json", "out.json", "--quiet", "train.py"], tmp_path)
    assert (done.exit_code, done.stdout) == (3, "0\n1\n2\n3\n")
    incident = json.loads((tmp_path / "out.json").read_bytes())["incidents"][0]
    assert (incident["step"], incident["held"], incident["reproduced"]) == (4, True, False)


def test_a_report_folder_is_made_only_for_an_incident(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": TRAIN})
    assert run_cli(["run", "train.py"], tmp_path).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
