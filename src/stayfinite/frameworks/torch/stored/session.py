"""Repeats a stored step in a fresh process: the script runs up to the failing loop, is given the state, and ends there.

The same machinery as in the live run does the work: passes are rebuilt from the recording, an `Inquiry` repeats them in
the user's own frame, and `engine.investigate` asks for the repetitions and explains what it saw.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import FrameType, FunctionType
from typing import Any

import msgspec

from stayfinite import shield
from stayfinite.engine.ports import Investigate, Listener, Outcome, Readings
from stayfinite.errors import LeaveAttempt, ReplayError
from stayfinite.frameworks.torch.generators import generator_states
from stayfinite.frameworks.torch.options import Options
from stayfinite.frameworks.torch.passes import Failure, Pass, Scene, Window
from stayfinite.frameworks.torch.session import Session
from stayfinite.frameworks.torch.state import Written, gradient_undo
from stayfinite.frameworks.torch.stored.step import StoredStep
from stayfinite.frameworks.torch.subjects import Subjects, namer
from stayfinite.records.incident import Incident, ReplaySummary
from stayfinite.records.trace import Trace
from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.quiet import quiet
from stayfinite.rewrite.runtime import Attempt
from stayfinite.rewrite.saved import Saved
from stayfinite.rewrite.state import Plan

ENTRIES = 2
"""Passes in which the stored state may fit: what a first pass makes (lazy layers) is there from the second on. A compiler
starts processes and writes files in the first pass, which a repetition must not."""


class ReplayEnded(LeaveAttempt):
    """The stored step was repeated, or cannot be: the rest of the script is not wanted."""


class ReplaySession(Session):
    """Drives rewritten loops until the failing one is entered, and repeats the stored step there.

    **Arguments**: as `Session`; `stored`, the step; `recorded`, its incident as the recording has it.

    `incident` is what the repetition found, `refusal` why there was none; one of them is set once `ended` is true.
    """

    def __init__(
        self, listener: Listener, options: Options, investigate: Investigate, readings: Readings,
        stored: StoredStep, recorded: Incident,
    ) -> None:
        super().__init__(listener, options, investigate, readings)
        self.live.unhooked = None
        self.incident: Incident | None = None
        self.refusal: ReplayError | None = None
        self.ended = False
        self._listener = listener
        self._investigate = investigate
        self._stored = stored
        self._recorded = recorded
        self._entries = 0
        self._silence = ExitStack()

    def close(self) -> None:
        """Leave torch and the script's output as they were found."""
        self._silence.close()
        super().close()

    @property
    def notes(self) -> list[str]:
        """What of the stored step could not be put back."""
        return self._stored.notes

    def attempts(self, block: Block, frame: FrameType) -> Iterable[Attempt]:
        if self.ended:
            raise ReplayEnded("the replay is over")
        if self._busy or not self._is_meant(block):
            return (Attempt(),)
        self._entries += 1
        different = self._stored.resolve(frame.f_locals, list(self.live.made))
        if self._entries < ENTRIES and (different or _is_compiled(frame, self._stored.modules)):
            return (Attempt(),)
        return self._replay(block, frame, different)

    def _is_meant(self, block: Block) -> bool:
        """True for the stored loop: at its line or, where the source was edited, the only one left in its function."""
        stored = self._stored.layout["block"]
        alike = [
            known for known in runtime.blocks.values()
            if self.relative(known.file) == stored["file"] and known.function == stored["function"]
        ]
        exact = [known for known in alike if known.line == stored["line"]]
        return any(known is block for known in exact or (alike if len(alike) == 1 else []))

    def _replay(self, block: Block, frame: FrameType, different: list[str]) -> Iterator[Attempt]:
        self._busy = True
        try:
            if different:
                raise ReplayError("the stored state does not fit the script any more: " + "; ".join(different))
            failure = self._failure()
            scene = self._stage(block, frame)
            inquiry = self._inquire(scene, failure)
            if inquiry.unrepeatable is not None:
                raise ReplayError(f"the step cannot be repeated: {inquiry.unrepeatable}")
            case = msgspec.structs.replace(
                self._recorded.case, origin=None, trace=Trace(), replay=ReplaySummary(), not_located="", path=(),
            )
            investigation = self._investigate(
                case, Outcome(True, ""), self._listener, repeatable=None, budget=self.options.budget
            )
            found = yield from self._incidents.conduct(investigation, inquiry)
            then = self._recorded
            self.incident = msgspec.structs.replace(
                found, stopped=then.stopped, harmless=then.harmless, held=then.held, hold_note=then.hold_note,
                outcome=then.outcome,
            )
        except ReplayError as refusal:
            self.refusal = refusal
        except Exception as error:
            if shield.strict():
                raise
            self.refusal = ReplayError(f"the stored step could not be put back: {type(error).__name__}: {error}")
        finally:
            self.sensors.watcher = self.live
            self._inquiry = None
            self._busy = False
            self.ended = True
        self._silence.enter_context(quiet())  # `finally` blocks of the script must not overwrite what a real run left
        raise ReplayEnded("the replay is over")

    def _failure(self) -> Failure:
        stored = self._stored.layout["failure"]
        return Failure(
            detector=stored["detector"], step=stored["step"], series=stored["series"],
            value=self._stored.value(stored["value"]), names=tuple(stored["names"]), at=stored["at"],
            committed=stored["committed"], harmless=stored["harmless"], asked=self._stored.layout["asked"],
            before=stored.get("before", False),  # recordings of the first versions do not say
        )

    def _stage(self, block: Block, frame: FrameType) -> Scene:
        """Give the script the stored state, and rebuild the passes of the window as the live run had them."""
        stored = self._stored
        stored.restore()
        stored.restore_pass(0)
        _bind(frame, stored.rebound)
        local_names, global_names = frame.f_locals, frame.f_globals
        plan = Plan(block, local_names, global_names, self._objects)
        subjects = Subjects(plan.met, list(self.live.made), namer(local_names, global_names))
        self._subjects[block.id] = (plan, subjects, Written(subjects.buffers, subjects.buffer_names))
        window = Window(
            [], gradients=gradient_undo(subjects.parameters), versions=[p._version for p in subjects.parameters]
        )
        window.block, window.by_hand = block.id, block.by_hand or not subjects.optimizers
        if not stored.layout["void"]:
            window.parameters = _nothing  # the inquiry's own snapshot is the undo copy
        attempt = Attempt(self._exit)
        for number, record in enumerate(stored.layout["passes"]):
            stored.restore_pass(number)
            names: dict[str, Any] = {**local_names, **stored.names(number)}
            saved = Saved(plan, names, global_names, self._objects, trainers=window.by_hand)
            here = Pass(saved, generator_states(), attempt, items=stored.items(number))
            here.stepped = subjects.optimizers[:1] * record["stepped"]
            window.passes.append(here)
        return Scene(block, frame, plan, subjects, window, window.passes[-1])


def _is_compiled(frame: FrameType, modules: list[Any]) -> bool:
    """True if the step runs compiled code, as far as names in reach and modules tell."""
    for value in (*frame.f_locals.values(), *frame.f_globals.values()):
        if isinstance(value, FunctionType) and "_torchdynamo_orig_callable" in vars(value):
            return True
    inner = [child for module in modules if module is not None for child in module.modules()]
    return any(type(m).__name__ == "OptimizedModule" or m._compiled_call_impl is not None for m in inner)


def _nothing() -> None:
    """An undo of nothing."""


def _bind(frame: FrameType, names: dict[str, Any]) -> None:
    """Bind names of a running frame."""
    if names:
        frame.f_locals.update(names)
        if sys.version_info < (3, 13):  # before, what `f_locals` gives is a copy that must be written back
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
