"""Failures whose numbers stay finite: a suspicion, one repeated step under the microscope, and what there is to tell.

    suspicion  --next step: snapshot before it-->  survey after it  -->  told | once more, later | wait | dropped

A suspicion costs a run at most three repeated steps, inside the budget for replays. What a survey does not explain is not
told. A gradient that was alive and died is told only when it stayed dead: a clipped objective comes back with new data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from types import FrameType
from typing import Protocol

import msgspec

from stayfinite import shield
from stayfinite.engine.ports import Examine, Examined, Listener, Outcome, Readings, TryOut
from stayfinite.errors import TrainingHalted
from stayfinite.frameworks.torch import describe
from stayfinite.frameworks.torch.clock import Clock
from stayfinite.frameworks.torch.inquiry import Inquiry
from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.options import Options
from stayfinite.frameworks.torch.passes import Scene
from stayfinite.frameworks.torch.recovery import Recovery
from stayfinite.frameworks.torch.rehearsal import ReplayLog
from stayfinite.frameworks.torch.room import lacking
from stayfinite.frameworks.torch.sensors import Sensors
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.frameworks.torch.trying import user_sources
from stayfinite.frameworks.torch.undoing import is_void
from stayfinite.records.incident import Case, Incident, Symptom
from stayfinite.records.numbers import to_float
from stayfinite.records.recovery import Measure
from stayfinite.records.survey import Making
from stayfinite.rewrite.runtime import Attempt

MOST = 3
"""Steps that are surveyed in a run."""
COPIES = 3
"""Of the state: before the step, after it, and the surveyor's own."""
AGAIN_AFTER = 20
"""Updates between two surveys that must agree; also those a gradient must stay dead for, once it was alive."""
SUSPICIONS = frozenset({"dead-gradient", "stalled-update", "gradient-explosion", "plateau"})
"""Detectors that only suspect."""


class Cases(Protocol):
    """Describes the step a survey is taken of. `clock`: of the session."""

    clock: Clock

    def finite_case(self, symptom: Symptom, scene: Scene) -> Case:
        """The step of `scene`, after `symptom`."""

    def makings(self, case: Case, frame: FrameType | None) -> tuple[Making, ...]:
        """The lines of the source that made what failed in `case`."""


