"""``stayfinite replay``: the stored step fails again in a fresh process, at the same line and for the same samples."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from forkserver import run_bare, run_cli
from replaying import (
    ARGUMENTS,
    HEALTHY,
    MODULE_LEVEL,
    REPAIR,
    SCRIPTS,
    STRICT,
    change,
    line_of_origin,
    record,
    replay,
    said,
    write,
)

Recorded = tuple[str, Path, dict[str, Any]]
"""A script's name, the folder it ran in, and its incident."""


@pytest.fixture(scope="module", params=list(SCRIPTS))
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    incident = record(folder, SCRIPTS[name], arguments=tuple(ARGUMENTS.get(name, ())))
    return name, folder, incident


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole recording."""
    folder = tmp_path_factory.mktemp("good")
    record(folder, MODULE_LEVEL)
    return folder


class TestStoredStep:
    def test_it_fails_again_at_the_same_line_for_the_same_samples(self, recorded: Recorded) -> None:
        _, folder, incident = recorded
        origin = incident["origin"]
        assert origin["line"] == line_of_origin(folder / "train.py")
        done = replay(folder)
        assert done.exit_code == 0, done.stderr
        samples = f", samples {', '.join(map(str, origin['samples'][:10]))}" if origin["samples"] else ""
        expected = f"it happened again: {origin['op']} at train.py:{origin['line']}{samples}, as recorded"
        assert expected in said(done)
        assert "Replayed twice, and it happened again." in done.stdout

    def test_the_same_report_is_told(self, recorded: Recorded) -> None:
        """To the last digit of every number: shapes, counts, the element that did it, the bits of evidence. What only the run
        could ask its loaders and its source is not known again: the index in the data set, who made a value."""
        _, folder, incident = recorded
        bodies = []
        for done in (replay(folder), run_cli(["report", "rep", "--no-color"], folder)):
            lines = done.stdout.splitlines()
            body = lines[lines.index(f"✗ step {incident['step']}: {headline(lines)}") : lines.index("  next")]
            bodies.append([re.sub(", dataset index.*|[\\d.]+ s\\b", "", line) for line in body])  # experiments take another time
        again, recorded_lines = bodies[0], iter(bodies[1])
        assert [line for line in again if line not in recorded_lines] == []  # in the same order
        assert len(again) > 20
        assert any(f"train.py:{incident['origin']['line']}" in line for line in bodies[0])

    def test_what_the_script_prints_is_muted(self, recorded: Recorded) -> None:
        name, folder, _ = recorded
        done = replay(folder)
        assert "is muted" in done.stdout
        assert "preparing" not in done.stdout.replace("train.py", "")
        assert name != "function" or "epoch" not in done.stdout

    def test_the_tensors_are_plain_files(self, recorded: Recorded) -> None:
        _, folder, incident = recorded
        case = folder / "rep" / "cases" / incident["id"]
        assert sorted(path.name for path in case.iterdir()) == ["case.json", "case.safetensors"]
        layout = json.loads((case / "case.json").read_text(encoding="ascii"))
        assert layout["schema"] == "stayfinite.case/1" and layout["step"] == incident["step"]
        assert layout["block"]["file"] == "train.py" and layout["left_out"] == []

    def test_the_exported_script_fails_without_stayfinite(
        self, recorded: Recorded, tmp_path: Path
    ) -> None:
        _, folder, _ = recorded
        done = replay(folder, "--export", str(tmp_path / "again.py"))
        assert done.exit_code == 0, done.stderr
        write(tmp_path / "fake" / "stayfinite", "raise SystemExit('stayfinite was imported')", "__init__.py")
        alone = run_bare([str(tmp_path / "again.py")], tmp_path, {"PYTHONPATH": str(tmp_path / "fake")})
        assert alone.exit_code == 1, alone.stderr
        losses = next(line for line in alone.stdout.splitlines() if line.startswith("loss: "))
        assert "nan" in losses or "inf" in losses
        assert "the step still fails" in alone.stdout

    def test_the_exported_step_succeeds_once_the_fault_is_gone(
        self, recorded: Recorded, tmp_path: Path
    ) -> None:
        _, folder, _ = recorded
        assert replay(folder, "--export", str(tmp_path / "again.py")).exit_code == 0
        text = (tmp_path / "again.py").read_text(encoding="utf-8")
        line = next(line for line in text.splitlines() if "# <- origin" in line)
        mended = line.split("#")[0].rstrip()
        for old, new in (
            ("torch.log(level)", "torch.log(level + 1)"), ("/ x[:, 0]", "/ (x[:, 0] + 1)"),
            ("torch.rsqrt(spread)", "torch.rsqrt(spread + 1)"), ("/ scale", "/ (scale + 1)"),
            ("torch.softmax(scores, 1)", "torch.softmax(scores.clamp(-9, 9), 1)"),
        ):
            mended = mended.replace(old, new)
        assert mended != line.split("#")[0].rstrip()
        (tmp_path / "again.py").write_text(text.replace(line, mended), encoding="utf-8")
        alone = run_bare([str(tmp_path / "again.py")], tmp_path)
        assert alone.exit_code == 0, alone.stdout + alone.stderr
        assert "the step does not fail" in alone.stdout


class TestDamage:
    @pytest.fixture
    def case(self, good: Path) -> Any:
        """The folder of a stored step; what a test does to it is undone."""
        place = next((good / "rep" / "cases").iterdir())
        before = {path: path.read_bytes() for path in place.iterdir()}
        yield place
        for path, content in before.items():
            path.write_bytes(content)

    @pytest.mark.parametrize(
        ("damage", "expected"),
        [
            (lambda case: cut(case / "case.safetensors", 100), "were written"),
            (lambda case: flip(case / "case.safetensors"), "SHA-256"),
            (lambda case: (case / "case.safetensors").unlink(), "case.safetensors is damaged"),
            (lambda case: cut(case / "case.json", 300), "it is not JSON"),
            (lambda case: (case / "case.json").write_text("[]", encoding="ascii"), "it is not a stored step"),
            (lambda case: (case / "case.json").write_bytes(b"\xff\x00"), "is damaged"),
            (lambda case: edit(case / "case.json", schema="stayfinite.case/9"), "this version reads stayfinite.case/1"),
            (lambda case: edit(case / "case.json", passes=None), "it lacks passes"),
            (lambda case: edit(case / "case.json", passes=[{}]), "could not be put back"),
            (lambda case: edit(case / "case.json", parameters=[{"name": "w"}]), "parameter w is not there"),
        ],
        ids=["cut", "flipped", "missing", "json cut", "json", "bytes", "newer", "incomplete", "hollow", "nameless"],
    )
    def test_a_damaged_step_is_named(self, good: Path, case: Path, damage: Any, expected: str) -> None:
        damage(case)
        done = run_cli(["replay", "rep"], good)
        assert done.exit_code == 2, done.stdout
        assert expected in said(done)
        assert "Traceback" not in done.stderr

    def test_a_folder_that_is_no_recording(self, tmp_path: Path) -> None:
        for folder in ("nowhere", "."):
            done = replay(tmp_path, recording=folder)
            assert done.exit_code == 2
            assert "stayfinite run" in said(done) or "no such folder" in said(done)

    def test_a_healthy_recording(self, tmp_path: Path) -> None:
        write(tmp_path, HEALTHY)
        assert run_cli(["run", "--report", "rep", "train.py"], tmp_path, STRICT).exit_code == 0
        done = replay(tmp_path)
        assert done.exit_code == 2
        assert "holds no incident: nothing went bad in that run" in said(done)

    def test_an_incident_it_does_not_have(self, good: Path) -> None:
        done = replay(good, "--incident", "zzz")
        assert done.exit_code == 2 and "0 incidents whose id begins with 'zzz'" in said(done)

    def test_an_incident_by_the_beginning_of_its_id(self, good: Path) -> None:
        name = next((good / "rep" / "cases").iterdir()).name
        assert replay(good, "--incident", name[:5]).exit_code == 0

    def test_export_does_not_overwrite_a_script(self, good: Path) -> None:
        before = (good / "train.py").read_bytes()
        done = replay(good, "--export", "train.py")
        assert done.exit_code == 2 and "was not made by --export" in said(done)
        assert (good / "train.py").read_bytes() == before
        assert replay(good, "--export", "x.txt").exit_code == 2
        assert [replay(good, "--export", "x.py").exit_code for _ in range(2)] == [0, 0]


class TestWithoutAStoredStep:
    def test_no_case_runs_the_script_again(self, tmp_path: Path) -> None:
        incident = record(tmp_path, MODULE_LEVEL, "--no-case")
        assert not (tmp_path / "rep" / "cases").exists()
        done = replay(tmp_path)
        assert done.exit_code == 0, done.stderr
        text = said(done)
        assert "running the script again from its start" in text and "preparing" in text
        assert f"it happened again: log at train.py:{incident['origin']['line']}" in text
        assert f"in step {incident['step']}" in text
        export = replay(tmp_path, "--export", "x.py")
        assert export.exit_code == 2 and "without --no-case" in said(export)

    def test_a_script_that_was_repaired(self, tmp_path: Path) -> None:
        record(tmp_path, MODULE_LEVEL, "--no-case")
        change(tmp_path / "train.py", REPAIR)
        done = replay(tmp_path)
        assert done.exit_code == 1
        assert "it did not happen again: nonfinite-loss" in said(done) and "nothing went bad now" in said(done)

    def test_a_step_that_is_too_large_is_not_kept(self, tmp_path: Path) -> None:
        source = textwrap.dedent(MODULE_LEVEL).replace(
            "optimizer = ", "net.register_parameter('table', nn.Parameter(torch.zeros(300 * 2**18)))\noptimizer = "
        )
        write(tmp_path, source.replace("Adam", "SGD"))
        done = run_cli(["run", "--report", "rep", "train.py"], tmp_path, STRICT)
        assert done.exit_code == 3
        warnings = json.loads((tmp_path / "rep" / "report.json").read_text(encoding="utf-8"))["warnings"]
        told = next(w["message"] for w in warnings if w["id"] == "case-not-kept")
        assert "parameters and moments take 300 MiB; at most 256 MiB are kept" in told
        assert not list((tmp_path / "rep").glob("cases/*/*"))

    def test_a_batch_without_plain_form_replays_as_far_as_it_can(self, tmp_path: Path) -> None:
        record(
            tmp_path,
            """
            import io
            import torch

            torch.manual_seed(0)
            model = torch.nn.Linear(3, 1)
            opt = torch.optim.SGD(model.parameters(), lr=0.1)
            samples = [io.BytesIO(bytes([4, 5, n != 6])) for n in range(9)]
            for sample in samples:
                x = torch.tensor(list(sample.getvalue())).float()
                loss = (model(x) / x[2]).mean()
                opt.zero_grad()
                loss.backward()
                opt.step()
            """,
        )
        done = replay(tmp_path)
        assert done.exit_code == 1
        assert "sample is not in the recording: a BytesIO has no plain form" in said(done)
        export = replay(tmp_path, "--export", "x.py")
        assert export.exit_code == 2
        assert "`sample`, which the loop hands to its body, is no plain value: BytesIO" in said(export)


def headline(lines: list[str]) -> str:
    """What the first line with a cross says after the step."""
    return next(line for line in lines if line.startswith("✗ step")).partition(": ")[2]


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:-size])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 16
    path.write_bytes(content)


def edit(path: Path, **sections: Any) -> None:
    """Change sections of a layout; None takes one out."""
    layout = json.loads(path.read_text(encoding="ascii"))
    for name, value in sections.items():
        if value is None:
            del layout[name]
        else:
            layout[name] = value
    path.write_text(json.dumps(layout), encoding="ascii")
