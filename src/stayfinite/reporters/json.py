"""The report as JSON: the contract other programs read, see `report.schema.json` beside this file."""

from __future__ import annotations

from typing import TextIO

import msgspec

from stayfinite.records.encoding import encode
from stayfinite.reporters.document import Report

SUFFIX = ".json"


def render(report: Report, out: TextIO) -> None:
    """Write `report` to `out`, indented by two spaces, in ASCII-safe or UTF-8 text as `out` can carry it.

    The file holds no NaN and no infinity as JSON numbers.
    """
    text = msgspec.json.format(encode(report), indent=2).decode()
    try:
        text.encode(getattr(out, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = "".join(c if ord(c) < 128 else _escape(c) for c in text)
    out.write(text + "\n")


def to_bytes(report: Report) -> bytes:
    """`report` as the bytes of a `report.json` in UTF-8."""
    return msgspec.json.format(encode(report), indent=2) + b"\n"


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
