"""The guest's contract: a watched run is the same run, and a failure of ours is one line, never the end of a training.

Failures are put in by a script that replaces one function of ours and then runs the command line as usual.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from breaking import BROKEN, run_broken, switched_off
from forkserver import Completed, run_bare, run_cli
from sameness import FAILING, TRAIN, both, write_job


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Completed:
    folder = tmp_path_factory.mktemp("bare")
    write_job(folder, {"train.py": TRAIN})
    return run_bare(["train.py"], folder)


# ---- healthy runs ----------------------------------------------------------------------------------------------------


def test_a_healthy_run_has_the_same_bits(tmp_path: Path) -> None:
    bare, watched = both(tmp_path, {"train.py": TRAIN}, ["train.py"])
    assert watched == bare
    assert len(bare.stdout.splitlines()[-1]) == 64


@pytest.mark.parametrize(
    "options", [["--no-rewrite"], ["--every", "1"], ["--quiet", "--no-color", "--no-case"]], ids=" ".join
)
def test_options_change_nothing_about_it(options: list[str], tmp_path: Path) -> None:
    bare, watched = both(tmp_path, {"train.py": TRAIN}, ["train.py"], options=options)
    assert watched == bare


@pytest.mark.slow
def test_a_healthy_run_in_an_interpreter_of_its_own(tmp_path: Path) -> None:
    """`torch` is imported by the script here: the session joins in the middle of its imports."""
    lookup = "import importlib.util\nassert importlib.util.find_spec('torch') is not None\n"
    watched_by = "'stayfinite.frameworks.torch.session' in sys.modules"
    late = lookup + TRAIN.lstrip() + f"import sys\nprint({watched_by}, file=sys.stderr)\n"
    bare, watched = both(tmp_path, {"train.py": late}, ["train.py"], fresh=True)
    assert watched.stdout == bare.stdout
    assert (bare.stderr, watched.stderr) == ("False\n", "True\n")


EXCEPTIONS = {
    "shape": "        loss = model(x[:, :3]).sum()\n",
    "key": "        {}['a']\n",
    "own": "        raise RuntimeError('mine')\n",
    "device": "        x.to('no-such-device')\n",
}


@pytest.mark.parametrize("name", sorted(EXCEPTIONS))
def test_the_same_exceptions(name: str, tmp_path: Path) -> None:
    raising = f"    if step == 4:\n{EXCEPTIONS[name]}    optimizer.zero_grad()\n"
    source = TRAIN.replace("    optimizer.zero_grad()\n", raising)
    bare, watched = both(tmp_path, {"train.py": source}, ["train.py"])
    assert watched == bare
    assert bare.exit_code == 1


def test_an_exception_of_the_step_keeps_its_traceback(tmp_path: Path) -> None:
    """Caught, printed by the script and raised again: the report comes beside it."""
    source = """
import torch, traceback
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def loss_of(p):
    return torch.nn.functional.binary_cross_entropy(p, torch.ones_like(p))
try:
    for step in range(3):
        loss = loss_of(model(torch.full((4, 2), 1000.0 * step)))
        loss.backward()
        optimizer.step()
except RuntimeError:
    print(traceback.format_exc())
    raise
