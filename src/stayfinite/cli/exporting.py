"""`stayfinite replay DIR --export FILE`: the failing step as a script that needs no stayfinite."""

from __future__ import annotations

import os
import pprint
from pathlib import Path
from typing import Any

from stayfinite.cli.replaying import Chosen, choose, go_there, near
from stayfinite.cli.runner import CannotStart, find
from stayfinite.errors import RecordingError, ReplayError, UsageError
from stayfinite.frameworks.torch.stored import disk
from stayfinite.records.numbers import show
from stayfinite.rewrite.export import STEP, CannotExport, runtime_text, splice
from stayfinite.rewrite.loader import read_source

MARK = "Made by `stayfinite replay --export`"
_RUNTIME = ("reading", "step", "exported")


def export(folder: Path, wanted: str | None, file: Path, *, smallest: float | None = None) -> None:
    """Write the step of the recording in `folder` to `file`, and its tensors beside it.

    **Arguments**: `smallest`: seconds to look for the fewest passes and samples with which it still fails, by running it;
    ``None`` for the whole step.

    **Raises**: `RecordingError` if no step was kept or it is damaged, `ReplayError` if the script's structure does not
    allow it, `UsageError` if `file` cannot be written or holds something else.
    """
    chosen = choose(folder, wanted)
    if chosen.case is None:
        raise RecordingError(
            f"{folder} holds no step of incident {chosen.incident.id}, so there is nothing to export: run the script "
            "again under `stayfinite run` without --no-case"
        )
    case, file = chosen.case, file.absolute()
    layout = disk.read_layout(case)
    if file.suffix != ".py":
        raise UsageError(f"{file} is to be a Python script: give it a name that ends in .py")
    if file.exists() and MARK not in file.read_text(encoding="utf-8", errors="replace")[:4000]:
        raise UsageError(f"{file} exists and was not made by --export: name another file")
    here = os.getcwd()
    try:
        if smallest is None:
            _write(chosen, layout, disk.read_tensors(case), file, here)
            note = ""
        else:
            note = _write_smallest(chosen, case, layout, file, smallest, here)
    except CannotExport as reason:
        raise ReplayError(f"this step cannot be exported: {reason}") from reason
    finally:
        os.chdir(here)
    if note:
        print(f"stayfinite: {note}")
    print(f"stayfinite: wrote {near(file)} and {file.with_suffix('.safetensors').name}; next: python {near(file)}")


def _write(chosen: Chosen, layout: dict[str, Any], tensors: dict[str, Any], file: Path, here: str, note: str = "") -> None:
    """The script and its tensors; `here` is the folder of the command, which making the script leaves."""
    text = _script(chosen, layout, file, note)
    os.chdir(here)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        disk.write_tensors(file.with_suffix(".safetensors"), layout, tensors)
    except OSError as error:
        raise UsageError(f"{error.filename or file} cannot be written: {error.strerror or error}") from error


def _write_smallest(chosen: Chosen, case: Path, layout: dict[str, Any], file: Path, budget: float, here: str) -> str:
    """Looks for the smallest step and writes it. **Returns** a sentence about what was left out."""
    from stayfinite.cli.shrinking import Runs, told
    from stayfinite.frameworks.torch.stored.smaller import Step, shrink

    known = chosen.incident.case
    size = known.trace.batch_size or known.batch_size
    whole = Step(layout, disk.read_tensors(case))
    runs = Runs(lambda step, place: _write(chosen, step.layout, step.tensors, place, here), budget)
    runs.begin(whole)
    found = shrink(whole, size, known.origin.samples if known.origin is not None else (), runs.fails)
    note = told(found, size, len(layout["passes"]), runs)
    _write(chosen, found.step.layout, found.step.tensors, file, here, note.partition(":")[0])
    return note


def _script(chosen: Chosen, layout: dict[str, Any], file: Path, note: str) -> str:
    manifest, target = chosen.recording.manifest, chosen.target
    go_there(manifest)
    try:
        path, package = find(target)
    except CannotStart as reason:
        raise ReplayError(f"the script is not there any more: {reason}") from reason
    path = os.path.realpath(path)
    block = layout["block"]
    if os.path.realpath(os.path.join(manifest.folder, block["file"])) != path:
        raise CannotExport(
            f"its loop is in {block['file']}, not in {os.path.basename(path)}, which was run; only a loop of the "
            "script itself can be taken out of it"
        )
    if disk.digest_of(Path(path)) != block["sha256"]:
        raise CannotExport(f"{block['file']} was edited since the recording")
    spliced, future, docstring = splice(read_source(path), path, layout)
    symptom = chosen.incident.case.symptom
    arguments = pprint.pformat([target.script or path, *manifest.argv], width=110)
    source = Path(disk.__file__).parent
    runtime = runtime_text([(source / f"{name}.py").read_text(encoding="utf-8") for name in _RUNTIME])
    import_folder = manifest.working_directory if manifest.module else os.path.dirname(path)
    name = os.path.basename(path)
    lines = [
        f'"""Step {symptom.step} of {name} once more. It failed: {symptom.detector} ({show(symptom.value)}).',
        "",
        *([f"Not the whole step: {note}.", ""] if note else []),
        f"{MARK}. Needs torch, safetensors, the tensors in {file.stem}.safetensors beside it, and what the",
        "script imports and opens. Exit code 1 if the step still fails, 0 if it does not, 2 if its state does not fit.",
        '"""',
        *future,
        "",
        "",
        f"def _{STEP}(file):",
        '    """The stored step. What follows in this function is part of stayfinite (Apache-2.0)."""',
        runtime,
        "    os.chdir(WORKING_DIRECTORY)",
        "    sys.argv = ARGUMENTS",
        "    sys.path[0] = IMPORT_FOLDER",
        "    return FailingStep(os.path.splitext(file)[0] + '.safetensors')",
        "",
        "",
        f"WORKING_DIRECTORY = {manifest.working_directory or manifest.folder!r}",
        f"IMPORT_FOLDER = {import_folder!r}",
        f"ARGUMENTS = {arguments}",
        "import os as _os",
        f"{STEP} = _{STEP}(_os.path.abspath(__file__))",
        f"__file__ = {path!r}",
        f"__doc__ = {docstring!r}" if docstring else "",
        f"__package__ = {package.parent!r}" if package is not None else "",
        "",
        f"# -- from here on {name} as it was, except for the loop of its line {block['line']} " + "-" * 40,
        "",
    ]
    return "\n".join(lines) + spliced
