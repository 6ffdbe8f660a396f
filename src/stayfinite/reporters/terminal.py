"""The report a person reads in the terminal, seconds after the failure."""

from __future__ import annotations

import os
from typing import TextIO

from stayfinite.reporters.document import Report
from stayfinite.reporters.signs import signs_for

SUFFIX = ".txt"
NARROWEST = 40
"""Narrower terminals get lines of this width."""
DEFAULT_WIDTH = 100
"""Where `out` is no terminal and the environment says nothing."""


def render(
    report: Report,
    out: TextIO,
    *,
    color: bool | None = None,
    width: int | None = None,
    folder: str | None = None,
    incident: str | None = None,
) -> None:
    """Write `report` to `out`.

    **Arguments**

    - `color`: ``None`` asks the environment (`NO_COLOR`, `FORCE_COLOR`, `TERM=dumb`) and whether `out` is a terminal.
    - `width`: in cells; ``None`` asks the terminal, else the variable `COLUMNS`, else 100.
    - `folder`: the report folder to name in the commands to type next; ``None`` takes the one the report came from.
    - `incident`: tell only the incident with this id, as one does the moment it happens.
    """
    # Imported here: rich costs more than all the rest of the program's start, and most runs end without a report.
    from stayfinite.reporters.terminal_page import Page
    from stayfinite.reporters.terminal_sections import tell_one, tell_run

    color = wants_color(out) if color is None else color
    page = Page(max(NARROWEST, width or _width_of(out)), signs_for(out), color=color)
    folder = folder or report.recording
    if incident is None:
        tell_run(page, report, folder)
    else:
        for told in report.incidents:
            if told.id == incident:
                tell_one(page, report, told, folder)
    page.write(out)


def wants_color(out: TextIO) -> bool:
    """Whether colours are welcome on `out`: https://no-color.org, then `FORCE_COLOR`, then whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "") not in ("", "0"):
        return True
    return os.environ.get("TERM") != "dumb" and _is_terminal(out)


def _is_terminal(out: TextIO) -> bool:
    try:
        return out.isatty()
    except (AttributeError, ValueError):
        return False


def _width_of(out: TextIO) -> int:
    if _is_terminal(out):
        try:
            return os.get_terminal_size(out.fileno()).columns or DEFAULT_WIDTH
        except (OSError, ValueError):
            pass
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) > 0 else DEFAULT_WIDTH
