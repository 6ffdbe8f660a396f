"""A change to the user's source text."""

from __future__ import annotations

import msgspec


class Edit(msgspec.Struct, frozen=True):
    """The text from (`line`, `column`) to (`end_line`, `end_column`) becomes `text`; equal ends insert.

    `file` as in `Location`; lines are 1-based, columns 0-based in UTF-8 bytes, as CPython's `ast` counts them.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str


class Fix(msgspec.Struct, frozen=True):
    """Edits that belong together. `diff`: the same as a unified diff relative to the script's folder (``a/``, ``b/``)."""

    edits: tuple[Edit, ...] = ()
    diff: str = ""
