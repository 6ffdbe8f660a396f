"""Repeats one window in the user's frame, and puts the state where it belongs afterwards.

    post state  --restore start-->  attempt  --restore start-->  attempt  ...  --> start (held) or post (committed)

Everything a repetition may touch lies between one snapshot, taken when the inquiry begins, and its restore.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite import shield
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.errors import LeaveAttempt
from stayfinite.frameworks.torch import describe, hold
from stayfinite.frameworks.torch.generators import generator_states
from stayfinite.frameworks.torch.marks import content_undo
from stayfinite.frameworks.torch.passes import Failure, Scene
from stayfinite.frameworks.torch.repeat import Repeat
from stayfinite.frameworks.torch.scaling import at_scale
from stayfinite.frameworks.torch.sensors import Sensors, Watcher
from stayfinite.frameworks.torch.state import Copy, Snapshot, together
from stayfinite.frameworks.torch.stats import quietly
from stayfinite.frameworks.torch.subjects import Owners, successors
from stayfinite.frameworks.torch.undoing import asked_before, changed_unseen, counts, is_void, retake, rewind
from stayfinite.records.intervention import Effect
from stayfinite.rewrite.project import is_user_file
from stayfinite.rewrite.quiet import quiet
from stayfinite.rewrite.runtime import Attempt
from stayfinite.rewrite.saved import Saved
from stayfinite.rewrite.state import FrameworkState
from stayfinite.rewrite.undo import Unrepeatable

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.history.past import Past, Turn
    from stayfinite.frameworks.torch.history.ring import Ring
    from stayfinite.frameworks.torch.interventions.performing import Performer
    from stayfinite.frameworks.torch.tracing.tracer import Tracer


class Inquiry:
    """One window that is repeated.

    **Arguments**: the `scene` of the live step, and why it failed (None for a healthy step). `items` is what `advance`
    gives again in the repetition that is running.
    """

    def __init__(
        self,
        scene: Scene,
        failure: Failure | None,
        objects: FrameworkState,
        name: Callable[[Tensor], str],
        relative: Callable[[str], str],
        unrepeatable: str | None = None,
    ) -> None:
        window, here, plan, subjects, frame = scene.window, scene.here, scene.plan, scene.subjects, scene.frame
        self._window = window
        self._here = here
        self._subjects = subjects
        self._failure = failure
        self._name = name
        self._relative = relative
        self._frame = frame
        self._block, self._plan, self._objects = scene.block, plan, objects
        self.ring: Ring | None = None
        """What is remembered of earlier steps."""
        self._past: dict[int, Past | str] = {}
        self.items: list[Any] | None = None
        self.on_exit: Callable[[BaseException | None], bool] | None = None
        self._stop_at = asked_before(window, failure)
        self._post = Snapshot(subjects) if counts(failure) else None
        self._moments = Copy([value for o in subjects.optimizers for _, value in hold.state_tensors(o)]) if failure is None else None
        self._post_python = Saved(plan, frame.f_locals, frame.f_globals, objects)
        self._post_generators = generator_states()
        self._exit = here.attempt.exit, here.attempt.value, here.attempt.error
        self._doubt = changed_unseen(window)
        """Why no repetition counts: it begins with what the step left of its inputs. It may still show where a value was made."""
        self.unrepeatable = unrepeatable or plan.unrepeatable or (self._doubt if failure is None else None)
        self._given = [marks.content_undo() for one in window.passes for marks in one.marks] if self._doubt else []
        self._given += [content_undo(item) for one in window.passes if one.item_undo for kind, item in one.items if kind == "item"]
        self._void = is_void(window)
        self._walked_back = False
        self._given_names: dict[str, Any] | None = None
        self._births: dict[str, set[tuple[Any, ...]]] = {}
        try:
            self._arrive()
        except BaseException:
            self._return_from_start()
            raise

    # -- state ---------------------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        """Go to where the window began, and remember it."""
        window, subjects = self._window, self._subjects
        rewind(window, subjects)
        self._start = self._before_step = Snapshot(subjects)
        if retake(window, self._stop_at):
            self._before_step = Snapshot(subjects)
        if self.unrepeatable is None:
            self._walked_back = True
            try:
                window.passes[0].saved.restore()
            except Unrepeatable as reason:
                self.unrepeatable = str(reason)

    def _return_from_start(self) -> None:
        """Our own failure on the way there: leave all as it was found."""
        if self._walked_back:
            with suppress(Unrepeatable):
                self._post_python.restore()
        if self._post is not None:
            self._post.restore()
        self._post_generators()

    def _to_start(self) -> None:
        self._start.restore()
        self._window.passes[0].saved.restore()

    def finish(self) -> int:
        """Leave the state after the step, if it counts, else the state before it, and give the frame its names back.

        **Returns** how many parameters and buffers differ from what they should be; 0 means the restore was exact.
        """
        attempt = self._here.attempt
        kept = self._post if self._post is not None else self._before_step
        attempt.names = self._post_python.names
        if self._post is None and self._window.by_hand:  # parameters that were made anew: those before the step are the state
            before = self._window.passes[0].saved.names
            roots = {path.partition("[")[0] for path, _ in successors(before, attempt.names)}
            attempt.names = {**attempt.names, **{name: before[name] for name in roots}}
        attempt.again = True
        attempt.exit, attempt.value, attempt.error = self._exit
        try:
            for undo in self._given:
                undo()
            if self._walked_back:  # though in vain, where something refused: all the rest went back
                with suppress(Unrepeatable):
                    self._post_python.restore()
                if self._post is None:
                    with suppress(Unrepeatable):
                        self._window.passes[0].saved.restore_trained()
        finally:
            # last: a name of the script's may mean a parameter, whose content is among what it was given back
            kept.restore()
            wrong = kept.differing()
            self._post_generators()
        return wrong

    def keep(self, scene: Scene, folder: Callable[[], Path | None], incident: str, made: list[Optimizer]) -> str | None:
        """Store the step for a repetition in another process. Returns why it is not stored, or ``None``."""
        from stayfinite.frameworks.torch.stored.capture import save_case
        from stayfinite.frameworks.torch.stored.disk import CaseNotKept

        if self.unrepeatable is not None or self._doubt is not None or self._failure is None:
            return self.unrepeatable or self._doubt or "nothing failed"
        self._start.restore()
        try:
            save_case(
                folder, incident=incident, window=scene.window, plan=scene.plan, subjects=scene.subjects,
                frame=scene.frame, failure=self._failure, asked=self._stop_at, void=self._void, made=made,
                relative=self._relative,
            )
        except CaseNotKept as reason:
            return str(reason)
        return None

    # -- repeating -----------------------------------------------------------------------------------------------

    def repeat(self, request: ReplayRequest, sensors: Sensors, live: Watcher) -> Generator[Attempt, None, Outcome]:
        """Yield the window's attempts once more; the value is what they came to. More than one step: those before it, too, once
        they are seen to be the run again where nothing is changed."""
        if request.steps <= 1:
            outcome = yield from self._repeat(request, sensors, live, None)
            reach = self.ring.reach(self._window.first) if self.ring is not None else 1
            return msgspec.structs.replace(outcome, remembered=reach)
        past = self._past.get(request.steps) or self._remembered(request.steps)
        self._past[request.steps] = past
        if isinstance(past, str):
            return Outcome(True, "", unrepeatable=past, effect=Effect(refused=past))
        control: Outcome | None = None
        if past.lost is None:
            control = yield from self._repeat(ReplayRequest("control", steps=request.steps), sensors, live, past)
            past.lost = control.unrepeatable or past.compare(control.failed or self._failure is None)
        if past.lost:
            return Outcome(True, "", unrepeatable=past.lost, effect=Effect(refused=past.lost))
        if control is not None and request.purpose == "control":
            return control
        return (yield from self._repeat(request, sensors, live, past))

    def _remembered(self, steps: int) -> Past | str:
        if self.ring is None or self.unrepeatable is not None or self._doubt is not None:
            return self.unrepeatable or self._doubt or "earlier steps are not remembered"
        from stayfinite.frameworks.torch.history.past import remembered

        return remembered(self.ring, self._window, self._block, steps, self._subjects.optimizers)

    def _repeat(
        self, request: ReplayRequest, sensors: Sensors, live: Watcher, past: Past | None
    ) -> Generator[Attempt, None, Outcome]:
        attempt = self._here.attempt
        started = time.monotonic()
        watched = request.watched or request.purpose in ("unscaled", "trace", "survey")
        tracer = self._tracer(survey=request.purpose == "survey") if watched else None
        performer = self._performer(request)
        if performer is not None and performer.refused:
            return Outcome(True, "", unrepeatable=performer.refused, effect=Effect(refused=performer.refused))
        void = self._void and past is None  # what was taken before in this window is taken again from an earlier state
        watcher = Repeat(self._failure, self._stop_at, void=void, tracer=tracer, name=self._name, performer=performer)
        left = False
        broken: list[Exception] = []
        known = set(shield.failures)

        def on_exit(error: BaseException | None) -> bool:
            nonlocal left
            if error is None:
                return False
            left = True
            if isinstance(error, LeaveAttempt):
                return True
            if isinstance(error, Exception):
                try:
                    for value in describe.bad_scalars_of(error):
                        watcher.note_found(value)
                    watcher.note_exception(error, describe.exception_info(error, self._relative))
                except Exception as own:  # the user's code is on the stack: ours must not pass through it
                    broken.append(own)
                return True
            return False

        self.on_exit = on_exit
        try:
            self._to_start()
            if past is not None:
                past.restore()
            with ExitStack() as stack:
                stack.enter_context(shield.told_afterwards())
                silence = stack.enter_context(quiet())
                if tracer is not None or (performer is not None and not performer.compiled):
                    stack.enter_context(torch.compiler.set_stance("force_eager"))
                if performer is not None:
                    performer.begin()
                    stack.enter_context(performer.entered())
                    if tracer is not None:  # what it looks at last is still changed then
                        stack.callback(tracer.finish)
                if tracer is not None:
                    stack.enter_context(tracer)
                if request.purpose in ("unscaled", "sharpness"):
                    stack.enter_context(at_scale(1.0))
                for turn in self._turns(watcher) if past is None else past.turns(lambda: self._listener(performer), watcher):
                    sensors.watcher = turn.watcher
                    with quietly():  # what is put back between two passes is no operation of the step
                        turn.restore()
                    names, items = turn.names, turn.items
                    if performer is not None:
                        names, items = performer.rebind(names, items)
                    self.items = items
                    attempt.names, attempt.again = names, True
                    attempt.exit, attempt.value, attempt.error = 0, None, None
                    yield attempt
                    if broken:
                        raise broken[0]
                    if left or (turn.closes and turn.watcher.is_over):
                        break
                sensors.watcher = watcher
                if self._failure is not None and self._failure.series in ("parameter", "buffer"):
                    made = successors(self._here.saved.names, self._frame.f_locals) if self._window.by_hand else []
                    watcher.note_state([*self._subjects.parameters, *self._subjects.buffers], made)
                elif self._failure is not None and self._failure.series == "moment" and self._failure.before:
                    watcher.note_state([moment for o in self._subjects.optimizers for _, moment in hold.state_tensors(o)])
                if self._failure is not None and self._failure.at == "end":
                    for value in describe.bad_scalars(self._frame.f_locals):
                        watcher.note_found(value)
                if tracer is not None:
                    tracer.batch.update(describe.tensors_of(self._frame.f_locals))
                if self._doubt is not None:
                    watcher.unrepeatable = self._doubt
                if silence.refused is not None:
                    watcher.unrepeatable = silence.refused
                deaf = [name for name in shield.failures if name not in known and name != "tracer"]
                if deaf:
                    watcher.unrepeatable = f"{deaf[0]} broke in the repetition: {shield.failures[deaf[0]]}"
        except Unrepeatable as reason:
            watcher.unrepeatable = str(reason)
        finally:
            sensors.watcher = live
            self.items = None
            self.on_exit = None
        if past is not None:
            past.watchers[-1].unrepeatable = past.watchers[-1].unrepeatable or watcher.unrepeatable
        outcome = watcher.outcome() if past is None else past.outcome(time.monotonic() - started)
        if performer is None:
            return outcome
        measured = performer.sharpness(self._window.first if past is None else past.kept.step)
        return msgspec.structs.replace(outcome, effect=performer.effect(), places=performer.places(), sharpness=measured)

    def _turns(self, watcher: Repeat) -> Iterator[Turn]:
        """The passes of the window, each given what it was given."""
        from stayfinite.frameworks.torch.history.past import Turn

        for one in self._window.passes:
            undo = together([one.saved.restore, one.generators, *one.item_undo])
            yield Turn(one.saved.names, list(one.items), undo, watcher, closes=False)

    def _listener(self, performer: Performer | None) -> Repeat:
        """Listens to a step that was healthy."""
        return Repeat(None, 0, void=False, tracer=None, name=self._name, performer=performer)

    def _performer(self, request: ReplayRequest) -> Performer | None:
        if request.intervention is None and request.purpose != "sharpness":
            return None
        # imported here: a run without incidents loads no performers
        from stayfinite.frameworks.torch.interventions.performing import given_of, performer

        if self._given_names is None:  # later repetitions leave changed tensors under these names
            self._given_names = {**self._frame.f_globals, **self._frame.f_locals}
        given = given_of(self._window, self._subjects, self._relative, self._name, self._given_names, births=self._births)
        if request.intervention is not None:
            return performer(request.intervention, given)
        from stayfinite.frameworks.torch.history.curvature import Curvature

        return Curvature(given)

    def retake(self, changed: AbstractContextManager[Any], sensors: Sensors, live: Watcher) -> Generator[Attempt, None, bool]:
        """After `finish`: take the held step after all, inside of `changed`, updates included. The value is true if it came to finite
        numbers; then that is the state to go on from. `finish` is due once more either way."""
        attempt, failure = self._here.attempt, self._failure
        if failure is None or self._post is not None or self.unrepeatable or self._doubt or (self._void and self._stop_at):
            return False
        watcher = Repeat(None, 0, void=False, tracer=None, name=self._name)
        known, errors = set(shield.failures), []

        def on_exit(error: BaseException | None) -> bool:
            errors.append(error)
            return isinstance(error, Exception)

        self.on_exit, self._walked_back = on_exit, True
        try:
            self._to_start()
            with changed, shield.told_afterwards(), quiet() as silence:
                for turn in self._turns(watcher):
                    sensors.watcher = turn.watcher
                    turn.restore()
                    self.items = turn.items
                    attempt.names, attempt.again = turn.names, True
                    attempt.exit, attempt.value, attempt.error = 0, None, None
                    yield attempt
            watcher.note_state([*self._subjects.parameters, *self._subjects.buffers])
        except Unrepeatable:
            return False
        finally:
            sensors.watcher = live
            self.items = self.on_exit = None
        if any(errors) or watcher.is_bad or silence.refused is not None or known != set(shield.failures):
            return False
        self._post = Snapshot(self._subjects)
        self._post_python = Saved(self._plan, self._frame.f_locals, self._frame.f_globals, self._objects)
        self._post_generators = generator_states()
        self._exit = attempt.exit, attempt.value, attempt.error
        return True

    def differing_from_post(self) -> int:
        """After the repetition of a healthy step: how many parameters, buffers and moments differ from the live result."""
        assert self._post is not None and self._moments is not None
        return self._post.differing() + self._moments.differing()

    def _tracer(self, *, survey: bool) -> Tracer:
        # imported here: a run without incidents loads no tracer
        from stayfinite.frameworks.torch.tracing.tracer import Tracer

        names = describe.tensors_of(self._bound_before())
        subjects, surveyor = self._subjects, None
        if survey:
            from stayfinite.frameworks.torch.tracing.mode import SENSOR
            from stayfinite.frameworks.torch.tracing.survey import Surveyor

            surveyor = Surveyor(SENSOR, subjects.parameters, subjects.parameter_names, Owners(subjects.optimizers))
        return Tracer(subjects.roots, names, subjects.optimizers, is_user_file, self._relative, subjects.parameter_names, surveyor)


    def _bound_before(self) -> dict[str, Any]:
        """The names of the block that were bound when the step began. A global one of the same name as a local of the script's
        function is another thing."""
        frame = self._frame
        own = {*frame.f_code.co_varnames, *frame.f_code.co_cellvars}
        return {
            name: value for name, value in self._here.saved.names.items() if name not in own or value is not frame.f_globals.get(name)
        }
