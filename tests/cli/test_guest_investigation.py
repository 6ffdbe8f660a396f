"""An investigation of ours that breaks: the step is undone all the same, the incident is told, and the reasons are true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from breaking import run_broken, switched_off
from forkserver import Completed, run_cli
from sameness import FAILING, write_job

TORCH = "frameworks.torch."
BEGINNING = [TORCH + "session:Inquiry", TORCH + "inquiry:Inquiry.__init__", TORCH + "inquiry:rewind",
             TORCH + "inquiry:Inquiry._arrive", TORCH + "incidents:Incidents._case", "engine.investigate:_summarise"]
REPEATING = [TORCH + "inquiry:Repeat", TORCH + "inquiry:Inquiry._to_start", TORCH + "repeat:Repeat.outcome",
             TORCH + "inquiry:quiet", TORCH + "repeat:Repeat.before_backward"]
TRACING = [TORCH + "tracing.tracer:Tracer.__init__", TORCH + "tracing.tracer:Tracer.__enter__", TORCH + "tracing.tracer:Tracer.__exit__",
           TORCH + "tracing.tracer:Tracer.finish", TORCH + "tracing.tracer:assemble"]
DESCRIBING = [TORCH + "describe:parameters", TORCH + "describe:batch", TORCH + "describe:configuration"]
EXPLAINING = ["engine.localize:localize", "engine.rank:rank"]
PLACES = [*BEGINNING, *REPEATING, *TRACING, *DESCRIBING, *EXPLAINING]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Completed]:
    """The same run with nothing broken, stopping and skipping."""
    folder = tmp_path_factory.mktemp("whole")
    write_job(folder, {"train.py": FAILING})
    return {mode: run_cli(["run", "--on-incident", mode, "--quiet", "train.py"], folder) for mode in ("stop", "skip")}


def _told(folder: Path) -> dict[str, Any]:
    (incident,) = json.loads((folder / "out.json").read_bytes())["incidents"]
    return dict(incident)


@pytest.mark.parametrize("mode", ["stop", "skip"])
@pytest.mark.parametrize("place", PLACES)
def test_the_step_is_undone_and_told(place: str, mode: str, whole: dict[str, Completed], tmp_path: Path) -> None:
    options = ["--on-incident", mode, "--json", "out.json"]
    done = run_broken(tmp_path, place, FAILING, options=options)
    assert (done.exit_code, done.stdout) == (whole[mode].exit_code, whole[mode].stdout)
    assert len(switched_off(done.stderr)) == 1, done.stderr
    incident = _told(tmp_path)
    assert (incident["step"], incident["held"], incident["stopped"]) == (4, True, mode == "stop")
    assert "nonfinite-loss" in json.dumps(incident)
    assert "step 4" in done.stderr
    assert "could be wrapped" not in done.stderr


@pytest.mark.parametrize("place", [*BEGINNING, *REPEATING])
def test_where_nothing_was_repeated_nothing_is_said_about_repetitions(place: str, tmp_path: Path) -> None:
    run_broken(tmp_path, place, FAILING, options=["--json", "out.json"])
    incident = _told(tmp_path)
    assert not incident["reproduced"]
    assert "transient-fault" not in json.dumps(incident)
    assert " broke" in json.dumps(incident["replay"])


@pytest.mark.parametrize("place", TRACING[:4])
def test_what_was_found_before_it_broke_is_told(place: str, tmp_path: Path) -> None:
    """Two controls had failed in the same way before the microscope broke."""
    run_broken(tmp_path, place, FAILING, options=["--json", "out.json", "--report", "made"])
    incident = _told(tmp_path)
    assert incident["reproduced"]
    assert incident["replay"]["attempts"] == 2
    events = (tmp_path / "made" / "events.jsonl").read_text().splitlines()
    stored = [json.loads(line) for line in events if '"incident"' in line]
    assert "the investigation broke: RuntimeError: broken on purpose" in json.dumps(stored)


@pytest.mark.parametrize("place", DESCRIBING)
def test_without_a_description_the_rest_is_found(place: str, tmp_path: Path) -> None:
    run_broken(tmp_path, place, FAILING, options=["--json", "out.json"])
    incident = _told(tmp_path)
    assert incident["reproduced"]
    assert (incident["origin"]["line"], incident["origin"]["code"]) == (15, 'x[3, 1] = float("nan")')


@pytest.mark.parametrize("place", ["inquiry:Inquiry.finish"])
def test_a_step_that_cannot_be_put_back_is_not_called_held(place: str, tmp_path: Path) -> None:
    done = run_broken(tmp_path, TORCH + place, FAILING, options=["--json", "out.json"])
    assert done.exit_code == 3
    assert switched_off(done.stderr)[-1].startswith("stayfinite: undoing a step failed")
    assert not _told(tmp_path)["held"]


def test_a_later_bad_step_is_held_and_told_too(tmp_path: Path) -> None:
    source = FAILING.replace("if step == BAD", "if step in (BAD, 6)")
    write_job(tmp_path, {"train.py": source})
    skipping = run_cli(["run", "--on-incident", "skip", "--quiet", "train.py"], tmp_path)
    options = ["--on-incident", "skip", "--json", "out.json"]
    done = run_broken(tmp_path, TORCH + "inquiry:Repeat", source, options=options)
    assert (done.exit_code, done.stdout) == (0, skipping.stdout)
    assert len(switched_off(done.stderr)) == 1


def test_after_the_end_of_a_pass_broke_a_bad_step_is_held_for_the_true_reason(tmp_path: Path) -> None:
    done = run_broken(tmp_path, TORCH + "session:Session._close_pass", FAILING, options=["--json", "out.json"])
    assert (done.exit_code, done.stdout) == (3, "0\n1\n2\n3\n")
    assert len(switched_off(done.stderr)) == 1
    incident = _told(tmp_path)
    assert incident["held"]
    assert "broken on purpose" in json.dumps(incident["replay"])
    assert "could be wrapped" not in json.dumps(json.loads((tmp_path / "out.json").read_bytes()))


def test_strict_raises_what_an_investigation_raises(tmp_path: Path) -> None:
    done = run_broken(tmp_path, TORCH + "inquiry:Repeat", FAILING, {"STAYFINITE_STRICT": "1"})
    assert done.exit_code == 1
    assert done.stderr.endswith("RuntimeError: broken on purpose\n")
