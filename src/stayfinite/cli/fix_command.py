"""`stayfinite fix --incident DIR`: the source changed as a remedy does that was seen to work."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stayfinite.records.diagnosis import Remedy
    from stayfinite.records.fix import Fix
    from stayfinite.records.recording import Recording


class NothingApplied(click.ClickException):
    """No source was changed. The message says why and what there is."""

    exit_code = 2


@click.command("fix")
@click.option("--incident", "folder", metavar="DIR", required=True, type=click.Path(path_type=Path),
              help="The report folder of a run that failed.")
@click.option("--diff", "only_show", is_flag=True, help="Show the change, and change nothing.")
@click.option("--unsafe", is_flag=True, help="Also remedies that train otherwise from then on.")
@click.option("--remedy", "wanted", metavar="ID", help="Apply this remedy, verified or not, if it is safe (or with --unsafe).")
@click.option("--folder", "root", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
              help="Where the sources are, if not where they ran.")
def command(folder: Path, only_show: bool, unsafe: bool, wanted: str | None, root: Path | None) -> None:
    """Change the source as a verified remedy does.

    DIR is a report folder that `stayfinite run` made. Without --remedy, the first remedy is applied that was verified and is
    safe: it computes the same wherever the original was finite. All of its files are changed, or none.
    """
    from stayfinite.errors import RecordingError
    from stayfinite.recording.reader import read_recording

    try:
        recording = read_recording(folder)
    except RecordingError as error:
        raise NothingApplied(str(error)) from error
    remedies = [remedy for incident in recording.incidents for remedy in incident.diagnosis.remedies]
    remedy = chosen(remedies, wanted, unsafe=unsafe or only_show)
    assert remedy.fix is not None
    if only_show:
        click.echo(remedy.fix.diff, nl=False)
        return
    changed = apply_fix(remedy.fix, root if root is not None else Path(_home(recording, folder)))
    for path in changed:
        click.echo(f"changed {path}")
    note = "" if remedy.verdict == "verified" else f" It was not verified: {remedy.reason or remedy.verdict}."
    click.echo(f"{remedy.remedy}: {remedy.title}.{note}")


def _home(recording: Recording, folder: Path) -> str:
    home = recording.manifest.folder
    if not home or not os.path.isdir(home):
        raise NothingApplied(f"the run recorded in {folder} ran in {home or 'an unknown folder'}, which is not here. Name the folder "
                             "of the sources with --folder.")
    return home


def chosen(remedies: Sequence[Remedy], wanted: str | None, *, unsafe: bool) -> Remedy:
    """The remedy to apply. **Raises** NothingApplied, which says what there is, if there is none."""
    patches = [one for one in remedies if one.fix is not None]
    if wanted is not None:
        named = [one for one in remedies if one.remedy == wanted]
        able = [one for one in named if one.fix is not None]
        if not named:
            raise NothingApplied(f"no remedy here is called {wanted!r}. {_what_there_is(remedies)}")
        if not able:
            raise NothingApplied(f"{wanted} has no patch: {named[0].reason or 'it is a change to a running training'}.")
        remedy = next((one for one in able if one.verdict == "verified"), able[0])
        if remedy.verdict == "refused":
            raise NothingApplied(f"{wanted} was refused: {remedy.reason}.")
        if remedy.applicability != "safe" and not unsafe:
            raise NothingApplied(f"{wanted} is {remedy.applicability}: it trains otherwise from then on. Add --unsafe to apply it.")
        return remedy
    verified = [one for one in patches if one.verdict == "verified"]
    able = [one for one in verified if unsafe or one.applicability == "safe"]
    if able:
        return able[0]
    if verified:
        raise NothingApplied(f"no safe patch was verified. {_what_there_is(remedies)} Add --unsafe to apply {verified[0].remedy}.")
    raise NothingApplied(f"no patch was verified. {_what_there_is(remedies)}")


def _what_there_is(remedies: Sequence[Remedy]) -> str:
    if not remedies:
        return "This recording holds no remedies."
    seen = dict.fromkeys(
        f"{one.remedy} ({one.applicability}, {one.verdict.replace('_', ' ')}{', no patch' if one.fix is None else ''})" for one in remedies
    )
    return f"There is: {', '.join(seen)}."


def apply_fix(fix: Fix, root: Path) -> list[str]:
    """Change the files of `fix` below `root`, all or none. **Returns** their paths as they were named.

    **Raises** NothingApplied if one cannot be read or written, or is no longer what it was.
    """
    from stayfinite.records.fix import CannotApply, apply

    new: list[tuple[str, Path, bytes]] = []
    for file in fix.files:
        path = Path(os.path.realpath(root / file))
        try:
            raw = path.read_bytes()
            encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
            text = raw.decode(encoding)
            after = apply(text, [edit for edit in fix.edits if edit.file == file])
            new.append((file, path, after.encode(encoding)))
        except CannotApply as error:
            raise NothingApplied(f"{error}. The source has changed since the run; run it again, then fix. Nothing was changed.") from None
        except (OSError, SyntaxError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NothingApplied(f"{path} cannot be read: {reason}. Nothing was changed.") from None
    _write_all([(path, content) for _, path, content in new])
    return [file for file, _, _ in new]


def _write_all(files: Sequence[tuple[Path, bytes]]) -> None:
    """Write every file beside its place first; then put them there. Where one cannot be put, the others are put back."""
    ready: list[tuple[Path, str]] = []
    done: list[tuple[Path, bytes]] = []
    try:
        for path, content in files:
            handle, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            ready.append((path, made))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            shutil.copymode(path, made)
        for path, made in ready:
            before = path.read_bytes()
            os.replace(made, path)
            done.append((path, before))
    except OSError as error:
        for path, before in done:
            with contextlib.suppress(OSError):
                path.write_bytes(before)
        raise NothingApplied(f"{error.filename or 'a file'} cannot be written: {error.strerror or error}. Nothing was changed.") from None
    finally:
        for _, made in ready:
            with contextlib.suppress(OSError):
                os.unlink(made)
