"""The microscope: one step of the user's, run again under observation.

    tracer = Tracer(roots, batch, optimizers, is_user_file, relative, parameter_names)
    with tracer:
        ...    # the user's step; `note_loss` before each backward, `note_exception` if it raised
    trace = tracer.finish()

While the block runs, a dispatch mode sees every operator of forward, backward and optimizer, hooks follow the modules,
the gradients and the optimizers. The step computes what it would have computed: same values, same random numbers, same
exceptions. (Torch itself takes another, equivalent formula in a handful of places as soon as any mode is active: the
backward of `prod` and `cumprod` may differ in the last bit, `eigvalsh` computes the vectors too.) When the block is
left, whatever way, everything is as it was found, and the sinks have been read: the state may be restored before
`finish` is called.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import torch
from torch.utils._pytree import tree_leaves

from stayfinite import shield
from stayfinite.frameworks.torch.stats import (
    dense,
    describe,
    dtype_name,
    is_bad,
    is_number,
    magnitude,
    quietly,
    rows_compared,
)
from stayfinite.frameworks.torch.tracing.assemble import assemble
from stayfinite.frameworks.torch.tracing.exceptions import find_exception
from stayfinite.frameworks.torch.tracing.flow import Flow
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.frameworks.torch.tracing.functions import CustomFunctions
from stayfinite.frameworks.torch.tracing.judge import Judge
from stayfinite.frameworks.torch.tracing.leaves import Surroundings, sink
from stayfinite.frameworks.torch.tracing.mode import SENSOR, Microscope
from stayfinite.frameworks.torch.tracing.modules import Modules
from stayfinite.frameworks.torch.tracing.phase import Phases
from stayfinite.frameworks.torch.tracing.survey import Surveyor
from stayfinite.frameworks.torch.tracing.terms import Terms
from stayfinite.records.numbers import to_number
from stayfinite.records.survey import Survey
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import CustomFunction, Magnitude, Sink, Trace

_GIVEN = 8
"""Most arguments of models that are described."""


class Tracer:
    """Traces one step. A tracer is used once.

    **Arguments**

    - `roots`: the models, to name modules, parameters and buffers.
    - `batch`: names of the step -> values bound before it began: tensors, NumPy arrays, nested lists, tuples, mappings
      and objects of them. They name the leaves, and tell the batch size.
    - `optimizers`: whose moments are looked at, and whose parameters the roots may not have.
    - `is_user_file(filename)`: whether a file is the user's own code; `relative(filename)`: its spelling in records.
    - `parameter_names`: id(parameter) -> dotted name, where the caller knows better.
    - `surveyor`: looks at the finite values as well, where somebody asked for a survey.

    **Fields**: `batch`: may be added to until the block is left, with the names the step itself has bound.
    """

    def __init__(
        self,
        roots: Sequence[torch.nn.Module],
        batch: Mapping[str, object],
        optimizers: Sequence[torch.optim.Optimizer],
        is_user_file: Callable[[str], bool],
        relative: Callable[[str], str],
        parameter_names: Mapping[int, str] | None = None,
        surveyor: Surveyor | None = None,
    ) -> None:
        self.batch: dict[str, object] = dict(batch)
        self._unseen: dict[str, int] = {}
        self._frames = Frames(is_user_file, relative)
        self._flow = Flow()
        with quietly():
            self._around = Surroundings(roots, batch, optimizers, parameter_names or {}, self._note_unseen)
        self._judge = Judge(self._flow, self._around, self._frames)
        self._modules = Modules(roots, self._model_begins, self._model_ends, self._loss_ends, lambda: self._mode.count)
        self._phases = Phases(self._modules, self._around.note_moments)
        self._surveyor = surveyor
        self._mode = Microscope(self._frames, self._modules, self._phases, self._judge, self._note_unseen, surveyor)
        self._terms = Terms(self._mode.nodes, self._around, self._frames)
        self._functions = CustomFunctions(self._frames, SENSOR)
        self._custom: tuple[CustomFunction, ...] = ()
        self._stack = contextlib.ExitStack()
        self._sinks: list[Sink] = []
        self._gradients: dict[str, Magnitude] = {}
        self._bad_gradients: set[str] = set()
        self._trace: Trace | None = None
        self.survey: Survey | None = None
        """What the surveyor saw; after `finish`."""
        self._batch_size: int | None = None
        self._given: tuple[TensorStats, ...] = ()
        """`Trace.model_inputs`."""

    @property
    def batch_size(self) -> int | None:
        """Number of samples in the batch; ``None`` if no tensor of the batch or of a model's arguments tells it."""
        return self._around.batch_size if self._trace is None else self._batch_size

    def __enter__(self) -> Tracer:
        with contextlib.ExitStack() as stack:
            with shield.shielded(SENSOR), quietly():
                self._around.look(self._flow, self._judge.belonging)
            stack.callback(self._modules.detach)
            self._modules.attach()
            stack.callback(self._phases.detach)
            self._phases.attach()
            with torch._C.DisableTorchFunction():
                for name, parameter in self._around.parameters.items():
                    stack.callback(self._follow(name, parameter))
            if self._surveyor is not None:
                stack.callback(self._surveyor.detach)
                self._surveyor.attach(self._flow)
            stack.enter_context(self._functions)
            stack.enter_context(self._mode)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None
    ) -> None:
        self._mode.paused = True
        try:
            with shield.shielded(SENSOR), quietly():
                self._sinks += self._around.sinks(self._flow, self._bad_gradients)
                self._around.name_strangers(self.batch)
                if not self._sinks and self._judge.crossings.asked is not None:
                    self._sinks.append(self._judge.crossings.asked)
        finally:
            self._stack.close()
        with shield.shielded(SENSOR), quietly():
            self._custom = self._functions.records()

    def _follow(self, name: str, parameter: torch.nn.Parameter) -> Callable[[], None]:
        """Watch the gradient of `parameter`; gives what undoes it. Gradients are looked at when they arrive: by the end
        of the step they may have been clipped or cleared."""
        if not parameter.requires_grad or not parameter.is_leaf:
            return lambda: None
        bare = parameter._post_accumulate_grad_hooks is None

        def arrived(tensor: torch.Tensor) -> None:
            self._gradient(name, tensor)

        handle = parameter.register_post_accumulate_grad_hook(shield.shielding(SENSOR, arrived))

        def undo() -> None:
            with torch._C.DisableTorchFunction():
                handle.remove()
                if bare and not parameter._post_accumulate_grad_hooks:
                    parameter._post_accumulate_grad_hooks = None

        return undo

    def _gradient(self, name: str, parameter: torch.Tensor) -> None:
        with quietly():
            part = dense(parameter.grad) if parameter.grad is not None else None
            if part is None:
                return
            self._around.note_gradient(name, part)
            largest, spread = magnitude(part)
            self._gradients.setdefault(
                name,
                Magnitude(
                    module=name,
                    kind="gradient",
                    absmax=to_number(largest),
                    std=to_number(spread),
                    dtype=dtype_name(part.dtype),
                ),
            )
            if name not in self._bad_gradients and is_bad(part) and not self._around.bad_at_start("gradient", name):
                self._bad_gradients.add(name)
                self._sinks.append(sink("gradient", name, part, self._flow))

    def _model_begins(self, module: torch.nn.Module, tensors: list[torch.Tensor]) -> None:
        self._phases.entered_model()
        with quietly():
            self._around.fed(self._flow, tensors)
            self._given += _given(module, tensors)[: _GIVEN - len(self._given)]

    def _model_ends(self) -> None:
        self._phases.left_model(self._mode.count)

    def _loss_ends(self, begun: int) -> None:
        self._phases.left_loss(begun, self._mode.count)

    def note_loss(self, loss: object) -> None:
        """Call with what `torch.autograd.backward` was given (a tensor, or a sequence of tensors), before it runs."""
        with shield.shielded(SENSOR), quietly():
            self._phases.backward_begins(self._mode.count)
            self._terms.note(loss)  # before the surveyor listens to the graph: it takes gradients of its own
            if self._surveyor is not None:
                roots = [value for value in tree_leaves(loss) if isinstance(value, torch.Tensor)]
                self._surveyor.backward_begins(roots, self._mode.nodes)
            for value in tree_leaves(loss):
                part = dense(value) if isinstance(value, torch.Tensor) and is_number(value) else None
                if part is not None and is_bad(part):
                    self._sinks.append(sink("loss", "loss", part, self._flow))

    def note_update(self, optimizer: torch.optim.Optimizer, *, taken: bool) -> None:
        """Call when an update is asked for, and (`taken`) when it was taken."""
        if self._surveyor is not None:
            with shield.shielded(SENSOR):
                (self._surveyor.after_step if taken else self._surveyor.before_step)(optimizer)

    def note_made(self, made: Sequence[tuple[str, torch.Tensor]]) -> None:
        """Call at the end of the step with parameters that it made anew, and the names they are bound to."""
        with shield.shielded(SENSOR), quietly():
            for name, tensor in made:
                part = dense(tensor)
                if part is not None and is_number(part) and is_bad(part):
                    self._sinks.append(sink("parameter", name, part, self._flow))

    def note_cleared(self) -> None:
        """Call after gradients were cleared by `zero_grad`."""
        if self._surveyor is not None:
            with shield.shielded(SENSOR):
                self._surveyor.cleared(self._frames.spot(sys._getframe(1), in_backward=False))

    def note_exception(self, error: BaseException) -> None:
        """Call with the exception that ended the step, inside the block or after it."""
        with shield.shielded(SENSOR), quietly():
            self._sinks.append(find_exception(error, self._judge, self._frames, self._mode))

    def finish(self) -> Trace:
        """The trace. Call it after the block."""
        if self._trace is None:
            unseen = tuple(text if times == 1 else f"{text} ({times} times)" for text, times in self._unseen.items())
            if shield.is_off(SENSOR):
                unseen = (*unseen, f"the rest of the step: {shield.failures[SENSOR]}")
            self._trace = assemble(
                self._judge,
                self._frames,
                self._phases,
                self._sinks,
                tuple(self._modules.profile),
                tuple(self._gradients.values()),
                self._mode.count,
                unseen,
                self._given,
                self._terms.found(),
                self._custom,
            )
            self._batch_size = self._around.batch_size
            if self._surveyor is not None:
                with shield.shielded(SENSOR):
                    self.survey = self._surveyor.finish(self._frames, self._phases, unseen)
            self._forget()
        return self._trace

    def _forget(self) -> None:
        """Let go of every tensor and module: the trace is all that remains."""
        for name in ("_flow", "_around", "_judge", "_modules", "_phases", "_mode", "_frames", "_surveyor", "_terms", "_functions"):
            delattr(self, name)
        self.batch.clear()

    def _note_unseen(self, text: str) -> None:
        self._unseen[text] = self._unseen.get(text, 0) + 1


def _given(module: torch.nn.Module, tensors: Sequence[torch.Tensor]) -> tuple[TensorStats, ...]:
    """What a model is called with, under the names its `forward` gives its arguments where they are plain tensors."""
    names = list(inspect.signature(module.forward).parameters)
    found = []
    for number, tensor in enumerate(tensors[:_GIVEN]):
        part = dense(tensor) if tensor.grad_fn is None and tensor.numel() <= 2**24 else None
        if part is not None:
            name = names[number] if number < len(names) else f"input[{number}]"
            found.append(rows_compared(describe(part, name), part))
    return tuple(found)
