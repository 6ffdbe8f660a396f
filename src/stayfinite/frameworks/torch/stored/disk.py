"""The failing step on disk: ``case.json`` says what there is, ``case.safetensors`` holds the tensors.

Nothing is pickled, neither when writing nor when reading. The tensor file comes first and the JSON file last, each
under another name until it is whole: a folder with a ``case.json`` has a complete case. What the words in it mean is
said in `stored_step` and `stored_values`; `case_capture` puts them together.

Reading and checking the layout loads no framework.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stayfinite.errors import RecordingError

if TYPE_CHECKING:
    from torch import Tensor

    from stayfinite.frameworks.torch.stored.step import StoredStep

SCHEMA = "stayfinite.case/1"
LAYOUT, TENSORS = "case.json", "case.safetensors"
_SECTIONS = (
    "incident", "step", "block", "failure", "asked", "void", "modules", "parameters", "buffers", "optimizers",
    "scalers", "places", "passes", "left_out", "made_with", "tensors",
)


class CaseNotKept(Exception):
    """A step cannot be stored; the message says why."""


def has_case(folder: Path) -> bool:
    """True if `folder` holds a complete case."""
    return (folder / LAYOUT).is_file()


def digest_of(file: Path) -> str | None:
    """SHA-256 of a file's content in hexadecimal digits, or ``None`` if it cannot be read."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return None


def can_store() -> bool:
    """True if the library that writes tensors is there."""
    return importlib.util.find_spec("safetensors") is not None


def write_case(folder: Path, layout: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Put both files into `folder`, whole or not at all.

    **Raises**: `CaseNotKept` if the disk refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    draft, place = folder / f"{TENSORS}.part", folder / TENSORS
    try:
        save_file(tensors, draft, metadata={"schema": SCHEMA, "incident": layout["incident"]})
        layout["tensors"] = {"bytes": draft.stat().st_size, "sha256": digest_of(draft)}
        text = json.dumps(layout, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        os.replace(draft, place)
        draft = folder / f"{LAYOUT}.part"
        draft.write_text(text, encoding="ascii")
        place.chmod(draft.stat().st_mode)  # safetensors lets nobody else read; the rest of a recording is as usual
        os.replace(draft, folder / LAYOUT)
    except (OSError, SafetensorError) as error:  # what the system says comes as either
        for leftover in (draft, place):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)
        raise CaseNotKept(f"{folder} cannot be written: {error}") from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of the case in `folder`; its layout is to be checked first.

    **Raises**: `RecordingError` if they cannot be read.
    """
    if not can_store():
        raise RecordingError("exporting a step needs safetensors: pip install 'stayfinite[torch]'")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(folder / TENSORS)
    except SafetensorError as error:
        raise _damaged(folder / TENSORS, str(error)) from error


def write_tensors(file: Path, layout: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write `tensors` to `file`, with `layout` in the same file.

    **Raises**: `OSError` if it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, file, metadata={"schema": SCHEMA, "case": json.dumps(layout, separators=(",", ":"))})
    except SafetensorError as error:
        raise OSError(None, str(error), str(file)) from error


def read_layout(folder: Path) -> dict[str, Any]:
    """The checked content of ``case.json``. Loads no framework.

    **Raises**: `RecordingError` if it cannot be read, was written by another version, or its tensor file is not the one
    it was written with.
    """
    place = folder / LAYOUT
    try:
        layout = json.loads(place.read_text(encoding="ascii"))
    except OSError as error:
        raise RecordingError(f"{place} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise _damaged(place, f"it is not JSON ({error})") from error
    if not isinstance(layout, dict) or not str(layout.get("schema", "")).startswith(SCHEMA.rpartition("/")[0]):
        raise _damaged(place, "it is not a stored step")
    if layout["schema"] != SCHEMA:
        raise RecordingError(f"{place} is written as {layout['schema']}; this version reads {SCHEMA}")
    missing = [name for name in _SECTIONS if name not in layout]
    if missing:
        raise _damaged(place, f"it lacks {', '.join(missing)}")
    tensors = folder / TENSORS
    try:
        size = tensors.stat().st_size
    except OSError as error:
        raise _damaged(tensors, error.strerror or str(error)) from error
    if size != layout["tensors"].get("bytes"):
        raise _damaged(tensors, f"it has {size} bytes, and {layout['tensors'].get('bytes')} were written")
    if digest_of(tensors) != layout["tensors"].get("sha256"):
        raise _damaged(tensors, "its content is not what was written (SHA-256 differs)")
    return layout


def load_case(folder: Path) -> StoredStep:
    """The step stored in `folder`. Loads torch and safetensors.

    **Raises**: `RecordingError` as `read_layout`, and if safetensors is missing or refuses the tensor file.
    """
    layout = read_layout(folder)
    if not can_store():
        raise RecordingError("reading a stored step needs safetensors: pip install 'stayfinite[torch]'")
    from safetensors.torch import load_file

    from stayfinite.frameworks.torch.stored.step import StoredStep

    try:
        tensors = load_file(folder / TENSORS)
    except Exception as error:
        raise _damaged(folder / TENSORS, str(error)) from error
    return StoredStep(layout, tensors)


def _damaged(place: Path, reason: str) -> RecordingError:
    return RecordingError(
        f"{place} is damaged: {reason}. Run the script again under `stayfinite run` to make a new one."
    )