"""
    bare, watched = both(tmp_path, {"train.py": source}, ["train.py"])
    assert (watched.exit_code, watched.stdout) == (bare.exit_code, bare.stdout)
    assert bare.stderr in watched.stderr
    assert "numeric-exception" in (json.loads(watched.files[_report(watched.files)])["incidents"][0]["symptom"])


def _report(files: dict[str, bytes]) -> str:
    found = [name for name in files if name.endswith("report.json")]
    assert len(found) == 1
    return found[0]


def test_an_index_error_of_a_plain_list_is_the_scripts_own_business(tmp_path: Path) -> None:
    source = TRAIN.replace("    optimizer.zero_grad()\n", "    [1, 2, 3][step]\n    optimizer.zero_grad()\n")
    bare, watched = both(tmp_path, {"train.py": source}, ["train.py"])
    assert watched == bare


# ---- hooks that break ------------------------------------------------------------------------------------------------

TORCH = "frameworks.torch."
SENSORS = [
    TORCH + "hold:norm", TORCH + "hold:bare_gradients", TORCH + "hold:rates",
    TORCH + "live:Live.before_backward", TORCH + "live:Live.after_backward", TORCH + "live:Live.before_step",
    TORCH + "live:Live.after_step", TORCH + "live:Live.before_clip", TORCH + "live:Live.after_clip",
    TORCH + "live:Live.after_zero_grad", TORCH + "live:Live.optimizer_made",
    TORCH + "session:Session.__init__", TORCH + "session:Session.install", TORCH + "session:Session.close",
    TORCH + "session:Session._open", TORCH + "session:open_window", TORCH + "session:Plan", TORCH + "session:Saved",
    TORCH + "session:generator_states", TORCH + "pass_end:PassEnd.judge", TORCH + "sensors:Sensors.attach",
    TORCH + "sensors:Sensors.detach", "rewrite.loader:transform", "rewrite.loader:Analysis", "children:family_of",
]


SHARED = {TORCH + "hold:norm": 3}
"""How many sensors use what breaks, where it is not one: when a pass begins, when an update is asked for, at the end."""


@pytest.mark.parametrize("place", SENSORS)
def test_a_hook_that_breaks_is_switched_off_in_one_line(place: str, tmp_path: Path, healthy: Completed) -> None:
    watched = run_broken(tmp_path, place, TRAIN)
    assert (watched.exit_code, watched.stdout) == (0, healthy.stdout)
    lines = watched.stderr.splitlines()
    assert switched_off(watched.stderr) == lines
    assert len(lines) == len(set(lines)) == SHARED.get(place, 1)
    assert "broken on purpose" in watched.stderr


@pytest.mark.parametrize(
    "place", ["watching:Recorder.close", "reporters.report:build_report", "children:Children.gather"]
)
def test_an_ending_that_breaks_is_one_line(place: str, tmp_path: Path, healthy: Completed) -> None:
    watched = run_broken(tmp_path, place, TRAIN)
    assert (watched.exit_code, watched.stdout) == (0, healthy.stdout)
    assert len(watched.stderr.splitlines()) == 1
    assert "broken on purpose" in watched.stderr


def test_the_end_of_a_pass_may_break_too(tmp_path: Path, healthy: Completed) -> None:
    watched = run_broken(tmp_path, TORCH + "session:Session._close_pass", TRAIN)
    assert (watched.exit_code, watched.stdout) == (0, healthy.stdout)
    assert switched_off(watched.stderr) == watched.stderr.splitlines()
    assert len(watched.stderr.splitlines()) == 1


def test_strict_raises_what_a_hook_raises(tmp_path: Path) -> None:
    watched = run_broken(tmp_path, TORCH + "hold:norm", TRAIN, {"STAYFINITE_STRICT": "1"})
    assert watched.exit_code == 1
    assert watched.stderr.endswith("RuntimeError: broken on purpose\n")


def test_what_broke_stands_in_the_report(tmp_path: Path) -> None:
    argv = ["run", "--report", "made", "train.py"]
    broken = BROKEN.format(place=TORCH + "live:Live.before_clip", argv=argv)
    write_job(tmp_path, {"train.py": TRAIN, "broken.py": broken})
    assert run_bare(["broken.py"], tmp_path).exit_code == 0
    report = json.loads((tmp_path / "made" / "report.json").read_bytes())
    assert [warning["id"] for warning in report["warnings"]] == ["sensor-off"]
    assert "broken on purpose" in report["warnings"][0]["message"]


def test_the_rest_still_holds_the_bad_step(tmp_path: Path) -> None:
    """Without the sensor of clipping, the gradients themselves are looked at."""
    watched = run_broken(tmp_path, TORCH + "live:Live.before_clip", FAILING)
    assert watched.exit_code == 3
    assert len(switched_off(watched.stderr)) == 1
    assert "step 4" in watched.stderr


def test_a_terminal_report_that_breaks_stops_all_the_same(tmp_path: Path) -> None:
    watched = run_broken(tmp_path, "reporters.terminal:render", FAILING)
    assert watched.exit_code == 3
    assert watched.stdout == "0\n1\n2\n3\n"
    assert switched_off(watched.stderr) == watched.stderr.splitlines()


# ---- what is left behind ---------------------------------------------------------------------------------------------

DETACHED = """
import sys
sys.argv = ["x"]
import torch, multiprocessing.spawn, subprocess
optimizers = sys.modules["torch.optim.optimizer"]
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # torch itself wraps `step` of a class on its first use

def functions():
    found = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith(("torch", "multiprocessing", "subprocess", "signal", "builtins", "logging")):
            continue
        for key, value in list(vars(module).items()):
            if callable(value):
                found[name, key] = value
            if issubclass(type(value), type) and value.__module__ == name:
                found.update({(name, key, k): v for k, v in list(vars(value).items()) if callable(v)})
    return found

from stayfinite.cli import main
import stayfinite.frameworks.torch.session
before = functions()

def hooks():
    return dict(optimizers._global_optimizer_pre_hooks), dict(optimizers._global_optimizer_post_hooks)

hooked = hooks()
tracing = sys.gettrace(), sys.getprofile(), sys.excepthook, sys.displayhook
code = main(["run", "--quiet", "train.py"])
after = functions()
changed = sorted(key for key, value in before.items() if after.get(key) is not value)
print("changed", changed)
print(hooks() == hooked)
print((sys.gettrace(), sys.getprofile(), sys.excepthook, sys.displayhook) == tracing, code)
"""


@pytest.mark.parametrize("train", [TRAIN, FAILING], ids=["healthy", "failing"])
def test_detaching_leaves_everything_as_it_was(train: str, tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": train, "wrapper.py": DETACHED})
    done = run_bare(["wrapper.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert done.exit_code == 0, done.stderr
    expected = ["changed []", "True", f"True {0 if train is TRAIN else 3}"]
    assert done.stdout.splitlines()[-3:] == expected


def test_a_child_that_falls_through_leaves_the_telling_to_its_parent(tmp_path: Path) -> None:
    fork = "import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\n"
    source = fork + "print('parent' if pid else 'child', flush=True)\n"
    write_job(tmp_path, {"train.py": source})
    done = run_cli(["run", "--json", "out.json", "--report", "made", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert (done.exit_code, done.stdout, done.stderr) == (0, "child\nparent\n", "")
    assert json.loads((tmp_path / "out.json").read_bytes())["run"]["exit_code"] == 0


def test_training_in_a_thread_that_outlives_the_script_is_watched(tmp_path: Path) -> None:
    body = FAILING.replace("\nfor step", "\ndef train():\n  for step").replace("\n    ", "\n      ")
    body = body[: body.index("digest =")] + "import threading\nthreading.Thread(target=train).start()\n"
    write_job(tmp_path, {"train.py": body})
    done = run_cli(["run", "--json", "out.json", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert done.exit_code == 3, done.stderr
    report = json.loads((tmp_path / "out.json").read_bytes())
    assert report["incidents"][0]["step"] == 4
