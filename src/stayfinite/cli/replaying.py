"""Repeats the failing step of a recording in this process, which must be a fresh one."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stayfinite import shield
from stayfinite.cli.runner import CannotStart, Target, become, find, print_traceback, run
from stayfinite.errors import RecordingError, ReplayError
from stayfinite.frameworks.hooks import when_imported
from stayfinite.frameworks.torch.options import Options
from stayfinite.frameworks.torch.stored import disk
from stayfinite.recording.layout import CASES, file_name
from stayfinite.recording.reader import read_recording
from stayfinite.records.finding import Warning
from stayfinite.records.incident import Case, Incident, Symptom
from stayfinite.records.manifest import NOTEBOOK, Manifest
from stayfinite.records.numbers import show
from stayfinite.records.recording import Record, Recording, Stage, gather
from stayfinite.records.recovery import Measure, Toll
from stayfinite.records.series import Window
from stayfinite.rewrite import runtime
from stayfinite.rewrite.loader import Rewriter, execute, read_source
from stayfinite.rewrite.quiet import muted_descriptors

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.stored.session import ReplaySession

AGAIN, NOT_AGAIN = 0, 1
"""Exit codes: the step failed again, or it did not. What cannot be replayed raises and ends with 2."""


@dataclass
class _Found:
    """Keeps what the session says. Implements `engine.ports.Listener`; nothing reaches the disk."""

    records: list[Record] = field(default_factory=list)

    def symptom(self, symptom: Symptom, windows: tuple[Window, ...]) -> None:
        self.records.append(symptom)

    def finite(self, symptom: Symptom, windows: tuple[Window, ...]) -> None:
        """The recording told of it already."""

    def examined(self, incident: Incident) -> None:
        """The same."""

    def stage(self, incident: str, name: str) -> None:
        self.records.append(Stage(incident=incident, name=name))  # type: ignore[arg-type]

    def located(self, case: Case) -> None:
        self.records.append(case)

    def incident(self, incident: Incident) -> None:
        self.records.append(incident)

    def measure(self, measure: Measure | Toll) -> None:
        self.records.append(measure)

    def warning(self, warning: Warning) -> None:
        self.records.append(warning)

    def case_folder(self, incident: str) -> Path | None:
        return None


@dataclass(frozen=True)
class Chosen:
    """A recording, the incident of it that is replayed, and where its step is stored (if it is)."""

    recording: Recording
    incident: Incident
    folder: Path

    @property
    def case(self) -> Path | None:
        """The folder of the stored step, or ``None`` if none was kept."""
        place = self.folder / CASES / file_name(self.incident.id)
        return place if disk.has_case(place) else None

    @property
    def target(self) -> Target:
        """What ran, as it was named then."""
        manifest = self.recording.manifest
        return Target(None if manifest.module else _script_of(manifest), manifest.module, manifest.argv)


def choose(folder: Path, wanted: str | None) -> Chosen:
    """The incident of the recording in `folder` to replay: `wanted` (the beginning of an id), else the one that
    stopped the run, else the first whose step was stored, else the first.

    **Raises**: `RecordingError` if there is no such recording or incident.
    """
    recording = read_recording(folder)
    incidents = recording.incidents
    if not incidents:
        raise RecordingError(f"{folder} holds no incident: nothing went bad in that run, so there is nothing to replay")
    if wanted is not None:
        incidents = tuple(incident for incident in incidents if incident.id.startswith(wanted))
        if len(incidents) != 1:
            known = ", ".join(incident.id for incident in recording.incidents)
            such = f"{len(incidents)} incidents whose id begins with {wanted!r}"
            raise RecordingError(f"{folder} holds {such}; it has {known}")
    place = Path(recording.folder or folder).absolute()  # the script may have run elsewhere, and is going to again
    found = [Chosen(recording, incident, place) for incident in incidents]
    return min(found, key=lambda chosen: (not chosen.incident.stopped, chosen.case is None))


def _script_of(manifest: Manifest) -> str:
    """The script's path: as it was given, where that still leads to it, else in the folder it was in."""
    with contextlib.suppress(OSError):
        if os.path.samefile(os.path.dirname(os.path.abspath(manifest.script)), manifest.folder):
            return manifest.script
    return os.path.join(manifest.folder, os.path.basename(manifest.script))


