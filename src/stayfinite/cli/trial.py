"""The process of a trial (`rewrite.trials`): runs the script, watched, and writes a journal of its losses and its end.

    python -m stayfinite.cli.trial REQUEST JOURNAL     one trial
    python -m stayfinite.cli.trial --serve MODULE...   one for each line ``SECONDS REQUEST\\0JOURNAL`` of standard input
"""

from __future__ import annotations

import gc
import importlib
import linecache
import os
import select
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from stayfinite.cli.program import CannotStart, Target, become, code_of, find
from stayfinite.cli.tracebacks import exit_code
from stayfinite.frameworks.hooks import when_imported
from stayfinite.records.encoding import encode
from stayfinite.records.numbers import show
from stayfinite.records.recovery import Measure, Toll
from stayfinite.rewrite import runtime
from stayfinite.rewrite.beginning import BEGUN, begin_again
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.loader import Rewriter, execute
from stayfinite.rewrite.scratch import PAST_PYTHON, Scratch
from stayfinite.rewrite.trials import Asked, Ended, TrialRequest, sweep

if TYPE_CHECKING:
    from stayfinite.engine.monitor import Monitor
    from stayfinite.engine.ports import FindBirth, FindMakings, Investigation, Listener, Outcome, TryOut
    from stayfinite.frameworks.torch.interventions.living import Living
    from stayfinite.frameworks.torch.session import Session
    from stayfinite.records.finding import Warning
    from stayfinite.records.incident import Case, Incident, Symptom
    from stayfinite.records.series import Window
    from stayfinite.rewrite.runtime import Attempt

PRELOADED = (
    "numpy", "torch", "torch.utils.data", "torch._dynamo", "torch.optim.swa_utils",
    "stayfinite.engine.examine", "stayfinite.engine.mechanisms", "stayfinite.engine.monitor", "stayfinite.frameworks.torch.session",
)
"""Imported once by the server. `torch._dynamo` because the first optimizer of a process imports it, for over a second."""
IDLE = 60.0
"""Seconds without a request after which a server ends."""
FOR_SURVEYS = 20.0
"""Seconds for the repeated steps that tell whether a suspicion (no gradient, no update, a plateau) is one."""


class Witness:
    """Sees what the session tells, writes the journal, and ends the process (`engine.ports.Listener`)."""

    def __init__(self, request: TrialRequest, journal: int) -> None:
        self.request = request
        self.session: Session | None = None
        self.living: Living | None = None
        self.updates = 0
        self._journal = journal
        self._deadline = time.monotonic() + request.seconds
        self._process = os.getpid()
        self._finite: Symptom | None = None
        self._ending = False

    def note_loss(self, step: int, value: float) -> None:
        """A loss was differentiated."""
        if os.getpid() != self._process:
            return
        os.write(self._journal, f"{self.of_run(step)} {value!r}\n".encode())
        if time.monotonic() > self._deadline:
            self.end("time", f"the {self.request.seconds:.0f} s were over after {self._taken()} updates")

    def is_enough(self) -> bool:
        """True once all updates that were asked for have been taken."""
        return 0 < self.request.steps <= self._taken()

    def close(self) -> None:
        """The run is over: what was not looked at yet is looked at now, and may end it otherwise."""
        if self.session is not None and not self._ending:
            self._ending = True
            self.session.close()

    def end(self, how: Literal["steps", "end", "time", "symptom", "error", "refused"], note: str = "",
            symptom: Symptom | None = None) -> None:
        """Write how the trial ended, and leave this process at once. Nothing in a child of it."""
        if os.getpid() != self._process:
            return
        if how in ("steps", "end") and not self._taken():
            how, note = "refused", f"no update was seen: {note}"
        elif self.living is not None and not self.living.applied and how not in ("refused", "error"):
            how, note, symptom = "refused", "the run has nothing there to change", None
        seen = symptom or self._finite
        step = self.of_run(seen.step) if seen else -1
        ended = Ended(how, self._taken(), seen.detector if seen else "", step, note)
        if how == "symptom" and seen is not None and seen.series.startswith("loss"):
            ended = msgspec.structs.replace(ended, loss=seen.value)
        os.write(self._journal, encode(ended) + b"\n")
        os._exit(0)  # threads and workers the script began are not waited for, and its handlers not asked

    def _taken(self) -> int:
        """Updates so far, in all trainings of the run."""
        return self.session.live.updates.rounds if self.session is not None else 0

    def of_run(self, step: int) -> int:
        """A step that the session counts, counted over all trainings of the run."""
        if self.session is None:
            return step
        return self.session._scene.window.of_run(step) if self.session._scene is not None else self.session.live.updates.of_run(step)

    def refuse(self, wanted: str) -> None:
        """The script wants to do what a trial must not."""
        self.end("refused", f"{wanted}, which a trial must not do")
        raise PermissionError(wanted)  # in a child process

    # -- what a session says -----------------------------------------------------------------------------------------

    def symptom(self, symptom: Symptom, windows: tuple[Window, ...]) -> None:
        """Told again, with what it came to."""

    def finite(self, symptom: Symptom, windows: tuple[Window, ...]) -> None:
        if symptom.detector == self.request.watch_for:
            self._fail(symptom)
        self._finite = self._finite or symptom

    def examined(self, incident: Incident) -> None:
        self.finite(incident.case.symptom, ())

    def stage(self, incident: str, name: str) -> None:
        """Nothing is investigated."""

    def located(self, case: Case) -> None:
        """Nothing is looked for."""

    def incident(self, incident: Incident) -> None:
        symptom = incident.case.symptom
        if incident.stopped or incident.outcome == "raised" or not incident.harmless or symptom.detector == self.request.watch_for:
            self._fail(symptom)
        self._finite = self._finite or symptom

    def measure(self, measure: Measure | Toll) -> None:
        """Nothing is repaired in a trial."""

    def warning(self, warning: Warning) -> None:
        """Nobody reads them."""

    def case_folder(self, incident: str) -> Path | None:
        return None

    def _fail(self, symptom: Symptom) -> None:
        self._ending = True
        seen = f"{symptom.detector} at step {symptom.step}: {symptom.series} {show(symptom.value)}"
        self.end("symptom", seen, symptom)