class Surveys:
    """The surveys of one session. `examine`: ``None`` where nothing is surveyed."""

    def __init__(
        self, listener: Listener, options: Options, examine: Examine | None, readings: Readings, live: Live, sensors: Sensors,
        cases: Cases, log: ReplayLog,
    ) -> None:
        self._listener = listener
        self._options = options
        self._examine = examine
        self._readings = readings
        self._live = live
        self._sensors = sensors
        self._case = cases.finite_case
        self._makings = cases.makings
        self._log = log
        self.recovery: Recovery | None = None
        """What goes on with a change that ends a failure."""
        self._scene: Scene | None = None
        """The latest pass that took an update."""
        self._pending: list[Symptom] = []
        self._waiting: list[Incident] = []
        self._parts: dict[str, int] = {}
        """Incidents of a part of the network: when the first survey found them."""
        self._told: set[str] = set()
        self._tried: set[str] = set()
        """Incidents on which experiments were made."""
        self._cured = False
        """A remedy was verified: what is told later may be the same failure in another guise, and no time is spent on it."""
        self._taken = 0
        self._not_before = 0
        self._spent = 0.0
        self._clock = cases.clock

    @property
    def busy(self) -> bool:
        """True if the end of the coming pass matters here."""
        return bool(self._pending or self._waiting)

    def suspect(self, symptom: Symptom) -> None:
        """A detector fired on finite numbers."""
        if self._examine is not None and self._taken < MOST and all(symptom.detector != other.detector for other in self._pending):
            self._pending.append(symptom)

    def due(self, subjects: Subjects) -> bool:
        """True if everything has to be copied before the window that begins now."""
        if self._is_forced():
            return True
        if not self._pending or self._live.updates.coming < self._not_before:
            return False
        return lacking(subjects, COPIES) is None

    def _is_forced(self) -> bool:
        every = self._options.survey_every
        return bool(every) and self._live.updates.coming % every == 0

    def go_on(self, scene: Scene, inquire: Callable[[], Inquiry]) -> Generator[Attempt, None, bool]:
        """A healthy update was taken: tell what has been waited for, and survey the step if it has to be. The value is true
        if it was repeated: names come back when the pass is left, so that it is not repeated for anything else.

        **Raises** `TrainingHalted` where the user wants to stop at what is told.
        """
        self._scene = scene
        self._settle()
        due = bool(self._pending) and self._live.updates.last >= self._not_before
        every = self._options.survey_every
        forced = bool(every) and scene.window.full is not None and scene.window.first % every == 0
        if not due and not forced:
            return False
        no_room = lacking(scene.subjects, COPIES) or self.rebuilt(scene.subjects)
        if due and (no_room or not is_void(scene.window)):
            yield from self._survey(scene, inquire, no_room)
            return True
        if forced and no_room is None:
            yield from self._try_out(scene, inquire)
            return True
        return False

    def rebuilt(self, subjects: Subjects) -> str | None:
        """Why the step cannot be repeated, if it made parameters or an optimizer: nothing puts the old ones in their place."""
        known = {*subjects.parameter_names, *map(id, subjects.optimizers)}
        made = [p for root in subjects.roots for p in root.parameters()]
        if known.issuperset(map(id, [*made, *self._live.made])):
            return None
        return "it changes what the model or the optimizers are made of"

    def _survey(self, scene: Scene, inquire: Callable[[], Inquiry], no_room: str | None) -> Iterator[Attempt]:
        asked, self._pending = self._pending, []
        self._taken += 1
        started = time.monotonic()
        cases = [self._case(symptom, scene) for symptom in asked]
        if self._spent > self._options.budget:
            no_room = "the replay budget was spent before"
        if no_room is not None:
            for case in cases:
                examined, _ = yield from self._conduct(case, scene, no_room, None, None)
                self._conclude(case.symptom, examined)
            return
        results: list[tuple[Symptom, Examined]] = []
        inquiry = inquire()
        outcome: Outcome | None = None
        wrong = 1
        with self._clock.paused():
            try:
                for case in cases:
                    examined, outcome = yield from self._conduct(case, scene, inquiry.unrepeatable, inquiry, outcome)
                    results.append((case.symptom, examined))
                    if examined.incident is not None and (examined.certain or examined.incident.id in self._parts):
                        self._tried.add(examined.incident.id)
                        self._cured = self._cured or any(one.verdict == "verified" for one in examined.incident.diagnosis.remedies)
            finally:
                wrong = inquiry.finish()
        self._spent += time.monotonic() - started
        if wrong:
            self._taken = MOST
        for symptom, examined in results:
            self._conclude(symptom, examined)

    def _trier(self, case: Case) -> TryOut | None:
        from stayfinite.frameworks.torch.trying import trier  # a run without suspicions is not run again

        left = max(0.0, self._options.budget - self._spent)
        return trier(self._options, case, took=self._clock.ran, budget=left)

    def _conduct(
        self, case: Case, scene: Scene, reason: str | None, inquiry: Inquiry | None, outcome: Outcome | None, *, trial: bool = False
    ) -> Generator[Attempt, None, tuple[Examined, Outcome | None]]:
        """Have `case` examined, and answer all requests for the step as it is with the one repetition there is. `trial`: nothing
        is told of it, so nothing is tried on it."""
        assert self._examine is not None
        work = self._examine(
            case, self._listener, repeatable=reason, makings=lambda located: self._makings(located, scene.frame),
            budget=max(0.0, self._options.budget - self._spent) if inquiry is not None and not trial else 0.0,
            try_out=None if trial else self._trier(case), suspected=self._parts,
            sources=None if trial or self._cured else user_sources(self._options), tried=self._tried,
            treat=self.recovery is not None,
        )
        answer: Outcome | None = None
        while True:
            try:
                request = work.send(answer) if answer is not None else next(work)
            except StopIteration as finished:
                return finished.value, outcome
            if request.intervention is not None or request.purpose == "sharpness":
                assert inquiry is not None
                answer = yield from inquiry.repeat(request, self._sensors, self._live)
                continue
            if outcome is None:
                assert inquiry is not None
                outcome = yield from inquiry.repeat(request, self._sensors, self._live)
            answer = outcome

    def _conclude(self, symptom: Symptom, examined: Examined) -> None:
        incident, now = examined.incident, self._live.updates.last
        if incident is None:
            return
        if not examined.certain:
            first = self._parts.setdefault(incident.id, now)
            if now - first < AGAIN_AFTER:
                self._not_before = first + AGAIN_AFTER
                if self._taken < MOST:
                    self._pending.append(symptom)
                return
        if examined.whole and symptom.series.startswith("gradient_norm") and self._was_alive(symptom.series):
            self._waiting.append(incident)
            return
        self._tell(incident)

    def _norms(self, series: str) -> list[float]:
        window = next((one for one in self._readings.windows() if one.series == series), None)
        return [] if window is None else [*map(to_float, window.values)]

    def _was_alive(self, series: str) -> bool:
        return any(self._norms(series))

    def _dead_for(self, series: str) -> int:
        """How many of the latest norms are 0."""
        norms = self._norms(series)
        return next((count for count, value in enumerate(reversed(norms)) if value != 0.0), len(norms))

    def _settle(self, *, ended: bool = False) -> None:
        """Tell what was waited for, if it stayed dead long enough (`ended`: to the end), and drop it if it came back."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for incident in waiting:
            dead = self._dead_for(incident.case.symptom.series)
            if not dead:
                continue
            if ended or dead >= AGAIN_AFTER:
                self._tell(incident)
            else:
                self._waiting.append(incident)

    def _tell(self, incident: Incident) -> None:
        key = incident.id if incident.case.origin is not None else incident.case.not_located or incident.case.symptom.detector
        if key in self._told:
            return
        self._told.add(key)
        stops = incident.case.symptom.detector in self._options.stop_on
        if stops:
            incident = msgspec.structs.replace(incident, stopped=True, outcome="stopped")
        measure: Measure | None = None
        if self.recovery is not None and self._scene is not None and not stops:
            with shield.shielded("recovery"):
                incident, measure = self.recovery.examined(incident, self._scene)
        with shield.shielded("telling an incident"):
            (self._listener.incident if stops else self._listener.examined)(incident)
        if self.recovery is not None and measure is not None:
            self.recovery.say(measure)
            self.recovery.leave()
        if stops:
            raise TrainingHalted(describe.summary(incident), incident)

    def close(self) -> None:
        """The run ends: what stayed dead is told, and what was seen outside any block."""
        with shield.shielded("transaction"):
            self._scene = None  # nothing follows that could go on otherwise
            self._settle(ended=True)
            for symptom in self._readings.take():
                if symptom.detector == "dead-gradient" and not self._is_dead_to_the_end(symptom):
                    continue
                if symptom.detector in ("dead-gradient", "divergence") and self._live.unwrapped_steps:
                    self._listener.finite(symptom, self._readings.windows())

    def _is_dead_to_the_end(self, symptom: Symptom) -> bool:
        losses = next((one.values for one in self._readings.windows() if one.series == "loss"), ())
        return self._dead_for(symptom.series) > 0 and bool(losses) and losses[-1] != 0.0

    def _try_out(self, scene: Scene, inquire: Callable[[], Inquiry]) -> Iterator[Attempt]:
        """For self-tests: survey a healthy step, and note what would be told if everything were suspected of it."""
        step = self._live.updates.last
        symptoms = [Symptom(name, step, "gradient_norm", 0.0) for name in sorted(SUSPICIONS)]
        cases = [self._case(symptom, scene) for symptom in symptoms]
        inquiry = inquire()
        outcome: Outcome | None = None
        told: list[str] = []
        try:
            if inquiry.unrepeatable is None:
                for case in cases:
                    examined, outcome = yield from self._conduct(case, scene, None, inquiry, outcome, trial=True)
                    found = examined.incident
                    if found is not None:
                        origin = found.case.origin
                        place = f"{origin.op} at line {origin.location.line}" if origin is not None else found.case.not_located
                        told.append(f"{case.symptom.detector}: {place}")
        finally:
            wrong = inquiry.finish()
        self._log.note_survey(step, outcome, wrong, told, inquiry.unrepeatable)
