"""One watched process: opens and judges passes, and repeats a step in the user's own frame when it went bad.

The session is the driver behind rewritten loops (`rewrite.runtime.Driver`). A healthy pass costs a capture of the state
that a repetition would need; everything else happens at an incident.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from types import FrameType
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from stayfinite import shield
from stayfinite.engine.ports import Examine, Investigate, Listener, Readings, Recovering
from stayfinite.errors import LeaveAttempt, TrainingHalted
from stayfinite.frameworks.torch import describe
from stayfinite.frameworks.torch.births.finding import Births
from stayfinite.frameworks.torch.evaluation import Call, Evaluation
from stayfinite.frameworks.torch.generators import generator_states
from stayfinite.frameworks.torch.habits import Habits
from stayfinite.frameworks.torch.history.ring import Ring
from stayfinite.frameworks.torch.history.windows import Remembered, remember, scalars_of
from stayfinite.frameworks.torch.incidents import Incidents
from stayfinite.frameworks.torch.inquiry import Inquiry
from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.lookback.looking import LookBack
from stayfinite.frameworks.torch.looks import Looks
from stayfinite.frameworks.torch.marks import Marks, bound
from stayfinite.frameworks.torch.mending import Mending
from stayfinite.frameworks.torch.opening import open_window
from stayfinite.frameworks.torch.options import Options
from stayfinite.frameworks.torch.pass_end import PassEnd
from stayfinite.frameworks.torch.passes import Failure, Pass, Scene, Window
from stayfinite.frameworks.torch.recovery import Recovery
from stayfinite.frameworks.torch.rehearsal import ReplayLog, rehearse, unwrapped
from stayfinite.frameworks.torch.sensors import Sensors
from stayfinite.frameworks.torch.state import TorchObjects, Written
from stayfinite.frameworks.torch.subjects import Subjects, namer
from stayfinite.frameworks.torch.surveys import Surveys
from stayfinite.frameworks.torch.trying import begins_again
from stayfinite.frameworks.torch.undoing import put_back
from stayfinite.records.finding import Warning
from stayfinite.records.location import Location
from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.project import cell_names
from stayfinite.rewrite.runtime import Attempt
from stayfinite.rewrite.saved import Saved
from stayfinite.rewrite.state import Plan

_FORGETS = "earlier steps are not remembered"
LONGEST_WINDOW = 512
"""Micro-batches remembered between two updates; beyond it the step is held but not repeated."""


class Session:
    """See the module. `install` patches torch and takes over rewritten loops; `close` puts everything back."""

    def __init__(
        self, listener: Listener, options: Options, investigate: Investigate, readings: Readings, examine: Examine | None = None,
        policy: Recovering | None = None,
    ) -> None:
        self.options = options
        self.live = Live(readings, self._user_location, self._name, options.every)
        self.live.unhooked = self._outside_any_block
        self.live.training_begins = self._forget
        self.live.asked = self._before_update
        self.live.committed = self._after_commit
        self.live.state = self._judge_state
        self.live.saved = self._last_look
        self.live.exact = options.replay_every > 0
        self._evaluation = Evaluation(self._evaluated, lambda: not self._busy)
        self._state = Looks(self._name, options.every, self.live.defers)
        births, back = Births(self.live, self._state, self.relative), LookBack(self.relative, options.program)
        self.sensors = Sensors(self.live, births.listen, back.deliveries.listen, self._evaluation.listen)
        self.replays, self.look_back = ReplayLog(), back
        self._incidents = Incidents(listener, options, investigate, readings, self.live, self.sensors, self.relative, births, back)
        self._pass_end = PassEnd(self.live, self._name, self._state, skips=options.on_incident != "stop")
        self._surveys = Surveys(listener, options, examine, readings, self.live, self.sensors, self._incidents, self.replays)
        self._incidents.suspect = self._surveys.suspect
        self.ring = Ring()
        self._recovery: Recovery | None = None
        if policy is not None and options.on_incident == "recover":
            mending, passing = Mending(self._state, self._name), lambda: self._scene
            again = begins_again(options, self._incidents.clock)
            self._recovery = Recovery(policy, self.ring, self.live, listener, readings, mending, passing, self.relative, again)
            self._incidents.recovery = self._surveys.recovery = self._recovery
        self._unhook: Callable[[], None] = lambda: None
        self._objects = TorchObjects()
        self._plans: dict[int, Plan] = {}
        self._subjects: dict[int, tuple[Plan, Subjects, Written]] = {}
        self._block: Block | None = None
        self._window: Window | None = None
        self._scene: Scene | None = None
        self._inquiry: Inquiry | None = None
        self._busy = False
        self._habits = Habits()

    def install(self) -> None:
        """Listen to torch and drive rewritten loops."""
        self.sensors.attach()
        if self._recovery is not None:
            self._unhook = self._recovery.attach()
        runtime.set_driver(self)

    def close(self) -> None:
        """Leave torch as it was found; tell what the last steps came to, if that has not been looked at."""
        late = self.live.settle_latch()
        if late is not None:
            put_back(late)
            self._outside_any_block(late, ended=True)
        self._evaluation.close()
        self._last_look(ended=True)
        self._surveys.close()
        runtime.set_driver(None)
        self._unhook()
        if self._recovery is not None:
            self._recovery.close()
        self.ring.clear()
        self.sensors.detach()

    @property
    def steps(self) -> int:
        """Attempted updates so far."""
        return self.live.updates.coming

    def closing_warnings(self) -> list[Warning]:
        """What the report should say about the run as a whole."""
        return [*self.live.scaling.told(), *self.live.updates.unseen(), *unwrapped(self.live.unwrapped_steps, self.replays)]

    def rehearsed(self) -> dict[str, Any]:
        """What forced repetitions said in this process, as plain values."""
        return {"steps": self.steps, **self.replays.as_plain()}

    # -- the driver ----------------------------------------------------------------------------------------------

    def attempts(self, block: Block, frame: FrameType) -> Iterable[Attempt]:
        if self._busy or shield.is_off("transaction"):
            return (Attempt(),)
        return self._run(block, frame)

    def advance(self, iterator: Iterator[Any], default: tuple[Any, ...]) -> Any:
        if self._inquiry is not None and self._inquiry.items is not None:
            if not self._inquiry.items:
                raise LeaveAttempt("the repetition asked for more items than the step did")
            kind, item = self._inquiry.items.pop(0)
            if kind == "error":
                raise item
            return item
        here = self.live.current
        if here is None:
            return next(iterator, *default)
        try:
            item = next(iterator, *default)
        except Exception as error:
            here.items.append(("error", error))
            raise
        here.items.append(("item", item))
        if self._recovery is not None:
            self._recovery.note_item(item)
        if self._scene is not None:
            self._scene.note_item(item)
        return item

    def _run(self, block: Block, frame: FrameType) -> Iterator[Attempt]:
        scene: Scene | None = None
        self._busy = True  # what we copy in `no_grad` is no evaluation of the user's
        with shield.shielded("transaction"):
            scene = self._open(block, frame)
        if scene is None:
            self._busy, self.live.current = False, None
            yield Attempt()
            return
        here, failure, self._scene = scene.here, None, scene
        try:
            with self._recovery.around(scene) if self._recovery is not None else nullcontext():
                yield here.attempt
                self.live.current = None
                failure = here.failure
                if failure is not None:
                    where = scene.of_failure(failure)
                    yield from self._guarded(self._incidents.handle(failure, where, partial(self._inquire, where, failure)))
                elif (scene.window.full is not None or self._surveys.busy) and (here.stepped or scene.window.by_hand):
                    yield from self._guarded(self._look_again(scene))
            if self._recovery is not None and failure is None and (here.stepped or (scene.window.by_hand and here.backward)):
                with shield.shielded("recovery"):
                    self._recovery.passed(scene)
        finally:
            self.live.current = self._scene = self._inquiry = None
            self._busy = False
            window, self._window = self._window, None
            with shield.shielded("transaction"):
                if self._close_pass(scene):
                    self._window = window
            self.live.window = self._window  # an undo copy must not live on beside the next one

    def _look_again(self, scene: Scene) -> Iterator[Attempt]:
        """Repeat a healthy step, because a detector suspects something of it or to see that it can be."""
        surveyed = yield from self._surveys.go_on(scene, partial(self._inquire, scene, None))
        if scene.window.full is not None and self.options.replay_every and not (surveyed or self._surveys.rebuilt(scene.subjects)):
            yield from self._rehearse(scene)

    def _rehearse(self, scene: Scene) -> Iterator[Attempt]:
        """Repeat a healthy step; if that breaks, what the step left stays."""
        inquiry = self._inquire(scene, None)
        try:
            yield from rehearse(scene, inquiry, self.replays, self.sensors, self.live)
        except Exception:
            inquiry.finish()
            raise

    def _inquire(self, scene: Scene, failure: Failure | None) -> Inquiry:
        gone = "the step was seen to be bad after its loop had ended" if scene.window.block != scene.block.id else None
        self._inquiry = Inquiry(scene, failure, self._objects, self._name, self.relative, gone)
        self._inquiry.ring = self.ring
        return self._inquiry

    def _guarded(self, work: Iterator[Attempt]) -> Iterator[Attempt]:
        """Our own failure during an investigation must not end the user's training."""
        try:
            yield from work
        except TrainingHalted as halted:
            raise halted.with_traceback(None) from None  # our frames say nothing to anybody
        except (LeaveAttempt, GeneratorExit):
            raise
        except Exception as error:
            if shield.strict():
                raise
            shield.note_failure("transaction", error)
        finally:
            self.sensors.watcher = self.live
            self._inquiry = None

    def _leave_live(self, error: BaseException | None) -> bool:
        scene = self._scene
        if scene is None or isinstance(error, LeaveAttempt):
            return isinstance(error, LeaveAttempt)
        here = scene.here
        if error is None:
            with shield.shielded("transaction"):
                if here.failure is None:
                    here.failure = self._pass_end.judge(scene)
                if here.failure is None:
                    here.failure = self._incidents.finite_symptoms()
            return False
        if isinstance(error, Exception):
            with shield.shielded("transaction"):
                late = self.live.settle_latch()
                if late is not None and late.window is not None:
                    late.error, here.attempt.error, here.failure = error, error, late
                    return True
                if here.failure is not None or describe.may_be_numeric(error, scene.window):
                    failure = here.failure or Failure("numeric-exception", self.live.updates.coming, "exception", math.nan)
                    failure.at, failure.error, failure.committed = "exception", error, False
                    self.live.break_off(failure)
                    here.failure, here.attempt.error = failure, error
                    return True
        return False

    # -- opening and closing a pass ------------------------------------------------------------------------------

    def _open(self, block: Block, frame: FrameType) -> Scene:
        local_names, global_names = frame.f_locals, frame.f_globals
        plan = self._plans.get(block.id)
        if plan is None or not plan.is_current(local_names):
            plan = self._plans[block.id] = Plan(block, local_names, global_names, self._objects, plan)
        known = self._subjects.get(block.id)
        if known is None or known[0] is not plan:
            subjects = Subjects(plan.met, list(self.live.made), namer(local_names, global_names))
            written = known[2] if known is not None else None
            loose = [p for p in subjects.parameters if id(p) not in subjects.owned] if subjects.optimizers else []
            tensors = [*subjects.buffers, *loose]
            if written is None or [*map(id, written.buffers)] != [*map(id, tensors)]:
                written = Written(tensors, subjects.buffer_names | subjects.parameter_names)
            known = self._subjects[block.id] = (plan, subjects, written)
        subjects = known[1]
        self._evaluation.trains(subjects.roots)
        generators = generator_states()
        window = self._window
        if window is None or self._block is not block or len(window.passes) >= LONGEST_WINDOW:
            full = bool(self.options.replay_every) and self.live.updates.coming % self.options.replay_every == 0
            full = full or self._surveys.due(subjects)
            window = self._window = open_window(block, subjects, known[2], generators, self.live, self._habits, full=full)
            self._block = block
        spoiled = self._state.begin(block, subjects, known[2], window.versions, self.live.updates.coming) if not window.passes else []
        attempt = Attempt(self._exit)
        self.look_back.note_pass()
        saved = Saved(plan, local_names, global_names, self._objects, trainers=window.by_hand)
        here = Pass(saved, generators, attempt, spoiled=spoiled)
        here.marks.append(Marks(bound(block.needed, local_names, global_names), subjects.known))
        if not window.passes:
            if self._recovery is not None:
                self._recovery.lowering.settle()
            if not shield.is_off("history"):
                with shield.shielded("history", _FORGETS):
                    self.ring.note(window.first, subjects, saved if window.by_hand else None, window.gradients)
                    window.rates = scalars_of(subjects.optimizers)
        window.passes.append(here)
        self.live.begin_pass(here, window)
        return Scene(block, frame, plan, subjects, window, here)

    def _exit(self, error: BaseException | None) -> bool:
        if self._inquiry is not None and self._inquiry.on_exit is not None:
            return self._inquiry.on_exit(error)
        return self._leave_live(error)

    def _before_update(self) -> None:
        if self._scene is not None and not self.live.in_backward:
            self._habits.before_update(self._scene)

    def _after_commit(self) -> None:
        if self._scene is not None and not self.live.in_backward:
            self._habits.after_commit(self._scene, self._subjects[self._scene.block.id][2])

    def _judge_state(self, optimizer: Optimizer, step: int) -> Failure | None:
        failure = self._state.before_update(self._scene, optimizer, step) if self._scene is not None else None
        if failure is not None and failure.series == "moment":  # nothing of the step has read it yet
            failure.location = self._user_location()
        return failure

    def _close_pass(self, scene: Scene) -> bool:
        """Learn from a pass that has ended. **Returns** True if its window stays open: it was a micro-batch."""
        here = scene.here
        here.attempt.on_exit = None
        here.originals.clear()
        scene.learn_aliases()
        self._state.end(scene.block)
        if here.failure is None and not here.stepped and not scene.window.by_hand and here.backward:
            if not self._habits.unstepped(scene):
                return True
        if here.stepped:
            self._habits.stepped(scene)
        if not shield.is_off("history"):
            with shield.shielded("history", _FORGETS):
                self._remember(scene)
        return False

    def _remember(self, scene: Scene) -> None:
        """Keep what a window was given that has taken its update."""
        window, failure, coming = scene.window, scene.here.failure, self.live.updates.coming
        if coming == window.first:
            return
        if failure is not None and not failure.committed:
            self.ring.remember(Remembered(window.block, window.first, coming))
        else:
            self.ring.remember(remember(window, scene.block, coming))

    def _forget(self) -> None:
        if not self._busy:
            self._plans.clear()
            self._subjects.clear()
            self.ring.clear()

    def _evaluated(self, call: Call) -> None:
        if self._state.latest is not None:
            self._incidents.evaluated(call, self._state.latest.subjects)

    def _last_look(self, *, asked: bool = False, ended: bool = False) -> None:
        """Outside of any pass: the script ends, or saves its state. A bad one is told; before it is saved, it stops the run."""
        if self._recovery is not None and not (ended or self._busy):
            self._recovery.before_save(asked=asked)
        if self._busy or self._incidents.told:
            return
        failure = self._state.last(self.live.updates.last, asked=asked)
        known = self._state.latest
        if failure is not None and known is not None:
            failure.location = failure.location if ended else self._user_location()
            self._incidents.outside_any_block(failure, known.subjects, ended=ended)

    def _outside_any_block(self, failure: Failure, *, ended: bool = False) -> None:
        self._incidents.outside_any_block(failure, Subjects([], list(self.live.made), lambda _value: None), ended=ended)

    # -- names and places ----------------------------------------------------------------------------------------

    def relative(self, path: str) -> str:
        """`path` relative to the script's folder where it lies inside it, else absolute."""
        if path in cell_names:
            return cell_names[path]
        folder = self.options.folder
        path = os.path.realpath(path)
        return os.path.relpath(path, folder) if folder and path.startswith(folder.rstrip(os.sep) + os.sep) else path

    def _user_location(self, made: object = None) -> Location:
        return describe.user_location(self.relative, made)

    def _name(self, tensor: Tensor) -> str:
        for _, subjects, _ in self._subjects.values():
            name = subjects.parameter_names.get(id(tensor)) or subjects.buffer_names.get(id(tensor))
            if name is not None:
                return name
        return "?"
