"""One watched run, from its first step to its report: takes what a session finds, keeps it, and tells it.

This is where recording and reporters meet the engine; it knows no framework until one has been imported by the user.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from stayfinite import __version__, shield
from stayfinite.frameworks.hooks import when_imported
from stayfinite.recording.writer import Recorder
from stayfinite.records.finding import Warning
from stayfinite.records.incident import Case, Incident, Symptom
from stayfinite.records.manifest import Closing, Manifest, Status
from stayfinite.records.numbers import show
from stayfinite.records.recording import Stage
from stayfinite.records.recovery import Measure, Toll
from stayfinite.records.series import Window
from stayfinite.rewrite import runtime

if TYPE_CHECKING:
    from stayfinite.children import Children, Family
    from stayfinite.frameworks.torch.options import Options
    from stayfinite.frameworks.torch.preventing import Prevention
    from stayfinite.frameworks.torch.session import Session
    from stayfinite.reporters.document import Report


_PRECURSORS = frozenset({"divergence", "loss-spike", "gradient-spike", "gradient-explosion"})
"""Finite symptoms that belong to the history of a failure that comes after them."""
_TOLD_AT_THE_END = frozenset({"loss-scale-misuse", "no-update-seen"})
"""Warnings that are told when all else is silent, too: something goes on doing harm, or what looks like a training was not watched."""
TOLD_IN_FULL = 5
"""Incidents of different origins that are told with everything on the terminal; a screen each."""
TOLD_IN_A_LINE = 20
"""Those after them, up to this many in all, get a line; the report has as many."""


class Watching:
    """A run that is watched. Implements `engine.ports.Listener`.

    **Arguments**

    - `manifest`: what runs. `folder`: where the recording goes; ``None`` for the default place, made on an incident only.
    - `options`: handed to the session of each framework.
    - `family`: in a child process, where its parent looks for what it finds; nothing is written elsewhere then.
    - `quiet`: tell nothing on the terminal. `color`: as for `reporters.terminal.render`.
    """

    def __init__(
        self, manifest: Manifest, options: Options, *, folder: Path | None = None, quiet: bool = False, color: bool | None = None,
        family: Family | None = None,
    ) -> None:
        self.recorder = Recorder(manifest, folder)
        self.options = options
        self.incidents: list[Incident] = []
        """Each id once: a training may go bad at every one of a million steps."""
        self._happened = 0
        self._measures = 0
        self._begun_again = 0
        self._rewound: list[tuple[int, int]] = []
        """Updates that were undone: from the first one to the last."""
        self.stopped = False
        self.symptoms = 0
        self.session: Session | None = None
        self.family = family
        self._quiet = quiet
        self._color = color
        self._told: set[str] = set()
        self._finite: list[Incident] = []
        self._started = time.monotonic()
        self._forget: list[Any] = []
        self._prevention: Prevention | None = None
        self._children: Children | None = None
        self._put_back: Callable[[], None] = lambda: None
        """Puts the framework's settings back for a script that begins again."""
        self._rewrite = False
        if folder is not None and not runtime.is_driven():  # a replay must not touch the recording its script made
            self.recorder.open()

    # -- beginning and end ---------------------------------------------------------------------------------------

    def attach(self, *, rewrite: bool = False) -> None:
        """Watch every framework as the user imports it. `rewrite`: the loops of spawned children are wrapped too."""
        self._rewrite = rewrite
        self._forget.append(when_imported("torch", self._attach_torch))
        with shield.shielded("notebook cells"):
            from stayfinite.rewrite.notebooks import wrap_cells

            undo = wrap_cells(lambda cell, error: shield.note_failure(f"wrapping {cell}", error))
            if undo is not None:
                self._forget.append(undo)

    def _attach_torch(self) -> None:
        if runtime.is_driven():
            return  # a script that calls `watch` runs under `stayfinite run` or `replay`, which watches it already
        with shield.shielded("torch session"):
            from stayfinite.engine.examine import examine
            from stayfinite.engine.investigate import investigate
            from stayfinite.engine.monitor import ALWAYS, Monitor
            from stayfinite.frameworks.torch.session import Session

            monitor = Monitor((*ALWAYS, *self.options.stop_on))
            policy = None
            if self.options.on_incident == "recover":
                from stayfinite.engine.recover import Policy

                policy = Policy(self._begun_again)
            self.session = Session(self, self.options, investigate, monitor, examine, policy)
            self.session.install()
            if self.options.prevent:
                from stayfinite.catalog.prevention import Chosen
                from stayfinite.frameworks.torch.preventing import Prevention

                self._prevention = Prevention(Chosen(self.options.prevent), self.session)
                self._forget.append(self._prevention.attach())
            if self.options.begins_again:
                from stayfinite.frameworks.torch.settings import settings

                self._put_back = settings()
            with shield.shielded("child processes"):
                if self._children is None:
                    self._watch_children()
            version = str(getattr(sys.modules["torch"], "__version__", ""))
            manifest = msgspec.structs.replace(self.recorder.manifest, framework="torch", framework_version=version)
            self.recorder.append(manifest)

    def _watch_children(self) -> None:
        from stayfinite.children import Children, family_of, when_child_ends

        if self.family is None:
            try:
                family = family_of(self.recorder.manifest, self.options, rewrite=self._rewrite, quiet=self._quiet)
            except OSError as error:  # a full disk: this process is watched all the same
                self.recorder.append(Warning("children-not-joined", f"child processes could not be watched: {error}"))
                return
            self._children = Children(family)
            self._children.watch(self._join)
        else:
            when_child_ends(self.log_rehearsals)

    def _join(self, family: Family) -> None:
        """In a forked child: from now on incidents go to the parent."""
        from stayfinite.children import when_child_ends

        self.family = family
        self.incidents = []
        when_child_ends(self.log_rehearsals)

    def gather(self) -> None:
        """In the parent, at the end: take over what child processes found. They told it already."""
        if self._children is None:
            return
        self._children.gather()
        for warning in self._children.told:
            self.recorder.append(warning)
        for incident in self._children.found:
            self.recorder.open()
            self._keep(incident)
            self._told.add(incident.id)

    def log_rehearsals(self) -> None:
        """For the self-test of replays (``STAYFINITE_REPLAY_LOG``): one JSON line per process."""
        place = os.environ.get("STAYFINITE_REPLAY_LOG")
        if not place or self.session is None:
            return
        with open(place, "a", encoding="utf-8") as file:
            file.write(json.dumps({"pid": os.getpid(), **self.session.rehearsed()}) + "\n")

    def end_session(self) -> int:
        """Stop watching, and record what is known at the end only. **Returns** how many updates were attempted."""
        for forget in self._forget:
            forget()
        self._forget.clear()
        session = self.session
        if session is None:
            return 0
        with shield.shielded("closing"):
            session.close()
            prevented = self._prevention.told() if self._prevention is not None else []
            for warning in (*session.closing_warnings(), *prevented):
                self.recorder.append(warning)
        return session.steps

    def begin_again(self, options: Options) -> None:
        """The script begins again with `options`, after `end_session`: what it comes to is told beside what was found."""
        self._note_precursors(self._finite)
        self._put_back()
        self.options, self.session, self._finite = options, None, []
        self.attach(rewrite=self._rewrite)

    def _note_precursors(self, before: Iterable[Incident]) -> None:
        """What came before a failure belongs to its history, which the incident's windows show."""
        for early in before:
            seen = early.case.symptom
            self.recorder.append(Warning("precursor", f"{seen.detector} at step {seen.step}: {show(seen.value)}, {seen.limit}"))

    def finish(self, exit_code: int, *, failed: bool = False) -> Report:
        """Stop watching, write the closing and the files of the report, and return it."""
        from stayfinite.reporters import json as json_reporter
        from stayfinite.reporters.report import build_report

        steps = self.end_session()
        for sensor, reason in shield.failures.items():
            self.recorder.append(Warning("sensor-off", f"{sensor} was switched off: {reason}"))
        if self.stopped or self._rewound:
            before = [early for early in self._finite if self.stopped or self._is_undone(early)]
            self._finite = [early for early in self._finite if not self.stopped and early not in before]
            self._note_precursors(before)
        if not self.stopped:
            for early in self._finite:
                self.recorder.open()
                self.recorder.append(early)
                self.incidents.append(early)
                if early.case.survey is not None and early.id not in self._told:
                    self._told.add(early.id)
                    self._tell(early)
        status: Status = "failed" if failed else "incident" if self.incidents else "recovered" if self._measures else "clean"
        torch = sys.modules.get("torch")
        self.recorder.close(
            Closing(
                status=status,
                steps=steps,
                seconds=time.monotonic() - self._started,
                exit_code=exit_code,
                framework="torch" if torch is not None else None,
                framework_version=str(getattr(torch, "__version__", "")) or None,
            )
        )
        report = build_report(self.recorder.recording())
        if self.recorder.folder is not None:
            self.recorder.save("report.json", json_reporter.to_bytes(report))
        return report

    def _is_undone(self, early: Incident) -> bool:
        symptom = early.case.symptom
        return symptom.detector in _PRECURSORS and any(first <= symptom.step <= last for first, last in self._rewound)

    # -- what a session says -------------------------------------------------------------------------------------

    def symptom(self, symptom: Symptom, windows: tuple[Window, ...]) -> None:
        self.symptoms += 1
        if self.family is None:
            self.recorder.open()
        self.recorder.append(symptom)

    def finite(self, symptom: Symptom, windows: tuple[Window, ...]) -> None:
        self._finite.append(Incident(id=f"{symptom.detector}-{symptom.series}", case=Case(symptom, windows=windows), stopped=False))
        self._say_finite(symptom)

    def _say_finite(self, symptom: Symptom) -> None:
        if not self._quiet:
            expected = f", expected {symptom.limit}" if symptom.limit else ""
            print(
                f"stayfinite: step {symptom.step}: {symptom.detector}: {symptom.series} {show(symptom.value)}{expected}; training goes on",
                file=sys.stderr,
            )

    def examined(self, incident: Incident) -> None:
        symptom = incident.case.symptom
        if symptom.detector not in _PRECURSORS:
            self._say_finite(symptom)
            self.recorder.open()
            self.incident(incident)
            return
        for place, early in enumerate(self._finite):
            if (early.case.symptom.detector, early.case.symptom.series) == (symptom.detector, symptom.series):
                self._finite[place] = incident
                return
        self._finite.append(incident)
        self._say_finite(symptom)

    def stage(self, incident: str, name: str) -> None:
        self.recorder.append(Stage(incident=incident, name=name))  # type: ignore[arg-type]

    def located(self, case: Case) -> None:
        self.recorder.append(case)

    def case_folder(self, incident: str) -> Path | None:
        """Where the state of an incident's step may be put; ``None`` if nothing can be written.

        A child process keeps none: a replay repeats steps in the process that it starts.
        """
        if self.family is not None:
            return None
        return self.recorder.case_folder(incident)

    def measure(self, measure: Measure | Toll) -> None:
        self.recorder.append(measure)
        self._measures += 1
        self._begun_again += isinstance(measure, Measure) and measure.kind == "begun-again"
        if isinstance(measure, Measure) and measure.back_to is not None:
            self._rewound.append((measure.back_to, measure.step))
        if isinstance(measure, Measure) and not self._quiet and (self._measures <= TOLD_IN_A_LINE or measure.kind == "gave-up"):
            with contextlib.suppress(OSError):
                print(f"stayfinite: step {measure.step}: {measure.told}", file=sys.stderr)

    def warning(self, warning: Warning) -> None:
        self.recorder.append(warning)

    def incident(self, incident: Incident) -> None:
        known = incident.id in self._told
        self._keep(incident)
        if self.family is not None:
            from stayfinite.children import send

            send(self.family, incident)
        if known or len(self._told) >= TOLD_IN_A_LINE:
            return
        self._told.add(incident.id)
        if len(self._told) <= TOLD_IN_FULL:
            self._tell(incident)
        elif not self._quiet:
            self._tell_in_a_line(incident)

    def _keep(self, incident: Incident) -> None:
        self.recorder.append(incident)
        self._happened += 1
        if incident.id not in self._told and len(self.incidents) < TOLD_IN_A_LINE:
            self.incidents.append(incident)
        self.stopped = self.stopped or incident.stopped

    def _tell_in_a_line(self, incident: Incident) -> None:
        symptom, origin = incident.case.symptom, incident.case.origin
        place = f", born in {origin.op} at {origin.location.file}:{origin.location.line}" if origin is not None else ""
        with contextlib.suppress(OSError):
            print(f"stayfinite: step {symptom.step}: {symptom.detector}{place}; the report has the rest", file=sys.stderr)

    def _tell(self, incident: Incident) -> None:
        if self._quiet:
            return
        with shield.shielded("terminal report"):
            from stayfinite.reporters import terminal
            from stayfinite.reporters.report import build_report

            report = build_report(self.recorder.recording())
            terminal.render(report, sys.stderr, color=self._color, incident=incident.id)
            if self.recorder.failure:
                print(f"stayfinite: the recording is not complete: {self.recorder.failure}", file=sys.stderr)

    def tell_end(self, report: Report) -> None:
        """One line about repeats, if there was more than was told, and one for each thing that the silence would hide."""
        if not self._quiet:
            with contextlib.suppress(OSError):
                for warning in report.warnings:
                    if warning.id in _TOLD_AT_THE_END:
                        print(f"stayfinite: {warning.message}", file=sys.stderr)
        extra = self._happened - len(self._told)
        if extra > 0 and not self._quiet:
            others = len(self._told) >= TOLD_IN_A_LINE
            way = "too, in these or other ways" if others else "in the same way"
            with contextlib.suppress(OSError):
                print(f"stayfinite: {extra} further steps failed {way}", file=sys.stderr)


def manifest_of(script: str, argv: tuple[str, ...], *, module: str | None = None, folder: str = "") -> Manifest:
    """The manifest of a run that begins now."""
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    here = ""
    with contextlib.suppress(OSError):  # it may have been removed
        here = os.getcwd()
    return Manifest(
        version=__version__, script=script, argv=argv, module=module, framework=None,
        folder=folder or here, started=started, working_directory=here,
    )
