"""Source text around a place, with the guilty expression marked, read from disk if it is still what ran."""

from __future__ import annotations

import linecache
import tokenize
from pathlib import Path

from stayfinite.records.location import Location
from stayfinite.reporters.document import Excerpt, Mark, Place

CONTEXT = 2
"""Lines shown before and after the guilty ones."""
MOST_LINES = 12
"""Of a statement that spans more lines, the first of them."""
MOST_CHARACTERS = 1000
"""Of a longer line, a window around the mark."""
_LARGEST_FILE = 16 * 2**20


def place(location: Location | None, folder: str, *, excerpt: bool = True) -> Place | None:
    """`location` as a report shows it; ``None`` if it is unknown. `folder` is the script's."""
    if location is None or location.line <= 0:
        return None
    return Place(
        file=relative(location.file, folder), line=location.line, column=location.column, end_line=location.end_line,
        end_column=location.end_column, function=location.function, library=location.library, code=location.code,
        expression=location.expression, excerpt=read_excerpt(location, folder) if excerpt else None,
    )


def relative(file: str, folder: str) -> str:
    """`file` relative to `folder` if it lies inside it, else as it is."""
    try:
        return Path(file).relative_to(folder).as_posix() if folder and Path(file).is_absolute() else file
    except ValueError:
        return file


def read_excerpt(location: Location, folder: str) -> Excerpt | None:
    """The lines around `location`; only its own line where the file is gone, changed or unreadable."""
    lines = _read_lines(Path(folder, location.file) if folder else Path(location.file))
    if lines is None:
        lines = _read_cell(location.file)
    if lines is None:
        return _recorded(location, "the source is not at hand")
    if not 0 < location.line <= len(lines) or lines[location.line - 1].strip() != location.code.strip():
        return _recorded(location, "the source has changed since")
    last = min(max(location.line, location.end_line), location.line + MOST_LINES - 1, len(lines))
    first_shown, last_shown = max(1, location.line - CONTEXT), min(len(lines), last + CONTEXT)
    while first_shown < location.line and not lines[first_shown - 1].strip():
        first_shown += 1
    while last_shown > last and not lines[last_shown - 1].strip():
        last_shown -= 1
    marks = [mark for number in range(location.line, last + 1) if (mark := _mark(location, number, lines[number - 1]))]
    return _bounded(first_shown, lines[first_shown - 1 : last_shown], marks, None)


def _read_cell(name: str) -> list[str] | None:
    """The lines of a notebook's cell, which are in no file; known only in the process that ran it."""
    known = linecache.cache.get(name) if name.startswith("In [") else None
    return [line.rstrip("\n") for line in known[2]] if known is not None and len(known) == 4 else None


def _recorded(location: Location, note: str) -> Excerpt | None:
    if not location.code.strip():
        return None
    code = location.code.strip()
    wanted = location.expression.partition("\n")[0].strip()
    start = code.find(wanted) if wanted and wanted != code else -1
    marks = [Mark(line=location.line, start=start, end=start + len(wanted))] if start >= 0 else []
    return _bounded(location.line, [code], marks, note)


def _mark(location: Location, number: int, line: str) -> Mark | None:
    """The characters of `line` between the columns, without blanks around them; ``None`` if columns are unknown."""
    if location.column < 0 or location.end_column < 0:
        return None
    start = _characters(line, location.column) if number == location.line else 0
    end = _characters(line, location.end_column) if number == max(location.line, location.end_line) else len(line)
    inside = line[start:end]
    start += len(inside) - len(inside.lstrip())
    end = start + len(inside.strip())
    return Mark(line=number, start=start, end=end) if end > start else None


def _characters(line: str, column: int) -> int:
    return len(line.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "ignore"))


def _bounded(first: int, lines: list[str], marks: list[Mark], note: str | None) -> Excerpt:
    by_line = {mark.line: mark for mark in marks}
    for offset, line in enumerate(lines):
        if len(line) <= MOST_CHARACTERS:
            continue
        mark = by_line.get(first + offset)
        start = max(0, mark.start - MOST_CHARACTERS // 4) if mark else 0
        lines[offset] = line[start : start + MOST_CHARACTERS]
        if mark is not None:
            end = min(mark.end - start, MOST_CHARACTERS)
            by_line[mark.line] = Mark(line=mark.line, start=mark.start - start, end=end)
    return Excerpt(first_line=first, lines=tuple(lines), marks=tuple(by_line.values()), note=note)


def _read_lines(path: Path) -> list[str] | None:
    """The lines of a source file as Python counts them, or ``None`` if it cannot be had."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return None
        try:
            with tokenize.open(path) as file:
                text = file.read()
        except (SyntaxError, UnicodeDecodeError):
            text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
    return text.split("\n")  # universal newlines were applied; form feeds do not end a line for Python