class _Curve:
    """Readings (`engine.ports.Readings`) that tell the witness of every loss."""

    def __init__(self, monitor: Monitor, witness: Witness) -> None:
        self._monitor, self._witness = monitor, witness
        self.windows, self.take, self.begin_anew = monitor.windows, monitor.take, monitor.begin_anew

    def read(self, series: str, step: int, value: float) -> bool:
        if series.startswith("loss"):  # where a pass takes several updates, those of the later ones have numbers
            if 0 < self._witness.request.steps <= self._witness.of_run(step):  # a loop that is not wrapped has no other place to leave it
                self._witness.close()
                self._witness.end("steps")
            self._witness.note_loss(step, value)
        return self._monitor.read(series, step, value)


class _Counted:
    """The driver of a trial (`runtime.Driver`): the session's, until all steps are taken."""

    def __init__(self, session: Session, witness: Witness) -> None:
        self._session, self._witness = session, witness
        self._living: Living | None = None
        if witness.request.interventions:
            from stayfinite.frameworks.torch.interventions.living import Living

            witness.living = self._living = Living(witness.request.interventions, session._name, session.relative)

    def attempts(self, block: Block, frame: FrameType) -> Iterable[Attempt]:
        if self._witness.is_enough():
            self._witness.close()
            self._witness.end("steps")
        passes = self._session.attempts(block, frame)
        return passes if self._living is None else self._changed(passes, self._living)

    def _changed(self, passes: Iterable[Attempt], living: Living) -> Iterator[Attempt]:
        """The same, with the interventions of the trial performed while the user's code runs."""
        for attempt in passes:
            scene = self._session._scene
            if scene is None:
                yield attempt
                continue
            with living.around(scene):
                yield attempt
            if living.refused:
                self._witness.end("refused", living.refused)

    def advance(self, iterator: Iterator[Any], default: tuple[Any, ...]) -> Any:
        item = self._session.advance(iterator, default)
        if self._living is not None:
            self._living.note_item(item)
        return item


def _judge(
    case: Case, live: Outcome, listener: Listener, *, repeatable: str | None, budget: float, birth: FindBirth | None = None,
    look_back: Any = None, makings: FindMakings | None = None, try_out: TryOut | None = None, sources: Any = None, treat: bool = False,
) -> Investigation:
    """In the place of an investigation: an exception is traced once, because only that tells whose it is; nothing else is."""
    from stayfinite.engine.investigate import incident_id, investigate
    from stayfinite.records.incident import Incident

    if case.exception is not None:
        return (yield from investigate(case, live, listener, repeatable=repeatable, budget=0.0))
    return Incident(id=incident_id(case), case=case)


