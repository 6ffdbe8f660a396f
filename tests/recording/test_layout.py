"""Names and folders of a recording."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stayfinite.recording.layout import create_named, create_unique, default_folder, file_name


def test_the_default_name_holds_the_time_and_the_script() -> None:
    name = default_folder("some/where/train me.py").name
    assert re.fullmatch(r"\d{8}T\d{6}Z-train-me", name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("abc", "abc"), ("..", "unnamed"), ("", "unnamed"), ("a/b\\c", "a-b-c"), ("naïve\0", "na-ve"),
        ("x" * 99, "x" * 60),
    ],
)
def test_file_names_are_harmless(text: str, name: str) -> None:
    assert file_name(text) == name


def test_unique_folders(tmp_path: Path) -> None:
    made = [create_unique(tmp_path / "reports" / "run") for _ in range(3)]
    assert [place.name for place in made] == ["run", "run-2", "run-3"]


def test_an_empty_named_folder_ignores_itself(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (create_named(tmp_path / "empty") / ".gitignore").read_text() == "*\n"
    assert (create_named(tmp_path / "a" / "b") / ".gitignore").exists()
