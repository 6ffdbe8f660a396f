"""`stayfinite report DIR`: what a run recorded, again, on any machine, without the framework that ran it."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

import click

if TYPE_CHECKING:
    from stayfinite.reporters.document import Report


class Unreadable(click.ClickException):
    """The recording cannot be read, or an output not be written."""

    exit_code = 2


class Reporter(Protocol):
    """What every module in `reporters/` that writes a format has."""

    def render(self, report: Report, out: TextIO) -> None:
        """Write `report` to `out`."""


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "json_file", metavar="FILE", help="Write report.json there; - is stdout.")
@click.option("--markdown", "markdown_file", metavar="FILE", help="Write Markdown there; - is stdout.")
@click.option("--no-color", is_flag=True, help="No colours.")
def command(folder: Path, json_file: str | None, markdown_file: str | None, no_color: bool) -> None:
    """Show what a run has recorded.

    DIR is a report folder that `stayfinite run` made. Without --json or --markdown the report goes to the terminal.
    """
    from stayfinite.errors import RecordingError
    from stayfinite.recording.reader import read_recording
    from stayfinite.reporters import json, markdown, terminal
    from stayfinite.reporters.report import build_report

    try:
        report = build_report(read_recording(folder))
    except RecordingError as error:
        raise Unreadable(str(error)) from error
    if json_file is None and markdown_file is None:
        terminal.render(report, sys.stdout, color=False if no_color else None, folder=str(folder))
    if json_file is not None:
        _write(report, json, json_file)
    if markdown_file is not None:
        _write(report, markdown, markdown_file)


def _write(report: Report, reporter: Reporter, file: str) -> None:
    if file == "-":
        reporter.render(report, sys.stdout)
        return
    text = io.StringIO()
    reporter.render(report, text)
    try:
        Path(file).write_text(text.getvalue(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise Unreadable(f"{file} cannot be written: {error.strerror or error}") from error
