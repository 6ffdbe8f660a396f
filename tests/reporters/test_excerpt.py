"""Which characters of which lines are marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from stayfinite.records.location import Location
from stayfinite.reporters.document import Excerpt
from stayfinite.reporters.excerpt import MOST_CHARACTERS, MOST_LINES, read_excerpt


def located(folder: Path, text: str | bytes, marked: str, line: int) -> Excerpt:
    """The excerpt around `marked`, which begins on `line` of `text`, with columns as CPython counts them."""
    data = text.encode() if isinstance(text, str) else text
    (folder / "train.py").write_bytes(data)
    lines = data.decode().splitlines()
    start = lines[line - 1].index(marked.partition("\n")[0])
    rows = marked.split("\n")
    column = len(lines[line - 1][:start].encode())
    end = len(rows[-1].encode()) + (column if len(rows) == 1 else 0)
    location = Location("train.py", line, column, line + len(rows) - 1, end, "f", lines[line - 1].strip(), marked)
    found = read_excerpt(location, str(folder))
    assert found is not None
    return found


def marked_text(excerpt: Excerpt) -> list[str]:
    return [excerpt.lines[m.line - excerpt.first_line][m.start : m.end] for m in excerpt.marks]


@pytest.mark.parametrize("line", ["x = log(p)", "    é = log(p)", "\tlog(p) # ü", "字 = '😀' + log(p)", "log(p)"])
def test_columns_are_bytes_and_marks_are_characters(tmp_path: Path, line: str) -> None:
    excerpt = located(tmp_path, f"a = 1\n{line}\nb = 2\n", "log(p)", 2)
    assert marked_text(excerpt) == ["log(p)"]
    assert excerpt.lines == ("a = 1", line, "b = 2")


def test_an_expression_over_several_lines_is_marked_on_each(tmp_path: Path) -> None:
    excerpt = located(tmp_path, "x = (\n    log(\n        p,\n    )\n)\n", "log(\n        p,\n    )", 2)
    assert marked_text(excerpt) == ["log(", "p,", ")"]


def test_a_very_long_statement_is_cut(tmp_path: Path) -> None:
    rows = ["f(", *[f"    {n}," for n in range(50)], ")"]
    excerpt = located(tmp_path, "\n".join(rows), "\n".join(rows), 1)
    assert len(excerpt.marks) == MOST_LINES
    assert len(excerpt.lines) == MOST_LINES + 2


def test_a_very_long_line_is_cut_around_the_mark(tmp_path: Path) -> None:
    excerpt = located(tmp_path, f"x = {'a + ' * 5000}log(p){' + b' * 5000}", "log(p)", 1)
    assert len(excerpt.lines[0]) == MOST_CHARACTERS
    assert marked_text(excerpt) == ["log(p)"]


def test_windows_line_ends_form_feeds_and_a_missing_last_newline(tmp_path: Path) -> None:
    excerpt = located(tmp_path, b"a = 1\r\nx = log(p)\r\nb = 2", "log(p)", 2)
    assert excerpt.lines == ("a = 1", "x = log(p)", "b = 2")
    (tmp_path / "train.py").write_text("a = 1\n\f\nx = log(p)\n")
    feed = read_excerpt(Location("train.py", 3, 4, 3, 10, "f", "x = log(p)"), str(tmp_path))
    assert feed is not None and feed.note is None and marked_text(feed) == ["log(p)"]


def test_a_declared_encoding_is_honoured(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_bytes("# coding: latin-1\né = log(p)\n".encode("latin-1"))
    found = read_excerpt(Location("train.py", 2, 5, 2, 11, "f", "é = log(p)"), str(tmp_path))
    assert found is not None and marked_text(found) == ["log(p)"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"# coding: nonsense\nx\n", b"\x00" * 100, b""])
def test_a_file_that_is_no_text_is_no_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.py").write_bytes(content)
    found = read_excerpt(Location("train.py", 1, 0, 1, 6, "f", "log(p)", "log(p)"), str(tmp_path))
    assert found is not None and found.note is not None and found.lines == ("log(p)",)


@pytest.mark.parametrize("file", ["", "<stdin>", "<ipython-input-3-abc>", "nul\0byte.py", ".", "x" * 5000])
def test_what_is_no_file_is_no_error(tmp_path: Path, file: str) -> None:
    location = Location(file, 3, 4, 3, 10, "f", "x = log(p)", "log(p)")
    found = read_excerpt(location, str(tmp_path))
    assert found is not None and found.note == "the source is not at hand"
    assert marked_text(found) == ["log(p)"]


def test_without_columns_nothing_is_underlined(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x = log(p)\n")
    found = read_excerpt(Location("train.py", 1, code="x = log(p)"), str(tmp_path))
    assert found is not None and found.marks == () and found.note is None


def test_without_code_there_is_no_excerpt(tmp_path: Path) -> None:
    assert read_excerpt(Location("gone.py", 1), str(tmp_path)) is None
