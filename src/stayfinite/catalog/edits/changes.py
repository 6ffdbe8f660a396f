"""Edits become a fix: checked against the text, parsed again, and shown as a unified diff."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterable, Mapping

from stayfinite.records.fix import CannotApply, Edit, Fix, apply


def patched(sources: Mapping[str, str], fix: Fix) -> dict[str, str]:
    """The new text of every file that `fix` changes.

    **Raises** `CannotApply` if a file is not among `sources` or an edit does not fit it.
    """
    found = {}
    for file in fix.files:
        if file not in sources:
            raise CannotApply(f"there is no source of {file}", file, 1)
        found[file] = apply(sources[file], [edit for edit in fix.edits if edit.file == file])
    return found


def fix_of(sources: Mapping[str, str], edits: Iterable[Edit | None]) -> Fix | None:
    """The edits as one fix with its diff; ``None`` if one of them could not be made, two overlap, nothing changes, or what comes
    out is no Python."""
    wanted = list(edits)
    if not wanted or any(edit is None for edit in wanted):
        return None
    made = tuple(dict.fromkeys(edit for edit in wanted if edit is not None))  # one import, asked for twice
    try:
        after = patched(sources, Fix(made))
        for file, text in after.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(text)
            if text == sources[file]:
                return None
    except (CannotApply, SyntaxError, ValueError):
        return None
    return Fix(made, "".join(unified(file, sources[file], text) for file, text in after.items()))


def unified(file: str, before: str, after: str) -> str:
    """A unified diff of one file as `patch -p1` reads it, three lines of context, `file` with forward slashes."""
    name = file.replace("\\", "/").lstrip("/")
    parts = []
    lines = difflib.unified_diff(_lines(before), _lines(after), f"a/{name}", f"b/{name}", n=3)
    for line in lines:
        parts.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(parts)


def _lines(text: str) -> list[str]:
    """Lines as `patch` cuts them, at ``\\n`` alone."""
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
