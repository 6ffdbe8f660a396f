"""`stayfinite fix` from outside: on recordings whose remedies are known."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from forkserver import Completed, run_bare, run_cli

from stayfinite.catalog.edits.changes import fix_of
from stayfinite.catalog.edits.source import Source
from stayfinite.recording.writer import Recorder
from stayfinite.records.diagnosis import Diagnosis, Remedy
from stayfinite.records.fix import Fix
from stayfinite.records.incident import Case, Incident, Symptom
from stayfinite.records.manifest import Closing, Manifest

TRAIN = "# -*- coding: latin-1 -*-\nimport math  # é\nfrom part import f\n\n\nprint(f(math.sqrt(0.0)))\n"
PART = "def f(x):\n    return 1 / x\n"


def fix_for(sources: dict[str, str]) -> Fix:
    train, part = Source("train.py", sources["train.py"]), Source("part.py", sources["part.py"])
    call = train.tree.body[-1].value.args[0].args[0]  # type: ignore[attr-defined]
    back = part.tree.body[0].body[0].value  # type: ignore[attr-defined]
    fix = fix_of(sources, [train.replace(call, "math.sqrt(4.0)"), part.replace(back, "1 / (x or 1)")])
    assert fix is not None
    return fix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "train.py").write_bytes(TRAIN.encode("latin-1"))
    (tmp_path / "work" / "part.py").write_bytes(PART.encode())
    return tmp_path


def record(folder: Path, *remedies: Remedy, ran_in: str | None = None) -> None:
    manifest = Manifest(version="0", script="train.py", argv=(), module=None, framework="torch", folder=ran_in or str(folder / "work"),
                        started="2026-01-01T00:00:00Z", working_directory="")
    recorder = Recorder(manifest, folder / "report")
    recorder.open()
    recorder.append(Incident("a1", Case(Symptom("nonfinite-loss", 3, "loss", "nan")), Diagnosis(remedies=remedies)))
    recorder.close(Closing(status="incident", steps=4, seconds=1.0, exit_code=3))


def remedy(name: str = "safe-divisor", applicability: str = "safe", verdict: str = "verified", **rest: object) -> Remedy:
    given = {"fix": fix_for({"train.py": TRAIN, "part.py": PART}), **rest}
    return Remedy(name, "Choose the divisor", applicability, ("division-by-zero",), verdict, **given)  # type: ignore[arg-type]


def fix(folder: Path, *options: str) -> Completed:
    return run_cli(["fix", "--incident", str(folder / "report"), *options], folder)


def as_it_was(folder: Path) -> bool:
    kept = {path.name: path.read_bytes() for path in (folder / "work").iterdir() if path.name != "__pycache__"}
    return kept == {"train.py": TRAIN.encode("latin-1"), "part.py": PART.encode()}


def test_the_verified_safe_patch_is_applied(folder: Path) -> None:
    os.chmod(folder / "work" / "train.py", 0o755)
    record(folder, remedy("clip", "unsafe"), remedy())
    assert run_bare(["train.py"], folder / "work").exit_code == 1
    done = fix(folder)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "changed train.py\nchanged part.py\nsafe-divisor: Choose the divisor.\n"
    assert run_bare(["train.py"], folder / "work").stdout == "0.5\n"
    assert (folder / "work" / "train.py").read_bytes().decode("latin-1") == TRAIN.replace("sqrt(0.0)", "sqrt(4.0)")
    assert os.stat(folder / "work" / "train.py").st_mode & 0o777 == 0o755
    assert sorted(path.name for path in (folder / "work").iterdir() if path.name != "__pycache__") == ["part.py", "train.py"]


def test_diff_only_shows(folder: Path) -> None:
    record(folder, remedy())
    done = fix(folder, "--diff")
    assert done.exit_code == 0 and as_it_was(folder)
    assert done.stdout.startswith("--- a/train.py\n+++ b/train.py\n") and "+    return 1 / (x or 1)\n" in done.stdout
    applied = subprocess.run(["git", "apply", "-p1", "--include=part.py", "-"], cwd=folder / "work", input=done.stdout, text=True,
                             capture_output=True, timeout=60)
    assert applied.returncode == 0, applied.stderr


def test_a_source_that_has_changed_is_left_alone(folder: Path) -> None:
    record(folder, remedy())
    (folder / "work" / "part.py").write_text("def f(x):\n    return 2 / x\n")
    done = fix(folder)
    assert done.exit_code == 2 and done.stdout == ""
    assert "part.py:2 is no longer what it was: it reads 'return 2 / x' and was 'return 1 / x'" in done.stderr
    assert (folder / "work" / "train.py").read_bytes() == TRAIN.encode("latin-1")  # not half a change


def test_a_file_that_is_gone(folder: Path) -> None:
    record(folder, remedy())
    (folder / "work" / "part.py").unlink()
    done = fix(folder)
    assert done.exit_code == 2 and "part.py cannot be read: No such file or directory. Nothing was changed." in done.stderr
    assert (folder / "work" / "train.py").read_bytes() == TRAIN.encode("latin-1")


@pytest.mark.parametrize(("remedies", "options", "told"), [
    ((), (), "no patch was verified. This recording holds no remedies."),
    ((("a", "safe", "failed"),), (), "no patch was verified. There is: a (safe, failed)."),
    ((("a", "unsafe", "verified"),), (), "no safe patch was verified. There is: a (unsafe, verified). Add --unsafe to apply a."),
    ((("a", "unsafe", "verified"),), ("--remedy", "a"), "a is unsafe: it trains otherwise from then on. Add --unsafe"),
    ((("a", "safe", "verified"),), ("--remedy", "b"), "no remedy here is called 'b'. There is: a (safe, verified)."),
    ((("a", "safe", "refused", "it hides the failure"),), ("--remedy", "a"), "a was refused: it hides the failure."),
    ((("a", "display-only", "not_tested", "it is written elsewhere"),), ("--remedy", "a"), "a has no patch: it is written elsewhere."),
])
def test_what_is_not_applied_is_said(folder: Path, remedies: tuple[tuple[str, ...], ...], options: tuple[str, ...], told: str) -> None:
    made = [
        remedy(name, applicability, verdict, reason="".join(rest), **({"fix": None} if applicability == "display-only" else {}))
        for name, applicability, verdict, *rest in remedies
    ]
    record(folder, *made)
    done = fix(folder, *options)
    assert done.exit_code == 2 and told in done.stderr
    assert as_it_was(folder)


def test_an_unsafe_one_and_one_that_was_not_tested_if_asked_for(folder: Path) -> None:
    record(folder, remedy("a", "unsafe", "not_tested", reason="the budget was spent on others"))
    done = fix(folder, "--remedy", "a", "--unsafe")
    assert done.exit_code == 0 and "It was not verified: the budget was spent on others." in done.stdout
    assert not as_it_was(folder)


def test_sources_that_lie_elsewhere_now(folder: Path) -> None:
    record(folder, remedy(), ran_in="/nowhere/at/all")
    done = fix(folder)
    assert done.exit_code == 2 and "ran in /nowhere/at/all, which is not here" in done.stderr
    assert fix(folder, "--folder", str(folder / "work")).exit_code == 0
    assert not as_it_was(folder)


def test_no_recording(tmp_path: Path) -> None:
    done = run_cli(["fix", "--incident", str(tmp_path)], tmp_path)
    assert done.exit_code == 2 and str(tmp_path) in done.stderr
