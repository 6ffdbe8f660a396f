"""A change to the user's source text, and how it is made to a text."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec


class Edit(msgspec.Struct, frozen=True):
    """The text from (`line`, `column`) to (`end_line`, `end_column`) becomes `text`; equal ends insert.

    `file` as in `Location`; lines are 1-based, columns 0-based in UTF-8 bytes, as CPython's `ast` counts them.
    `before`: lines `line` to `end_line` as they were when the edit was made; empty: not known.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str
    before: str = ""


class Fix(msgspec.Struct, frozen=True):
    """Edits that belong together. `diff`: the same as a unified diff relative to the script's folder (``a/``, ``b/``)."""

    edits: tuple[Edit, ...] = ()
    diff: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files it changes, in the order of the edits."""
        return tuple(dict.fromkeys(edit.file for edit in self.edits))


class CannotApply(ValueError):
    """An edit does not fit the text. The message says why; `file` and `line` say where."""

    def __init__(self, message: str, file: str, line: int) -> None:
        super().__init__(message)
        self.file, self.line = file, line


def split_lines(text: str) -> list[str]:
    """Lines with their ends, cut where Python cuts a source: at ``\\n``, ``\\r\\n`` and ``\\r``, and nowhere else. The last one is
    what follows the last end, empty if nothing does."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)
    return lines if lines and not lines[-1].endswith(("\r", "\n")) else [*lines, ""]


def offset(lines: list[str], line: int, column: int) -> int:
    """Index into the text of a position in UTF-8 bytes. **Raises** `IndexError` if there is no such place."""
    if not 1 <= line <= len(lines):
        raise IndexError(f"there is no line {line}")
    own = lines[line - 1].rstrip("\r\n").encode()
    if not 0 <= column <= len(own):
        raise IndexError(f"line {line} has no column {column}")
    return sum(map(len, lines[: line - 1])) + len(own[:column].decode())


def apply(text: str, edits: Iterable[Edit]) -> str:
    """`text` with `edits` made, all of one file. Inserts at one place keep the order in which they are given;
    new lines end as the first one does.

    **Raises** `CannotApply` if two of them overlap, one lies outside the text, or its lines are no longer what they were.
    """
    lines = split_lines(text)
    spans: list[tuple[int, int, int, Edit]] = []
    for number, edit in enumerate(edits):
        try:
            start = offset(lines, edit.line, edit.column)
            end = offset(lines, edit.end_line, edit.end_column)
        except (IndexError, UnicodeDecodeError) as error:
            raise CannotApply(f"{edit.file}:{edit.line}: {error}", edit.file, edit.line) from None
        now = "".join(lines[edit.line - 1 : edit.end_line])
        if edit.before and _plain(now) != _plain(edit.before):
            raise CannotApply(f"{edit.file}:{edit.line} is no longer what it was: it reads {_first(now)!r} and was "
                              f"{_first(edit.before)!r}", edit.file, edit.line)
        if end < start:
            raise CannotApply(f"{edit.file}:{edit.line}: the edit ends before it begins", edit.file, edit.line)
        spans.append((start, end, number, edit))
    spans.sort(key=lambda span: span[:3])
    newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
    parts: list[str] = []
    reached = 0
    for start, end, _, edit in spans:
        if start < reached:
            raise CannotApply(f"{edit.file}:{edit.line}: two edits overlap", edit.file, edit.line)
        parts += [text[reached:start], edit.text.replace("\r\n", "\n").replace("\n", newline)]
        reached = end
    return "".join([*parts, text[reached:]])


def _plain(lines: str) -> str:
    """`lines` with one kind of line ends, and none at the end: how a file ends lines is not what it says."""
    return re.sub(r"\r\n|\r", "\n", lines).rstrip("\n")


def _first(lines: str) -> str:
    return _plain(lines).split("\n")[0].strip()
