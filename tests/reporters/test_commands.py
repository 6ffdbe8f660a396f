"""`stayfinite report` and `stayfinite explain`, as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from reporters.handmade import closing, log_of_zero, manifest, write_script

from stayfinite.catalog import pages
from stayfinite.cli.explain_command import SHELVES, as_markdown, as_text
from stayfinite.cli.explain_command import command as explain
from stayfinite.cli.report_command import command as report
from stayfinite.recording.writer import Recorder

IDS = [name for shelf in SHELVES for name in pages.ids(shelf)]


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    recorder = Recorder(manifest(write_script(tmp_path)), tmp_path / "out")
    recorder.append(log_of_zero())
    recorder.open()
    recorder.close(closing())
    return tmp_path / "out"


def test_report_on_the_terminal(recording: Path) -> None:
    result = CliRunner().invoke(report, ["out"])
    assert result.exit_code == 0
    assert "step 57: the loss became +inf" in result.output
    assert "stayfinite replay out" in result.output
    assert "\x1b" not in result.output


def test_report_as_files_and_on_stdout(recording: Path) -> None:
    result = CliRunner().invoke(report, ["out", "--json", "a.json", "--markdown", "a.md"])
    assert (result.exit_code, result.output) == (0, "")
    assert json.loads(Path("a.json").read_bytes())["status"] == "incident"
    assert Path("a.md").read_text().startswith("# stayfinite: train.py\n")
    result = CliRunner().invoke(report, ["out", "--json", "-"])
    assert json.loads(result.output) == json.loads(Path("a.json").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: there is no such folder"),
        (["."], "holds 1 recording; name one, e.g. out"),
        ([], "Missing argument 'DIR'"),
        (["out", "--json", "no/such/folder.json"], "no/such/folder.json cannot be written: No such file or directory"),
        (["out", "--html", "x"], "No such option"),
    ],
)
def test_wrong_use_of_report(recording: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(report, arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_reader_that_stops_early_is_no_failure(recording: Path) -> None:
    source = "from stayfinite.cli.report_command import command; command(['out'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", source], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()
    process.stderr.close()


@pytest.mark.parametrize("name", IDS)
def test_explain_shows_every_page(name: str) -> None:
    result = CliRunner().invoke(explain, [name])
    page = pages.find(name)
    assert result.exit_code == 0 and page is not None
    assert result.output == as_text(page) + "\n"
    assert result.output.startswith(f"{name}: {page.title}\n")
    for heading, _ in page.sections:
        assert f"\n{heading}\n{'-' * len(heading)}\n" in result.output
        assert f"\n## {heading}\n" in as_markdown(page)
    assert "::\n" not in result.output


def test_explain_takes_the_spelling_of_a_module_too() -> None:
    assert CliRunner().invoke(explain, ["Loss_Spike"]).output.startswith("loss-spike: ")


def test_explain_without_an_id_lists_all() -> None:
    result = CliRunner().invoke(explain, [])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines() if line.startswith("  ")] == IDS


@pytest.mark.parametrize(("typo", "meant"), [("loss-spik", "loss-spike"), ("nonfinite loss", "nonfinite-loss")])
def test_an_unknown_id_gives_close_ones_and_the_list(typo: str, meant: str) -> None:
    result = CliRunner().invoke(explain, [typo])
    assert result.exit_code == 2
    assert f"nothing here is called '{typo}'. Did you mean {meant}" in result.output
    assert all(name in result.output for name in IDS)
    assert "Did you mean" not in CliRunner().invoke(explain, ["qqqqqqqq"]).output


def test_neither_loads_a_framework() -> None:
    source = (
        "import sys; from stayfinite.cli.explain_command import command as e; from stayfinite.cli.report_command "
        "import command as r; e(['loss-spike'], standalone_mode=False); print(*sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout.split()
    assert "stayfinite.catalog.detectors.loss_spike" in output
    assert not {"torch", "numpy", "rich", "jinja2"} & set(output)
