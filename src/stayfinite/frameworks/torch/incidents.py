"""What is done about a step that went bad: held, repeated, explained, and left in the state it belongs in."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from types import FrameType

import msgspec

from stayfinite import shield
from stayfinite.engine.ports import Investigate, Investigation, Listener, Outcome, Readings
from stayfinite.errors import TrainingHalted
from stayfinite.frameworks.torch import describe
from stayfinite.frameworks.torch.births.finding import Births
from stayfinite.frameworks.torch.clock import Clock
from stayfinite.frameworks.torch.describing import (
    INVESTIGATION,
    WITHOUT,
    broke,
    is_explained,
    origin_in_state,
    part,
    symptom_of,
    unexplained,
)
from stayfinite.frameworks.torch.evaluation import Call, Repetition
from stayfinite.frameworks.torch.inquiry import Inquiry
from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.options import Options
from stayfinite.frameworks.torch.outcomes import ending, is_held, latched
from stayfinite.frameworks.torch.outlying import outlying
from stayfinite.frameworks.torch.passes import Failure, Scene, fingerprint, shown
from stayfinite.frameworks.torch.recovery import Recovery
from stayfinite.frameworks.torch.room import lacking
from stayfinite.frameworks.torch.sensors import Sensors
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.frameworks.torch.surveys import SUSPICIONS
from stayfinite.frameworks.torch.trying import trier, user_sources
from stayfinite.frameworks.torch.undoing import copies_needed, hold_back, moved_parameters
from stayfinite.records.finding import Warning
from stayfinite.records.incident import Case, Configuration, Incident, Symptom
from stayfinite.records.numbers import to_float, to_number
from stayfinite.records.recovery import Measure
from stayfinite.records.survey import Birth, Making
from stayfinite.rewrite.runtime import Attempt

REPLAYED_OFTEN = 3
"""Times in a row that the same symptom, investigated, comes from the same origin: from then on it is counted."""
GROWING = frozenset({"divergence"})
"""Finite symptoms that a run recovers from: the loss does not come back by itself."""
STORED = 3
"""Steps stored for a replay in one run: each may take 256 MB, and the first ones say most."""
_UNWRAPPED = "watch() cannot wrap a loop that runs already; give the step to guard.step, or use `stayfinite run`"


class Incidents:
    """Handles the failures of one session."""

    def __init__(
        self,
        listener: Listener,
        options: Options,
        investigate: Investigate,
        readings: Readings,
        live: Live,
        sensors: Sensors,
        relative: Callable[[str], str],
        births: Births,
        look_back: Callable[[Case, Scene, float], Case] | None = None,
    ) -> None:
        self._births = births
        self._look_back = look_back
        self._listener = listener
        self._options = options
        self._investigate = investigate
        self._readings = readings
        self._live = live
        self._sensors = sensors
        self._relative = relative
        self._spent = 0.0
        self.clock = Clock()
        self._known: dict[tuple[str, ...], tuple[int, Incident]] = {}
        self._told = False
        self._kept: set[str] = set()
        """Incidents whose step was stored, or found too large to be."""
        self.suspect: Callable[[Symptom], None] = lambda _symptom: None
        """Told of finite symptoms that a survey may explain."""
        self.recovery: Recovery | None = None
        """What heals the run, if that is wanted."""

    @property
    def told(self) -> bool:
        """True if any step has failed so far."""
        return bool(self._known) or self._told

    def finite_symptoms(self) -> Failure | None:
        """Tell what the finite detectors saw; a failure if the run is to stop there (``--stop-on``), or to recover from it."""
        for symptom in [*self._readings.take(), *self._live.pulse.take()]:
            if symptom.detector in SUSPICIONS:
                self.suspect(symptom)
                continue
            if symptom.detector in self._options.stop_on or (self.recovery is not None and symptom.detector in GROWING):
                return Failure(
                    symptom.detector, symptom.step, symptom.series, to_float(symptom.value), committed=True, finite=symptom
                )
            self._listener.finite(symptom, self._readings.windows())
            self.suspect(symptom)
        return None

    def finite_case(self, symptom: Symptom, scene: Scene) -> Case:
        """The case of a symptom whose numbers are finite; `scene`: a step in which it can be looked into."""
        failure = Failure(symptom.detector, symptom.step, symptom.series, to_float(symptom.value), committed=True, finite=symptom)
        case = self._case(failure, scene)
        clip = self._live.clipped  # the step is over, and what it clipped forgotten
        if clip is None:
            return case
        configuration = msgspec.structs.replace(case.configuration, clip_norm=clip.limit, clipped_norm=to_number(clip.norm))
        return msgspec.structs.replace(case, configuration=configuration)

    def handle(self, failure: Failure, scene: Scene, inquire: Callable[[], Inquiry]) -> Iterator[Attempt]:
        """Yield the repetitions that the investigation asks for, then tell and, if so wanted, halt. Whatever of this
        breaks: the step is undone, and told with what is known of it.

        **Raises** `TrainingHalted` when the incident stops the run; the state is that before the step.
        """
        moved = moved_parameters(scene, latched=failure.latched)
        undone: str | None = "the state before the step could not be put back"
        inquiry: Inquiry | None = None
        no_room: str | None = None
        with shield.shielded(INVESTIGATION, WITHOUT):
            no_room = lacking(scene.subjects, copies_needed(scene.window, failure))
            inquiry = inquire() if no_room is None else None
        if inquiry is None:
            with shield.shielded("undoing a step", WITHOUT):
                hold_back(scene, failure)
                undone = None
        incident: Incident | None = None
        with shield.shielded(INVESTIGATION, WITHOUT):
            incident = yield from self._examine(failure, scene, inquiry, no_room)
        if incident is None:
            incident = unexplained(Case(symptom_of(failure)), broke())
        explained = failure.error is None or failure.latched or is_explained(incident.case)
        held, note = is_held(failure, scene, moved)
        if explained:
            if failure.error is not None:
                self._announce(incident.case)
            if inquiry is not None:
                self._keep_case(incident, scene, inquiry)
        if inquiry is not None:
            with shield.shielded("undoing a step", WITHOUT):
                wrong = inquiry.finish()
                undone = f"{wrong} tensors could not be put back exactly" if wrong else None
        if undone is not None:
            held, note = False, undone
        if explained:  # else it is the user's own exception, and none of our business
            measure = self._conclude(incident, failure, scene, held, note)
            if measure is not None and self.recovery is not None:
                retaken = False
                if inquiry is not None and self.recovery.to_retake is not None and held:
                    with shield.shielded("taking a step after all", "it is left out"):
                        retaken = yield from inquiry.retake(self.recovery.around(scene), self._sensors, self._live)
                        inquiry.finish()
                        scene.here.attempt.error = None  # it is taken, or left out
                self.recovery.say_of(measure, retaken=retaken)
                self.recovery.leave()

    def _examine(
        self, failure: Failure, scene: Scene, inquiry: Inquiry | None, no_room: str | None
    ) -> Generator[Attempt, None, Incident]:
        live_outcome = Outcome(True, fingerprint(scene.window.losses, scene.here.norms, failure.names), shown(scene.window.losses))
        key = (failure.detector, failure.at, *failure.names)
        seen, previous = self._known.get(key, (0, None))
        if previous is not None and seen >= REPLAYED_OFTEN:
            return self._again(previous, failure)
        case = self._case(failure, scene)
        if failure.error is None:
            self._announce(case)
        unrepeatable = inquiry.unrepeatable if inquiry is not None else no_room or broke()
        if failure.finite is not None:
            unrepeatable = "the step itself is finite"
        elif shield.is_off(INVESTIGATION):
            unrepeatable = broke()
        elif previous is not None and self._spent > self._options.budget:
            unrepeatable = f"the {self._options.budget:g} s for repetitions were spent on earlier incidents"
        incident: Incident | None = None
        left = max(0.0, self._options.budget - self._spent)
        look = self._look_back
        with self.clock.paused(), shield.shielded(INVESTIGATION, WITHOUT):
            investigation = self._investigate(
                case, live_outcome, self._listener, repeatable=unrepeatable, budget=left,
                birth=lambda located: self._birth(located, scene.subjects, scene.frame),
                makings=lambda located: self.makings(located, scene.frame),
                look_back=None if look is None else lambda located: look(located, scene, left),
                try_out=trier(self._options, case, took=self.clock.ran, budget=left),
                sources=user_sources(self._options), treat=self.recovery is not None,
            )
            incident = yield from self.conduct(investigation, inquiry)
        if incident is None:
            incident = unexplained(case, broke())
        elif incident.case.origin is None and failure.finite is None and shield.is_off(INVESTIGATION):
            incident = msgspec.structs.replace(incident, case=msgspec.structs.replace(incident.case, not_located=broke()))
        self._spent += incident.seconds
        again = previous is not None and previous.id == incident.id
        self._known[key] = (seen + 1 if again else 1, incident)
        return incident

    def conduct(self, investigation: Investigation, inquiry: Inquiry | None) -> Generator[Attempt, None, Incident]:
        """Yield the repetitions that `investigation` asks for; the value is what it found. One that breaks is answered
        as one that could not be."""
        outcome: Outcome | None = None
        while True:
            try:
                request = investigation.send(outcome) if outcome is not None else next(investigation)
            except StopIteration as finished:
                found: Incident = finished.value
                return found
            outcome = None
            if inquiry is not None and not shield.is_off(INVESTIGATION):
                with shield.shielded(INVESTIGATION, WITHOUT):
                    outcome = yield from inquiry.repeat(request, self._sensors, self._live)
            outcome = outcome or Outcome(True, "", unrepeatable=broke())

    def _conclude(self, incident: Incident, failure: Failure, scene: Scene, held: bool, note: str) -> Measure | None:
        """Do something about the step, if that is wanted, and tell it. **Returns** what was done, which is still to be told."""
        stops = self._options.on_incident == "stop" and not failure.committed and failure.error is None
        stops = stops or (failure.finite is not None and failure.detector in self._options.stop_on)
        came_of_it, measure, why = ending(failure, stops), None, ""
        guarded = failure.at == "end" and not scene.here.stepped and not failure.harmless  # the script left it out by itself
        treated = self.recovery is not None and not stops and (failure.finite is not None or guarded or not failure.committed)
        if treated and self.recovery is not None and self.recovery.can_treat(failure, incident, scene):
            with shield.shielded("recovery", "the step is left out"):
                came_of_it, measure = self.recovery.treat(failure, incident, scene, held=held)
                stops, why = came_of_it == "stopped", measure.told
                if not stops:
                    scene.here.attempt.error = None  # the step is left out instead
        incident = msgspec.structs.replace(
            incident, held=held and (not failure.committed or not scene.here.stepped), hold_note=note, stopped=stops,
            harmless=failure.harmless, outcome=came_of_it,
        )
        self._tell(incident)
        if stops:
            if self.recovery is not None and measure is not None:
                self.recovery.say(measure)
            raise TrainingHalted(". ".join(filter(None, (describe.summary(incident), why))), incident)
        return measure

    def _announce(self, case: Case) -> None:
        with shield.shielded("telling an incident"):
            self._listener.symptom(case.symptom, case.windows)

    def _tell(self, incident: Incident) -> None:
        with shield.shielded("telling an incident"):
            self._listener.incident(incident)

    def _keep_case(self, incident: Incident, scene: Scene, inquiry: Inquiry) -> None:
        """Store the step for `stayfinite replay`, the first time this incident happens."""
        if not self._options.keep_case or incident.id in self._kept:
            return
        if len(self._kept) >= STORED:
            told = f"the step of incident {incident.id} is not stored: {STORED} steps of this run are"
            self._listener.warning(Warning("case-not-kept", f"{told}; a replay runs the script from its start"))
            return
        self._kept.add(incident.id)
        with shield.shielded("stored step"):
            made = list(self._live.made)
            reason = inquiry.keep(scene, lambda: self._listener.case_folder(incident.id), incident.id, made)
            if reason is not None:
                told = f"the step of incident {incident.id} is not stored: {reason}"
                self._listener.warning(Warning("case-not-kept", f"{told}; a replay runs the script from its start"))

    def _again(self, previous: Incident, failure: Failure) -> Incident:
        """The same symptom once more: told with its own step and value, not investigated again."""
        symptom = msgspec.structs.replace(previous.case.symptom, step=failure.step, value=to_number(failure.value))
        case = msgspec.structs.replace(previous.case, symptom=symptom)
        return msgspec.structs.replace(previous, case=case, seconds=0.0)

    def evaluated(self, call: Call, subjects: Subjects) -> None:
        """A model gave NaN outside of any training pass: told, located by calling it again, and nothing is stopped."""
        step, location = self._live.updates.last, describe.user_location(self._relative)
        symptom = Symptom(
            "nonfinite-evaluation", max(step, 0), "evaluation", "nan", limit_source="NaN is no prediction", location=location
        )
        repetition = Repetition(call, subjects, self._relative)
        names = call.names
        case = Case(
            symptom, windows=self._readings.windows(),
            batch=part("batch", lambda: describe.batch(names), ()),
            batch_size=part("batch size", lambda: describe.batch_size(names), None),
            parameters=part("parameters", lambda: describe.parameters(subjects), ()),
            configuration=part("configuration", lambda: describe.configuration(subjects, self._live), Configuration()),
        )
        self._announce(case)
        investigation = self._investigate(
            case, Outcome(True, "nan"), self._listener, repeatable=None, budget=max(0.0, self._options.budget - self._spent),
            birth=lambda located: self._birth(located, subjects, None),
            makings=lambda located: self.makings(located, None),
        )
        outcome: Outcome | None = None
        with self.clock.paused():
            try:
                while True:
                    request = investigation.send(outcome) if outcome is not None else next(investigation)
                    outcome = repetition.repeat(request)
            except StopIteration as finished:
                incident: Incident = finished.value
        self._spent += incident.seconds
        self._tell(msgspec.structs.replace(incident, stopped=False, harmless=True, outcome="continued"))

    def outside_any_block(self, failure: Failure, subjects: Subjects, *, ended: bool = False) -> None:
        """A bad step in a loop that was not wrapped: held by not being taken; nothing can be repeated. `ended`: the script
        had ended when it was seen, so nothing is left to stop.

        **Raises** `TrainingHalted` when the incident stops the run.
        """
        self._told = True
        case = Case(
            symptom_of(failure), origin=origin_in_state(failure, subjects), windows=self._readings.windows(),
            parameters=part("parameters", lambda: describe.parameters(subjects), ()),
            configuration=part("configuration", lambda: describe.configuration(subjects, self._live), Configuration()),
        )
        self._announce(case)
        reason = "the step is not inside a loop that could be wrapped" if self._options.wraps else _UNWRAPPED
        if shield.is_off("transaction"):
            reason = f"what repeats steps broke before: {shield.failures['transaction']}"
        if ended:
            reason = "the step was seen to be bad after the script had ended"
        elif failure.before:
            reason = "it was seen when no step was running"
        incident: Incident | None = None
        with shield.shielded(INVESTIGATION, WITHOUT):
            investigation = self._investigate(
                case, Outcome(True, ""), self._listener, repeatable=reason, budget=0.0,
                birth=lambda located: self._birth(located, subjects, None),
                makings=lambda located: self.makings(located, None),
            )
            while incident is None:
                try:
                    next(investigation)
                except StopIteration as finished:
                    incident = finished.value
        if incident is None:
            incident = unexplained(case, broke())
        stops = self._options.on_incident == "stop" and not failure.committed and not ended
        note = failure.hold_note or (latched(failure) if failure.latched else "")
        incident = msgspec.structs.replace(
            incident, held=failure.held, hold_note=note, stopped=stops, harmless=failure.harmless,
            outcome=ending(failure, stops),
        )
        self._tell(incident)
        if stops:
            raise TrainingHalted(describe.summary(incident), incident)

    def _birth(self, case: Case, subjects: Subjects, frame: FrameType | None) -> Birth | None:
        with shield.shielded("the search for who made bad state", WITHOUT):
            return self._births.of(case, subjects, frame)
        return None

    def makings(self, case: Case, frame: FrameType | None) -> tuple[Making, ...]:
        """The lines of the source that made what failed in `case`; `frame`: where the training loop runs."""
        with shield.shielded("the search for the lines that made what failed", WITHOUT):
            from stayfinite.frameworks.torch.births.makings import makings  # a run without incidents reads no source

            return makings(case, frame, self._relative)
        return ()

    def _configuration(self, subjects: Subjects, frame: FrameType) -> Configuration:
        described = describe.configuration(subjects, self._live)
        return self._births.configured(described, self._readings.windows(), subjects, frame)

    def _case(self, failure: Failure, scene: Scene) -> Case:
        error = failure.error
        bound = scene.frame.f_locals | (scene.window.passes[-1].saved.names if failure.late else {})  # of the bad step, not of this one
        own = {name: value for name, value in bound.items() if name in scene.block.stored}
        names = {name: value for name, value in bound.items() if name in scene.block.loaded} | own
        subjects, versions = scene.subjects, scene.window.versions if failure.step == 0 else ()
        return Case(
            symptom_of(failure),
            windows=self._readings.windows(),
            batch=part("batch", lambda: describe.batch(names, subjects.parameter_names), ()),
            batch_size=part("batch size", lambda: describe.batch_size(own) or describe.batch_size(names), None),
            parameters=part("parameters", lambda: describe.parameters(subjects), ()),
            configuration=part("configuration", lambda: self._configuration(subjects, scene.frame), Configuration()),
            exception=part("exception", lambda: describe.exception_info(error, self._relative), None) if error else None,
            overwritten=part("parameters", lambda: describe.overwritten(subjects, versions), ()),
            outlying=part("state", lambda: outlying(subjects), ()), run_step=scene.window.of_run(failure.step),
        )
