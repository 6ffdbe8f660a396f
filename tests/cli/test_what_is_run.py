"""However a script or module is named, the same is run in the same surroundings as under ``python``."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest
from sameness import Ended, both, without_runpy

WHO = """
import sys
print(__name__, sys.argv, sys.path[0], __file__, __cached__, __package__, __spec__.name if __spec__ else None)
print("main" if sys.modules["__main__"].__dict__ is globals() else "other")
"""
JOB: dict[str, str | bytes] = {
    "job.py": WHO,
    "package/__init__.py": "import sys\nprint('package', sys.argv)\n",
    "package/__main__.py": WHO + "from . import part\nprint(part.__name__)\n",
    "package/part.py": WHO,
    "package/inner/part.py": WHO,
    "folder/__main__.py": WHO,
}


@pytest.mark.parametrize(
    "argv",
    [
        ["./job.py"], ["folder/../job.py", "a"], ["folder"], ["folder/", "a"], ["-m", "job", "--quiet", "-m", "x"],
        ["-m", "package", "--json", "y"], ["-m", "package.part", "--", "a"], ["-m", "package.inner.part"],
        ["-mjob", "a"], ["-m", "json.tool", "--help"],
    ],
    ids=" ".join,
)
def test_named_in_any_way(argv: list[str], tmp_path: Path) -> None:
    bare, watched = both(tmp_path, JOB, argv, fresh=True)
    assert watched == bare
    assert bare.exit_code == 0


def test_named_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.py").symlink_to(tmp_path / "job" / "job.py")
    bare, watched = both(tmp_path, JOB, ["../link.py"], fresh=True)
    assert watched == bare
    assert str(tmp_path / "job") in bare.stdout


def test_named_by_its_whole_path(tmp_path: Path) -> None:
    bare, watched = both(tmp_path, JOB, [str(tmp_path / "job" / "job.py")], fresh=True)
    assert watched == bare


def test_an_archive_is_run(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", WHO + "import near\nprint(near.VALUE)\n")
        archive.writestr("near.py", "VALUE = 5\n")
    bare, watched = both(tmp_path, {}, ["../app.zip", "a"], fresh=True)
    assert watched == bare
    assert bare.stdout.endswith("main\n5\n")


def test_safe_path_is_kept(tmp_path: Path) -> None:
    source = "import sys; print(len(sys.path), sys.path[:2])"
    bare, watched = both(tmp_path, {"job.py": source}, ["job.py"], fresh=True, env={"PYTHONSAFEPATH": "1"})
    assert watched == bare


def test_a_module_is_run_once(tmp_path: Path) -> None:
    bare, watched = both(tmp_path, {"job.py": "print('ran')"}, ["-m", "job"], fresh=True)
    assert watched == bare
    assert watched.stdout == "ran\n"


def _wrong_use(bare: Ended, watched: Ended, about: str) -> None:
    assert bare.exit_code != 0
    assert watched.exit_code == 2
    assert watched.stdout == bare.stdout == ""
    assert about in watched.stderr
    assert len(watched.stderr.splitlines()) == 1
    assert watched.files == bare.files


@pytest.mark.parametrize(
    ("argv", "about"),
    [
        (["none.py"], "none.py"), (["folder/none.py", "x"], "folder/none.py"), (["empty"], "__main__"),
        (["-m", "none"], "none"), (["-m", "none.part"], "none.part"), (["-m", ""], "''"),
    ],
    ids=repr,
)
def test_what_is_not_there(argv: list[str], about: str, tmp_path: Path) -> None:
    bare, watched = both(tmp_path, {**JOB, "empty/x": ""}, argv, options=["--report", "made"], fresh=True)
    _wrong_use(bare, watched, about)


@pytest.mark.parametrize("name", ["package.none", "job.part", "package.inner"])
def test_a_part_that_is_not_in_its_package(name: str, tmp_path: Path) -> None:
    bare, watched = both(tmp_path, JOB, ["-m", name], fresh=True)
    assert bare.exit_code == 1
    assert watched.exit_code == 2
    assert name in watched.stderr
    assert "Traceback" not in watched.stderr
    assert watched.stdout in (bare.stdout, "")


def test_a_package_that_fails_shows_its_own_error(tmp_path: Path) -> None:
    files = {"package/__init__.py": "def f():\n    raise ValueError('mine')\nf()\n", "package/part.py": ""}
    bare, watched = both(tmp_path, files, ["-m", "package.part"], fresh=True)
    assert watched.exit_code == bare.exit_code == 1
    assert watched.stderr == without_runpy(bare.stderr)


def test_a_module_that_its_package_imports_is_run_with_a_word_of_warning(tmp_path: Path) -> None:
    files = {"package/__init__.py": "from . import part", "package/part.py": "print(__name__)"}
    bare, watched = both(tmp_path, files, ["-m", "package.part"], fresh=True)
    assert watched.stdout == bare.stdout == "package.part\n__main__\n"
    assert "RuntimeWarning" in watched.stderr
    assert len(watched.stderr.splitlines()) == len(bare.stderr.splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_script_from_a_pipe(tmp_path: Path) -> None:
    files = {"job.sh": f"exec {sys.executable} $STAYFINITE_RUN <(echo 'import sys; print(sys.argv[1:])') a\n"}
    files["go.py"] = "import os, subprocess, sys\nsys.exit(subprocess.call(['bash', 'job.sh']))\n"
    bare, _ = both(tmp_path, files, ["go.py"], fresh=True, env={"STAYFINITE_RUN": ""})
    ours, _ = both(tmp_path, files, ["go.py"], fresh=True, env={"STAYFINITE_RUN": "-m stayfinite run"})
    assert bare.stdout == "['a']\n"
    assert ours == bare
