"""What a recording is of."""

from __future__ import annotations

from typing import Literal

import msgspec

RECORDING_SCHEMA = "stayfinite.recording/1"
NOTEBOOK = "notebook"
"""What stands for a script where cells ran, which are in no file of their own."""

Status = Literal["clean", "incident", "recovered", "failed"]


class Manifest(msgspec.Struct, frozen=True, tag="manifest"):
    """The first record of every recording: what ran, with what, where. Paths are as the user gave them."""

    version: str
    script: str
    argv: tuple[str, ...] = ()
    module: str | None = None
    framework: str | None = None
    framework_version: str | None = None
    folder: str = ""
    """The script's folder; locations are relative to it."""
    started: str = ""
    """UTC, ISO 8601."""
    schema: str = RECORDING_SCHEMA
    working_directory: str = ""
    """The process's, when it began: `script` and what the script opens may be relative to it."""


class Closing(msgspec.Struct, frozen=True, tag="closing"):
    """The last record of a recording that ended in order. Its absence means the process was killed."""

    status: Status
    steps: int
    seconds: float
    exit_code: int
    framework: str | None = None
    framework_version: str | None = None
