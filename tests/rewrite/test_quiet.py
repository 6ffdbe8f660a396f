"""What a repetition may not do, and what it must not disturb."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stayfinite.errors import LeaveAttempt
from stayfinite.rewrite.quiet import quiet


def test_writing_is_refused_and_named(tmp_path: Path) -> None:
    with quiet() as repetition, pytest.raises(LeaveAttempt):
        (tmp_path / "log.csv").open("w")
    assert repetition.refused is not None and "log.csv' for writing" in repetition.refused
    assert not (tmp_path / "log.csv").exists()


def test_reading_and_printing_are_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data.csv").write_text("1,2", encoding="utf-8")
    with quiet() as repetition:
        print("muted")
        assert (tmp_path / "data.csv").read_text(encoding="utf-8") == "1,2"
    assert repetition.refused is None
    assert capfd.readouterr().out == ""


def test_other_threads_write_on(tmp_path: Path) -> None:
    """The event writer of a tracker must not be told that it is in a repetition."""
    failed: list[BaseException] = []

    def write() -> None:
        try:
            (tmp_path / "events").write_text("1", encoding="utf-8")
        except BaseException as error:
            failed.append(error)

    with quiet():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert not failed and (tmp_path / "events").read_text(encoding="utf-8") == "1"


def test_the_first_temporary_folder_of_a_process() -> None:
    """`tempfile` looks for its folder once, by opening files with its lock held; asking it again there would never end."""
    code = (
        "import tempfile\n"
        "from stayfinite.rewrite.quiet import quiet\n"
        "assert tempfile.tempdir is None\n"
        "with quiet() as repetition:\n"
        "    open(__import__('os').__file__).close()\n"
        "print(repetition.refused)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "None\n"
