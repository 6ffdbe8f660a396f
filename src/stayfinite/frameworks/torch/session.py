"""One watched process: opens and judges passes, and repeats a step in the user's own frame when it went bad.

The session is the driver behind rewritten loops (`rewrite.runtime.Driver`). A healthy pass costs a capture of the state
that a repetition would need; everything else happens at an incident.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

import msgspec
import torch
from torch import Tensor

from stayfinite import shield
from stayfinite.engine.investigate import investigate
from stayfinite.engine.monitor import Monitor
from stayfinite.engine.ports import Listener, Outcome, ReplayRequest
from stayfinite.errors import LeaveAttempt, TrainingHalted
from stayfinite.frameworks.torch import describe, hold
from stayfinite.frameworks.torch.inquiry import Inquiry
from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.options import Options
from stayfinite.frameworks.torch.passes import Failure, Pass, Window, fingerprint, shown
from stayfinite.frameworks.torch.rehearsal import ReplayLog
from stayfinite.frameworks.torch.sensors import Sensors
from stayfinite.frameworks.torch.state import (
    Copy,
    Snapshot,
    Subjects,
    TorchObjects,
    Written,
    generator_states,
    gradient_undo,
    light_undo,
    optimizer_undo,
    parameter_undo,
)
from stayfinite.records.finding import Warning
from stayfinite.records.incident import Case, Incident, Symptom
from stayfinite.records.location import Location
from stayfinite.records.numbers import to_number
from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.runtime import Attempt
from stayfinite.rewrite.state import Plan, Saved

LONGEST_WINDOW = 512
"""Micro-batches remembered between two updates; beyond it the step is held but not repeated."""


class Session:
    """See the module. `install` patches torch and takes over rewritten loops; `close` puts everything back."""

    def __init__(self, listener: Listener, options: Options) -> None:
        self.listener = listener
        self.options = options
        self.monitor = Monitor()
        self.live = Live(self.monitor, self._user_location, self._name)
        self.live.unhooked = self._outside_any_block
        self.live.training_begins = self._forget
        self.live.committed = self._after_commit
        self.live.exact = options.replay_every > 0
        self.sensors = Sensors(self.live)
        self.replays = ReplayLog()
        self._objects = TorchObjects()
        self._plans: dict[int, Plan] = {}
        self._subjects: dict[int, tuple[Plan, Subjects, Written]] = {}
        self._block: Block | None = None
        self._window: Window | None = None
        self._frame: FrameType | None = None
        self._inquiry: Inquiry | None = None
        self._busy = False
        self._by_hand: dict[int, str] = {}
        """Learned: blocks that write parameters before a known optimizer does, with the reason."""
        self._several: set[int] = set()
        """Learned: blocks that take several updates in one pass."""
        self._sampled = 0

    def install(self) -> None:
        """Listen to torch and drive rewritten loops."""
        self.sensors.attach()
        runtime.set_driver(self)

    def close(self) -> None:
        """Leave torch as it was found."""
        runtime.set_driver(None)
        self.sensors.detach()

    @property
    def steps(self) -> int:
        """Attempted updates so far."""
        return self.live.last_step + 1

    def closing_warnings(self) -> list[Warning]:
        """What the report should say about the run as a whole."""
        told = []
        if self.live.unwrapped_steps:
            told.append(Warning(
                "not-wrapped",
                f"{self.live.unwrapped_steps} updates were taken outside a loop that could be wrapped: they are held when "
                "they go bad, and cannot be replayed",
            ))
            if not self.replays.replayed:
                self.replays.refuse("the update is taken outside a loop that could be wrapped")
        return told

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
        return item

    def _run(self, block: Block, frame: FrameType) -> Iterator[Attempt]:
        here: Pass | None = None
        with shield.shielded("transaction"):
            here = self._open(block, frame)
        if here is None:
            yield Attempt()
            return
        self._busy = True
        self._frame = frame
        self.live.current, self.live.window = here, self._window
        try:
            yield here.attempt
            self.live.current = None
            if here.failure is not None:
                yield from self._guarded(self._handle(here, block, frame))
            elif self._window is not None and self._window.full is not None and (here.stepped or block.by_hand):
                yield from self._guarded(self._rehearse(here, block, frame))
        finally:
            self.live.current = self._frame = self._inquiry = None
            self._busy = False
            self._close_pass(here, block)

    def _guarded(self, work: Iterator[Attempt]) -> Iterator[Attempt]:
        """Our own failure during an investigation must not end the user's training."""
        try:
            yield from work
        except (TrainingHalted, LeaveAttempt, GeneratorExit):
            raise
        except Exception as error:
            if shield.strict():
                raise
            shield.note_failure("transaction", error)
        finally:
            self.sensors.watcher = self.live
            self._inquiry = None

    def _leave_live(self, error: BaseException | None) -> bool:
        here = self.live.current
        if here is None or isinstance(error, LeaveAttempt):
            return isinstance(error, LeaveAttempt)
        if error is None:
            with shield.shielded("transaction"):
                self._judge_end(here)
            return False
        if isinstance(error, Exception):
            with shield.shielded("transaction"):
                if here.failure is not None or describe.may_be_numeric(error, self._window):
                    failure = here.failure or Failure("numeric-exception", self.live.next_step(), "exception", math.nan)
                    failure.at, failure.error, failure.committed = "exception", error, False
                    here.failure, here.attempt.error = failure, error
                    return True
        return False

    # -- opening and closing a pass ------------------------------------------------------------------------------

    def _open(self, block: Block, frame: FrameType) -> Pass:
        local_names, global_names = frame.f_locals, frame.f_globals
        plan = self._plans.get(block.id)
        if plan is None or not plan.is_current(local_names):
            plan = self._plans[block.id] = Plan(block, local_names, global_names, self._objects)
        known = self._subjects.get(block.id)
        if known is None or known[0] is not plan:
            subjects = Subjects(plan.met, self._optimizers(), _namer(local_names, global_names))
            written = known[2] if known is not None and known[1].buffers == subjects.buffers else Written(subjects.buffers)
            known = self._subjects[block.id] = (plan, subjects, written)
        subjects = known[1]
        window = self._window
        if window is None or self._block is not block or len(window.passes) >= LONGEST_WINDOW:
            window = self._window = self._begin(block, subjects, known[2])
            self._block = block
        attempt = Attempt(self._exit)
        here = Pass(Saved(plan, local_names, global_names, self._objects), generator_states(), attempt)
        window.passes.append(here)
        return here

    def _exit(self, error: BaseException | None) -> bool:
        if self._inquiry is not None and self._inquiry.on_exit is not None:
            return self._inquiry.on_exit(error)
        return self._leave_live(error)

    def _begin(self, block: Block, subjects: Subjects, written: Written) -> Window:
        window = Window(light_undo(subjects, written), versions=[p._version for p in subjects.parameters])
        reason = self._needs_undo_copy(block, subjects)
        if reason:
            window.reason = reason
            copies = [parameter_undo(subjects.parameters), *map(optimizer_undo, subjects.optimizers)]
            window.parameters = lambda: [undo() for undo in copies] and None
        if self.live.alive:
            window.gradients = gradient_undo(subjects.parameters)
        if self._rehearsals_due():
            window.full = Snapshot(subjects)
        return window

    def _rehearsals_due(self) -> bool:
        every = self.options.replay_every
        return bool(every) and self.live.next_step() % every == 0

    def _needs_undo_copy(self, block: Block, subjects: Subjects) -> str:
        if block.by_hand:
            return "the parameters are updated by the script's own code"
        if block.id in self._by_hand:
            return self._by_hand[block.id]
        if self.live.steps_in_backward:
            return "an optimizer steps inside the backward pass"
        foreign = [o for o in subjects.optimizers if not type(o).__module__.startswith("torch.optim")]
        return hold.unpredictable(foreign[0]) or "" if foreign else ""

    def _after_commit(self) -> None:
        """Where a pass takes several updates, versions are read after each: the next one is held against these."""
        block, window, here = self._block, self._window, self.live.current
        if block is None or window is None or here is None:
            return
        if len(here.stepped) > 1:
            self._several.add(block.id)
        if block.id in self._several:
            window.versions = [p._version for p in self._subjects[block.id][1].parameters]

    def _close_pass(self, here: Pass, block: Block) -> None:
        here.attempt.on_exit = None
        here.originals.clear()
        window = self._window
        if here.failure is not None or here.stepped or block.by_hand or not here.backward:
            if here.failure is None and window is not None:
                with shield.shielded("sampling"):
                    self._learn(window, here, block)
            self._window = None

    def _learn(self, window: Window, here: Pass, block: Block) -> None:
        """Notice parameters that were written although no optimizer stepped."""
        if here.backward and not here.stepped and not block.by_hand and block.id not in self._by_hand:
            subjects = self._subjects[block.id][1]
            if [p._version for p in subjects.parameters] != window.versions:
                self._by_hand[block.id] = "the parameters are updated by the script's own code"

    def _forget(self) -> None:
        if not self._busy:
            self._plans.clear()
            self._subjects.clear()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        return list(self.live.made)

    # -- judging the end of a pass -------------------------------------------------------------------------------

    def _judge_end(self, here: Pass) -> None:
        block, window = self._block, self._window
        if here.failure is not None or block is None or window is None:
            return
        subjects = self._subjects[block.id][1]
        bad = next((loss for loss in here.losses if not math.isfinite(loss.value)), None)
        if block.by_hand or (window.parameters is not None and not here.stepped):
            names = self._bad_parameters(subjects)
            if names:
                detector = "nonfinite-loss" if bad is not None else "nonfinite-parameter"
                value = bad.value if bad is not None else hold.worst(subjects.parameters)
                here.failure = Failure(detector, self._hand_step(here), bad.series if bad else "parameter", value, names, "after step")
                return
            if block.by_hand and here.backward:
                self._hand_step(here)
        if bad is not None and not here.stepped:
            grads = [(self._name(p), p.grad) for p in subjects.parameters if p.grad is not None]
            names = tuple(hold.nonfinite(grads))[:10]
            harmless = not names and hold.all_zero(gradient for _, gradient in grads)
            here.failure = Failure(
                "nonfinite-loss", self.live.next_step(), bad.series, bad.value, names, "end", committed=harmless, harmless=harmless
            )
            return
        if here.backward or here.stepped:
            self._sample(here, subjects)
        elif not here.losses:
            self._judge_names(here)

    def _hand_step(self, here: Pass) -> int:
        """Updates by hand are counted by passes that made gradients."""
        self.live.last_step += 1
        return self.live.last_step

    def _bad_parameters(self, subjects: Subjects) -> tuple[str, ...]:
        if hold.norm([p.detach() for p in subjects.parameters]) < math.inf:
            return ()
        return tuple(hold.nonfinite((self._name(p), p.detach()) for p in subjects.parameters))[:10]

    def _sample(self, here: Pass, subjects: Subjects) -> None:
        """Every so often look at parameters and buffers: others write them too."""
        step = self.live.last_step
        if step < self._sampled or not here.stepped:
            return
        self._sampled = step + self.options.every
        names = self._bad_parameters(subjects)
        if names:
            here.failure = Failure("nonfinite-parameter", step, "parameter", hold.worst(subjects.parameters), names, held=False)
            return
        floating = [(subjects.buffer_names[id(b)], b) for b in subjects.buffers if b.is_floating_point() and _is_written(b)]
        if floating and not hold.norm([b for _, b in floating]) < math.inf:
            names = tuple(hold.nonfinite(floating))[:10]
            if names:
                here.failure = Failure("nonfinite-buffer", step, "buffer", hold.worst(b for _, b in floating), names)

    def _judge_names(self, here: Pass) -> None:
        """The script left the step before any backward: because its own test found a bad loss?"""
        if not here.attempt.exit or self._block is None:
            return
        if self._frame is None:
            return
        local_names = self._frame.f_locals
        for name in sorted(self._block.stored if self._block is not None else ()):
            value = local_names.get(name)
            number = describe.scalar(value)
            if number is not None and not math.isfinite(number) and here.saved.names.get(name) is not value:
                here.failure = Failure(
                    "nonfinite-loss", self.live.next_step(), "loss", number, (name,), "end", committed=True, harmless=False
                )
                return

    # -- an incident ---------------------------------------------------------------------------------------------

    def _begin_inquiry(self, here: Pass, block: Block, frame: FrameType, failure: Failure | None) -> Inquiry:
        plan, subjects, _ = self._subjects[block.id]
        window = self._window
        assert window is not None
        self._inquiry = Inquiry(window, here, plan, subjects, frame, failure, self._objects, self._name, self.relative)
        return self._inquiry

    def _handle(self, here: Pass, block: Block, frame: FrameType) -> Iterator[Attempt]:
        failure, window = here.failure, self._window
        assert failure is not None and window is not None
        subjects = self._subjects[block.id][1]
        live_outcome = Outcome(True, fingerprint(window.losses, here.norms, failure.names), shown(window.losses))
        case = self._case(failure, frame, subjects)
        self.listener.symptom(case.symptom, case.windows)
        inquiry = self._begin_inquiry(here, block, frame, failure)
        held, note = self._is_held(failure, window, here, inquiry)
        investigation = investigate(
            case, live_outcome, self.listener, repeatable=inquiry.unrepeatable, budget=self.options.budget,
            describe=lambda found: found,
        )
        incident: Incident | None = None
        outcome: Outcome | None = None
        while incident is None:
            try:
                request = investigation.send(outcome) if outcome is not None else next(investigation)
            except StopIteration as finished:
                incident = finished.value
            else:
                outcome = yield from inquiry.repeat(request, self.sensors, self.live)
        explained = failure.error is None or describe.explains(incident.case)
        stops = self.options.on_incident == "stop" and not failure.committed and failure.error is None and not failure.harmless
        wrong = inquiry.finish()
        if wrong:
            held, note = False, f"{wrong} tensors could not be put back exactly"
        incident = msgspec.structs.replace(
            incident, held=held and (not failure.committed or not here.stepped), hold_note=note, stopped=stops, harmless=failure.harmless
        )
        if explained:
            self.listener.incident(incident)
            if stops:
                raise TrainingHalted(describe.summary(incident), incident)

    def _is_held(self, failure: Failure, window: Window, here: Pass, inquiry: Inquiry) -> tuple[bool, str]:
        """Whether parameters are as before the step, and what that cost or why not."""
        note = failure.hold_note
        if window.parameters is not None:
            return failure.held, note or f"undo copy of the parameters and moments: {window.reason}"
        if not failure.held:
            return False, "the state was already bad when it was looked at; looks are sampled"
        earlier = [o for o in here.stepped if o is not failure.optimizer]
        if inquiry.moved and not failure.hold_note:
            if len(here.stepped) > 1:
                return False, "updates taken earlier in the same pass keep what this one wrote from being checked"
            return False, f"{inquiry.moved} parameters were written before the step was asked for"
        if earlier:
            note = f"{type(earlier[0]).__name__} had already taken its own step in this pass; it stays taken"
        return True, note

    def _rehearse(self, here: Pass, block: Block, frame: FrameType) -> Iterator[Attempt]:
        """Repeat a healthy step twice and compare bit for bit: the proof that repetitions mean something."""
        window = self._window
        assert window is not None
        subjects = self._subjects[block.id][1]
        live_print = fingerprint(window.losses, here.norms, ())
        result = Copy(_everything(subjects))
        inquiry = self._begin_inquiry(here, block, frame, None)
        step = self.live.last_step
        for _ in range(2):
            if inquiry.unrepeatable is None:
                outcome = yield from inquiry.repeat(ReplayRequest("control"), self.sensors, self.live)
                differing = result.differing() if outcome.unrepeatable is None else 0
                self.replays.note(step, live_print, outcome, differing)
            else:
                self.replays.refuse(inquiry.unrepeatable)
        inquiry.finish()

    def _case(self, failure: Failure, frame: FrameType, subjects: Subjects) -> Case:
        symptom = Symptom(failure.detector, failure.step, failure.series, to_number(failure.value), names=failure.names)
        error = failure.error
        return Case(
            symptom,
            windows=self.monitor.windows(),
            batch=describe.batch(frame.f_locals),
            batch_size=describe.batch_size(frame.f_locals),
            parameters=describe.parameters(subjects),
            configuration=describe.configuration(subjects, self.live),
            exception=describe.exception_info(error, self.relative) if error is not None else None,
        )

    def _outside_any_block(self, failure: Failure) -> None:
        """A bad step in a loop that was not wrapped: it is held by not being taken; nothing can be repeated."""
        subjects = Subjects([], self._optimizers(), lambda _value: None)
        symptom = Symptom(failure.detector, failure.step, failure.series, to_number(failure.value), names=failure.names)
        case = Case(
            symptom, windows=self.monitor.windows(), parameters=describe.parameters(subjects),
            configuration=describe.configuration(subjects, self.live),
        )
        self.listener.symptom(symptom, case.windows)
        reason = "this loop could not be wrapped, so its step cannot be repeated"
        investigation = investigate(
            case, Outcome(True, ""), self.listener, repeatable=reason, budget=0.0, describe=lambda found: found
        )
        try:
            next(investigation)
        except StopIteration as finished:
            stops = self.options.on_incident == "stop"
            incident = msgspec.structs.replace(finished.value, held=failure.held, hold_note=failure.hold_note, stopped=stops)
            self.listener.incident(incident)
            if stops:
                raise TrainingHalted(describe.summary(incident), incident) from None

    # -- names and places ----------------------------------------------------------------------------------------

    def relative(self, path: str) -> str:
        """`path` relative to the script's folder where it lies inside it, else absolute."""
        folder = self.options.folder
        path = os.path.realpath(path)
        return os.path.relpath(path, folder) if folder and path.startswith(folder.rstrip(os.sep) + os.sep) else path

    def _user_location(self) -> Location:
        return describe.user_location(self.relative)

    def _name(self, tensor: Tensor) -> str:
        for _, subjects, _ in self._subjects.values():
            name = subjects.parameter_names.get(id(tensor)) or subjects.buffer_names.get(id(tensor))
            if name is not None:
                return name
        return "?"


def _everything(subjects: Subjects) -> list[Tensor]:
    moments = [value for optimizer in subjects.optimizers for _, value in hold.state_tensors(optimizer)]
    return [*subjects.parameters, *subjects.buffers, *moments]


def _namer(local_names: dict[str, Any], global_names: dict[str, Any]) -> Callable[[object], str | None]:
    """Finds the variable an object is bound to."""
    names = {id(value): name for namespace in (global_names, local_names) for name, value in namespace.items()}
    return lambda value: names.get(id(value))


def _is_written(buffer: Tensor) -> bool:
    """True if the buffer was ever changed in place; tables and masks are not, and may hold infinities on purpose."""
    return buffer._version > 0