def replay(folder: Path, wanted: str | None, *, budget: float, color: bool | None) -> int:
    """Repeat the step and tell what it came to, on standard output.

    **Returns** 0 if it failed again, 1 if it did not.

    **Raises**: `RecordingError` if the recording cannot be used, `ReplayError` if the script does not get as far as the
    step or does not fit the recording.
    """
    chosen = choose(folder, wanted)
    if chosen.recording.manifest.script == NOTEBOOK:
        raise ReplayError("the training ran in a notebook, whose cells are in no script: run them again there")
    folder, case = chosen.folder, chosen.case
    layout = disk.read_layout(case) if case is not None else None
    go_there(chosen.recording.manifest)
    if case is None or layout is None:
        return _run_again(chosen, folder, budget=budget, color=color)
    name = chosen.recording.manifest.module or chosen.recording.manifest.script
    _say(f"replaying step {layout['step']} of {name}; what the script prints on its way there is muted")
    session, error = _repeat(chosen, case, budget)
    if session is None or not session.ended:
        return _refuse(error, layout)
    if session.refusal is not None:
        raise _explained(session.refusal, chosen, layout)
    assert session.incident is not None
    return _tell(session, session.incident, chosen, layout, folder, color=color)


def go_there(manifest: Manifest) -> None:
    """Enter the folder the script ran in. **Raises**: `ReplayError` if it cannot be entered."""
    there = manifest.working_directory or manifest.folder
    try:
        os.chdir(there)
    except OSError as error:
        raise ReplayError(f"the script ran in {there}, which cannot be entered: {error.strerror or error}") from error
    sys.path[0] = there


