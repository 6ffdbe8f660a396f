"""Names inside a report folder, and how the folder comes into being.

    stayfinite-reports/20260131T101502Z-train/
      .gitignore      "*": the folder ignores itself
      events.jsonl    the recording, one record per line, appended as things become known
      report.json     the report as other programs read it
      cases/<id>/     what a replay in a fresh process needs
      earlier-1/      what a folder given by name held before
"""

from __future__ import annotations

import os
import time
from pathlib import Path

REPORTS = "stayfinite-reports"
EVENTS = "events.jsonl"
REPORT = "report.json"
CASES = "cases"
_OURS = (EVENTS, REPORT, CASES)


def default_folder(script: str, parent: Path | None = None) -> Path:
    """``stayfinite-reports/<UTC time>-<script stem>`` under `parent` (the working directory); it may exist already."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return (parent or Path()) / REPORTS / f"{stamp}-{file_name(Path(script).stem)}"


def create_unique(folder: Path) -> Path:
    """Create `folder`, or the first of ``folder-2``, ``folder-3``, ... that does not exist. Raises `OSError`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    candidate, number = folder, 2
    while True:
        try:
            candidate.mkdir()
        except FileExistsError:
            candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1
        else:
            _ignore(candidate)
            return candidate


def create_named(folder: Path) -> Path:
    """Create `folder`, which the user named, or make room in it: what an earlier run left moves to ``earlier-<n>``.

    Files that are not ours are left alone, and a folder that holds any does not get a ``.gitignore``. Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    present = {entry.name for entry in folder.iterdir()}
    if not present:
        _ignore(folder)
    old = [name for name in _OURS if name in present]
    if old:
        number = 1
        while (folder / f"earlier-{number}").exists():
            number += 1
        (folder / f"earlier-{number}").mkdir()
        for name in old:
            os.replace(folder / name, folder / f"earlier-{number}" / name)
    return folder


def file_name(text: str) -> str:
    """`text` with all but letters, digits, dot, dash and underscore replaced; 1 to 60 characters."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text)[:60].strip(".-")
    return kept or "unnamed"


def _ignore(folder: Path) -> None:
    (folder / ".gitignore").write_text("*\n", encoding="ascii")