def _watch(witness: Witness, folder: str) -> None:
    """Watch the framework that has just been imported."""
    from stayfinite.engine.examine import examine
    from stayfinite.engine.monitor import ALWAYS, Monitor, finite_detectors
    from stayfinite.frameworks.torch.options import Options
    from stayfinite.frameworks.torch.session import Session

    asked = witness.request.watch_for
    monitor = Monitor((*ALWAYS, *([asked] if asked in finite_detectors() else [])))
    options = Options(budget=FOR_SURVEYS, every=witness.request.every, folder=folder, keep_case=False)
    witness.session = session = Session(witness, options, _judge, _Curve(monitor, witness), examine)
    session.install()
    if witness.request.prevent:
        from stayfinite.catalog.prevention import Chosen
        from stayfinite.frameworks.torch.preventing import Prevention

        Prevention(Chosen(witness.request.prevent), session).attach()
    runtime.set_driver(_Counted(session, witness))


def _try(request: TrialRequest, journal: int, folder: str) -> NoReturn:
    program = request.program
    witness = Witness(request, journal)
    scratch = Scratch(folder, witness.refuse)
    os.chdir(program.working_directory)
    target = Target(None if program.module else program.script, program.module, program.argv)
    path, package = find(target)
    changed = {os.path.realpath(name): text for name, text in request.sources.items()}
    for name, text in {**request.sources, **changed, path: changed.get(os.path.realpath(path), "")}.items():
        if text:  # tracebacks and compilers read the text that runs
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    rewriter = Rewriter(program.folder, lambda _path, _error: None, changed)
    scratch.take_over()
    for name in PAST_PYTHON:
        when_imported(name, partial(scratch.turn, name))
    runtime.reserve()
    module = become(target, path, package, rewriter)
    when_imported("torch", lambda: _watch(witness, program.folder))
    try:
        execute(code_of(target, module, path, rewriter), module)
    except SystemExit as leaving:
        code = exit_code(leaving)
        if code:
            witness.end("error", f"it ended with exit code {code}")
    except CannotStart as reason:
        witness.end("refused", str(reason))
    except BaseException as error:
        if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
            witness.end("refused", "there is not enough memory for it beside the run that is held")
        kept = "; a trial writes nothing outside of its own folder" if scratch.confined and "ermission" in str(error) else ""
        witness.end("error", _told(error) + kept)
    witness.close()
    witness.end("end", "it came to its end")
    os._exit(0)  # a child that the script forked came out here


def _told(error: BaseException) -> str:
    from stayfinite.rewrite.project import is_user_file

    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_user_file(f.filename)]
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    text = str(error).partition("\n")[0]
    return f"it was ended by {type(error).__name__}{': ' if text else ''}{text[:200]}{place}"


def _begin(asked: str, place: str) -> NoReturn:
    journal = os.open(place, os.O_WRONLY | os.O_APPEND)
    try:
        told = msgspec.json.decode(Path(asked).read_bytes(), type=Asked)
        begin_again(told.beginning)
        for name, begin in BEGUN.items():
            when_imported(name, partial(begin, told.beginning))
        _try(told.request, journal, os.path.dirname(place))
    except BaseException as error:
        os.write(journal, encode(Ended("refused", note=f"a trial could not begin: {_told(error)}")) + b"\n")
        os._exit(1)


# -- the server --------------------------------------------------------------------------------------------------------------


def _serve(modules: Sequence[str]) -> int:
    for name in (*PRELOADED, *modules):
        with suppress(Exception):  # a trial that needs it meets what went wrong
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children copy fewer pages
    os.write(1, b"ready\n")
    while select.select([0], [], [], IDLE)[0]:
        line = os.read(0, 65536).decode().strip()
        if not line:
            return 0
        seconds, _, paths = line.partition(" ")
        asked, _, place = paths.partition("\0")
        child = os.fork()
        if not child:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 0)
            os.dup2(nowhere, 1)
            _begin(asked, place)
        os.write(1, f"ended {_wait(child, float(seconds) + 3.0)}\n".encode())
    return 0


def _wait(child: int, seconds: float) -> str:
    """Wait for `child`; end it, and what it began, after `seconds` or when nobody waits for us any more."""
    until, pause = time.monotonic() + seconds, 0.005
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            sweep(child)
            return str(os.waitstatus_to_exitcode(status))
        gone = select.select([0], [], [], pause)[0]
        if gone or time.monotonic() > until:
            sweep(child)
            os.waitpid(child, 0)
            return "timeout"
        pause = min(0.05, pause * 1.2)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        os._exit(_serve(sys.argv[2:]))
    _begin(*sys.argv[1:])