def _repeat(chosen: Chosen, case: Path, budget: float) -> tuple[ReplaySession | None, BaseException | None]:
    """Run the script until the stored step was repeated. Returns the session and what the script raised, if it did."""
    target = chosen.target
    try:
        path, package = find(target)
    except CannotStart as reason:
        raise ReplayError(f"the script cannot be run again: {reason}") from reason
    here = os.path.dirname(os.path.abspath(path))
    rewriter = Rewriter(here, lambda failed, error: shield.note_failure(f"wrapping {failed}", error))
    runtime.reserve()
    main = become(target, path, package, rewriter)
    sessions: list[ReplaySession] = []

    def attach() -> None:
        from stayfinite.engine.investigate import investigate
        from stayfinite.engine.monitor import Monitor
        from stayfinite.frameworks.torch.stored.session import ReplaySession

        options = Options(budget=budget, folder=os.path.realpath(here), keep_case=False)
        stored = disk.load_case(case)
        session = ReplaySession(_Found(), options, investigate, Monitor(), stored, chosen.incident)
        session.install()
        sessions.append(session)

    error: BaseException | None = None
    with _muted():
        forget = when_imported("torch", attach)
        try:
            code = rewriter.compile(read_source(path), os.path.abspath(path))
            execute(code, main)
        except (KeyboardInterrupt, RecordingError):
            raise
        except BaseException as raised:
            error = raised
        finally:
            forget()
            for session in sessions:
                session.close()
    return (sessions[0] if sessions else None), error


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Nothing written to standard output and error inside reaches the terminal."""
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    with muted_descriptors():
        try:
            yield
        finally:
            for stream in (*streams, sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            sys.stdout, sys.stderr = streams


def _refuse(error: BaseException | None, layout: dict[str, Any]) -> int:
    """The script ended before the step: say how, and give up."""
    where = f"the loop in line {layout['block']['line']} of {layout['block']['file']}"
    if isinstance(error, SystemExit):
        raise ReplayError(f"the script left with exit code {error.code} before it reached {where}") from error
    if error is not None:
        print_traceback(error)
        raise ReplayError(f"the script raised {type(error).__name__} before it reached {where}") from error
    raise ReplayError(f"the script ended without reaching {where}; it is not what was recorded, or that loop is gone")


def _explained(refusal: ReplayError, chosen: Chosen, layout: dict[str, Any]) -> ReplayError:
    changed = _changed(chosen, layout)
    return ReplayError(f"{refusal}; {changed}" if changed else str(refusal))


def _changed(chosen: Chosen, layout: dict[str, Any]) -> str:
    """A sentence about the source, if it is not what it was."""
    file = layout["block"]["file"]
    now = disk.digest_of(Path(chosen.recording.manifest.folder) / file)
    return f"{file} was edited since the recording" if now != layout["block"]["sha256"] else ""


# -- telling -----------------------------------------------------------------------------------------------------------


def _tell(
    session: ReplaySession, found: Incident, chosen: Chosen, layout: dict[str, Any], folder: Path, *, color: bool | None
) -> int:
    summary = found.case.replay
    if summary.not_tested is not None and not summary.attempts:
        raise ReplayError(f"the step was not repeated: {summary.not_tested}")
    changed = _changed(chosen, layout)
    if changed:
        _say(changed)
    if not found.reproduced:
        if summary.not_tested is not None:
            raise ReplayError(f"the step cannot be repeated: {summary.not_tested}")
        either = "; it did not fail again when it was recorded either" if not chosen.incident.reproduced else ""
        _say(f"the step did not fail this time{either}")
        _excuses(session, layout)
        return NOT_AGAIN
    from stayfinite.reporters import terminal
    from stayfinite.reporters.report import build_report

    report = build_report(gather([chosen.recording.manifest, found], folder=str(folder)))
    terminal.render(report, sys.stdout, color=color, folder=near(folder), incident=found.id)
    print()
    _say(_comparison(found, chosen.incident))
    return AGAIN


def _comparison(found: Incident, recorded: Incident) -> str:
    """Whether it is the same failure, in one sentence."""
    here, there = found.case.origin, recorded.case.origin
    text = "it happened again"
    if here is None or there is None:
        return f"{text}; where it began is not known"
    place, then = (f"{one.op} at {one.location.file}:{one.location.line}" for one in (here, there))
    if found.id != recorded.id:
        return f"the step failed again, but elsewhere: {place}; recorded was {then}"
    samples = f", samples {', '.join(map(str, here.samples[:10]))}" if here.samples else ""
    if here.samples != there.samples:
        return f"{text}: {place}{samples}; recorded were samples {', '.join(map(str, there.samples[:10])) or 'none'}"
    return f"{text}: {place}{samples}, as recorded"


def _excuses(session: ReplaySession, layout: dict[str, Any]) -> None:
    """What is different from the recorded process, as far as it is known."""
    from stayfinite.frameworks.torch.stored.capture import versions

    then, now = layout["made_with"], versions()
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            print(f"  {name} is {now.get(name, 'not there')}, and was {then.get(name, 'not there')}")
    for left in layout["left_out"]:
        print(f"  {left['what']} is not in the recording: {left['why']}")
    for note in dict.fromkeys(session.notes):
        print(f"  {note}")


def _say(text: str) -> None:
    print(f"stayfinite: {text}", flush=True)


def near(place: Path) -> str:
    """`place` as it is shortest from here."""
    relative = os.path.relpath(place)
    return relative if len(relative) < len(str(place)) else str(place)


# -- without a stored step ---------------------------------------------------------------------------------------------


def _run_again(chosen: Chosen, folder: Path, *, budget: float, color: bool | None) -> int:
    """Run the whole script once more, watched, and see whether the same incident comes."""
    recorded = chosen.incident
    reason = next(
        (w.message for w in chosen.recording.warnings if w.id == "case-not-kept" and recorded.id in w.message), None
    )
    _say(reason or f"the recording holds no step of incident {recorded.id}, as after `run --no-case` or where it was not replayed")
    _say("running the script again from its start; what follows is its own output")
    again = folder / f"again-{sum(1 for _ in folder.glob('again-*')) + 1}"
    if not os.access(folder, os.W_OK):
        again = Path(tempfile.mkdtemp(prefix="stayfinite-"))
    options = Options(on_incident="stop" if recorded.stopped else "skip", budget=budget, keep_case=False)
    run(chosen.target, options, folder=again, json_file=None, rewrite=True, color=color, quiet=True)
    return _compare_runs(chosen, again, color=color)


def _compare_runs(chosen: Chosen, again: Path, *, color: bool | None) -> int:
    from stayfinite.reporters import terminal
    from stayfinite.reporters.report import build_report

    recorded = chosen.incident
    second = read_recording(again)
    same = next((incident for incident in second.incidents if incident.id == recorded.id), None)
    told = same or next(iter(second.incidents), None)
    if told is not None:
        terminal.render(build_report(second), sys.stdout, color=color, folder=near(again), incident=told.id)
        print()
    if same is None:
        symptom = recorded.case.symptom
        what = f"{symptom.detector} ({show(symptom.value)}) in step {symptom.step}"
        now = "another incident came" if told else "nothing went bad now"
        _say(f"it did not happen again: {what} was recorded, {now}")
        return NOT_AGAIN
    step, then = same.case.symptom.step, recorded.case.symptom.step
    _say(f"{_comparison(same, recorded)}; in step {step}" + ("" if step == then else f", recorded in step {then}"))
    return AGAIN
