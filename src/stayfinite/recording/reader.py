"""Reads a recording back, whatever state its process left it in. Nothing is ever unpickled or executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec

from stayfinite.errors import RecordingError
from stayfinite.recording.layout import EVENTS, REPORTS
from stayfinite.records.manifest import RECORDING_SCHEMA, Closing, Manifest
from stayfinite.records.recording import Record, Recording, gather

_STRICT: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_LAX: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record, strict=False)
_TAGS = frozenset(kind.__struct_config__.tag for kind in get_args(Record))
_FAMILY = RECORDING_SCHEMA.rpartition("/")[0] + "/"


def read_recording(folder: Path | str) -> Recording:
    """The recording in `folder` (or in the events file itself).

    A last line that was cut off, lines that are broken, and records of kinds this version does not know are passed
    over and named in `damaged`; a missing closing means that the process was killed.

    **Raises**: `RecordingError` if there is no recording, it cannot be opened, or its first record is unreadable.
    """
    given = Path(folder)
    path = given if given.is_file() else given / EVENTS
    records: list[Record] = []
    damaged: list[str] = []
    unknown: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = _decode(line)
                except _UnknownKind as error:
                    unknown[str(error)] = unknown.get(str(error), 0) + 1
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    damaged.append(_damage(number, line, error))
                else:
                    if number == 1 and not isinstance(record, Manifest):
                        raise _refusal(given, f"its first record is a {type(record).__name__.lower()}")
                    records.append(record)
                if number == 1 and not records:
                    raise _refusal(given, (damaged or ["its first record is of an unknown kind"])[0])
    except OSError as error:
        raise _missing(given, path, error) from error
    if not records:
        raise _refusal(given, f"{EVENTS} is empty")
    manifest = records[0]
    assert isinstance(manifest, Manifest)
    if not manifest.schema.startswith(_FAMILY):
        raise _refusal(given, f"its schema is {manifest.schema!r}")
    if manifest.schema != RECORDING_SCHEMA:
        damaged.append(f"written as {manifest.schema} by stayfinite {manifest.version}; read as {RECORDING_SCHEMA}")
    damaged += [f"{n} of kind {kind!r}, which this version does not know" for kind, n in sorted(unknown.items())]
    if not any(isinstance(record, Closing) for record in records):
        damaged.append("it has no closing record: the process was killed, or runs still")
    return gather(records, damaged=tuple(damaged), folder=str(path.parent))


class _UnknownKind(Exception):
    pass


def _decode(line: bytes) -> Record:
    try:
        return _STRICT.decode(line)
    except msgspec.ValidationError:
        plain: Any = msgspec.json.decode(line)
        tag = plain.get("type") if isinstance(plain, dict) else None
        if isinstance(tag, str) and tag not in _TAGS:
            raise _UnknownKind(tag) from None
        # A non-finite number where only finite ones belong must not cost the whole record.
        return _LAX.decode(line.replace(b'"+inf"', b'"inf"'))


def _damage(number: int, line: bytes, error: Exception) -> str:
    if not line.endswith(b"\n"):
        return f"line {number} was cut off after {len(line)} bytes"
    return f"line {number} is broken: {error}"


def _missing(given: Path, path: Path, error: OSError) -> RecordingError:
    if not given.exists():
        return RecordingError(f"{given}: there is no such folder; recordings are under {REPORTS}/ where the script ran")
    if given.is_dir() and not path.exists():
        inside = sorted(entry.parent.name for entry in given.glob(f"*/{EVENTS}"))
        if inside:
            count = f"{len(inside)} recording{'s' if len(inside) > 1 else ''}"
            return RecordingError(f"{given} holds {count}; name one, e.g. {given / inside[-1]}")
        return RecordingError(f"{given} is not a recording, it has no {EVENTS}: name a folder `stayfinite run` made")
    return RecordingError(f"{path} cannot be read: {error.strerror or error}")


def _refusal(given: Path, reason: str) -> RecordingError:
    return RecordingError(
        f"{given} is not a readable recording: {reason}. Run the script again under `stayfinite run` to make a new one."
    )
