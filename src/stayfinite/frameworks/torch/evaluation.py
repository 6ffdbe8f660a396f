"""Looks at what models give out between training passes: evaluation has no backward pass and no update to be judged by.

Once a model that is trained is put into eval mode, or gradients are switched off, outside of any pass, what its calls
return is added up until the next pass begins: one reduction per call of a whole model. On a device the sums are read some
calls later. Only NaN counts: scores of minus infinity are how a mask says "not this one".
"""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from stayfinite import shield
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.frameworks.torch.generators import generator_states
from stayfinite.frameworks.torch.state import Copy
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.records.intervention import Effect, Intervention
from stayfinite.rewrite.project import is_user_file
from stayfinite.rewrite.quiet import quiet

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.interventions.performing import Performer

SENSOR = "evaluation"
WAITING = 4
"""Calls on a device whose sum has not been read: each keeps its arguments alive."""
_OUTPUTS = 8


@dataclass
class Call:
    """One call of a whole model. `total`: the sum of what it returned."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    total: Tensor

    @property
    def names(self) -> dict[str, Any]:
        """What the model was given, under the names its `forward` has for it."""
        return named_arguments(self.module, self.args, self.kwargs)


class Evaluation:
    """`found` is told of the first call of each model that gave NaN; `idle` says whether no training pass is running."""

    def __init__(self, found: Callable[[Call], None], idle: Callable[[], bool]) -> None:
        self._found = found
        self._idle = idle
        self._roots: dict[int, nn.Module] = {}
        self._handle: Any = None
        self._waiting: deque[Call] = deque()
        self._told: set[int] = set()
        self._inside = False

    def listen(self, wrap: Callable[..., None]) -> None:
        """Hook what begins an evaluation by `wrap(owner, name, before, after)`."""
        wrap(nn.Module, "train", None, lambda _result, own, mode=True: self._begins(own) if not mode else None)
        # these are entered at every step of some optimizers: the cheapest question is asked first
        for kind in (torch.no_grad, torch.inference_mode):
            wrap(kind, "__enter__", None, lambda _result, _own: self._begins(), self._may_begin)

    def trains(self, roots: Iterable[nn.Module]) -> None:
        """A training pass of `roots` begins."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
            self.settle()
        for root in roots:
            if id(root) not in self._roots and type(root).__name__ != "OptimizedModule":
                self._roots[id(root)] = root

    def close(self) -> None:
        """The run is over."""
        self.trains(())
        self._roots.clear()

    def _may_begin(self) -> bool:
        return self._handle is None and bool(self._roots) and self._idle()

    def _begins(self, own: nn.Module | None = None) -> None:
        if self._may_begin() and (own is None or id(own) in self._roots):
            self._handle = nn.modules.module.register_module_forward_hook(
                shield.shielding(SENSOR, self._called), with_kwargs=True
            )

    def _called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if id(module) not in self._roots or self._inside or id(module) in self._told or not self._idle():
            return
        if (module.training and torch.is_grad_enabled()) or torch.compiler.is_compiling():
            return
        tensors = _numbers(output)
        if not tensors:
            return
        with torch.no_grad():
            sums = [tensor.detach().sum(dtype=torch.float32 if tensor.dtype in _HALF else None) for tensor in tensors]
            total = sums[0] if len(sums) == 1 else torch.stack([one.to(sums[0].device, torch.float64) for one in sums]).sum()
        call = Call(module, args, kwargs, total)
        if total.device.type != "cpu":
            self._waiting.append(call)
            if len(self._waiting) > WAITING:
                self._read(self._waiting.popleft())
        # infinities of both signs add up to NaN as well
        elif math.isnan(float(total.item())) and any(bool(torch.isnan(tensor).any()) for tensor in tensors):
            self._tell(call)

    def settle(self) -> None:
        """Read the sums that are still waiting."""
        with shield.shielded(SENSOR):
            while self._waiting:
                self._read(self._waiting.popleft())

    def _read(self, call: Call) -> None:
        if math.isnan(float(call.total.item())) and id(call.module) not in self._told:
            self._tell(call)

    def _tell(self, call: Call) -> None:
        self._inside = True
        self._told.add(id(call.module))
        try:
            self._found(call)
        finally:
            self._inside = False


_HALF = (torch.float16, torch.bfloat16)


class Repetition:
    """Calls a model once more as it was called, and leaves it and the random generators as they were."""

    def __init__(self, call: Call, subjects: Subjects, relative: Callable[[str], str]) -> None:
        self._call = call
        self._subjects = subjects
        self._relative = relative
        self.bad = False
        """The latest repetition gave NaN."""

    def repeat(self, request: ReplayRequest) -> Outcome:
        """What the call came to."""
        # imported here: a run without incidents loads no tracer
        from stayfinite.frameworks.torch.tracing.tracer import Tracer

        call = self._call
        generators = generator_states()
        before = Copy([*call.module.parameters(), *call.module.buffers()])
        tracer, changed = None, None
        if request.purpose == "trace" or request.watched:
            tracer = Tracer([call.module], call.names, [], is_user_file, self._relative, self._subjects.parameter_names)
        if request.intervention is not None:
            changed = self._performer(request.intervention)
            if changed.refused or request.steps > 1:
                refused = changed.refused or "an evaluation has no earlier steps"
                return Outcome(True, "", unrepeatable=refused, effect=Effect(refused=refused))
        try:
            with ExitStack() as stack:
                stack.enter_context(shield.told_afterwards())
                silence = stack.enter_context(quiet())
                stack.enter_context(torch.inference_mode(False))
                stack.enter_context(torch.no_grad())
                if tracer is not None or changed is not None:
                    stack.enter_context(torch.compiler.set_stance("force_eager"))
                if changed is not None:
                    changed.begin()
                    changed.rebind(call.names, [])
                    stack.enter_context(changed.entered())
                if tracer is not None:
                    stack.enter_context(tracer)
                output = call.module(*call.args, **call.kwargs)
                bad = [tensor for tensor in _numbers(output) if bool(torch.isnan(tensor).any())]
                if tracer is not None:
                    tracer.note_loss(bad)
            self.bad = bool(bad)
            return Outcome(
                self.bad, "nan" if bad else "", trace=tracer.finish() if tracer is not None else None,
                unrepeatable=silence.refused, effect=changed.effect() if changed is not None else None,
                places=changed.places() if changed is not None else (),
            )
        except Exception as error:  # the user's own code, on its second call
            return Outcome(False, "", unrepeatable=f"the call raised {type(error).__name__} when it was repeated: {error}")
        finally:
            before.restore()
            generators()


    def _performer(self, intervention: Intervention) -> Performer:
        # imported here: a run without incidents loads no performers
        from stayfinite.frameworks.torch.interventions.performing import given_of, performer
        from stayfinite.frameworks.torch.passes import Window

        subjects = self._subjects

        def name(tensor: Tensor) -> str:
            return subjects.parameter_names.get(id(tensor), "")

        return performer(intervention, given_of(Window([]), subjects, self._relative, name, self._call.names))


def named_arguments(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of `module` by the names its `forward` gives them."""
    try:
        parameters = [*inspect.signature(module.forward).parameters]
    except (TypeError, ValueError):
        parameters = []
    return {**{parameters[i] if i < len(parameters) else f"input{i}": value for i, value in enumerate(args)}, **kwargs}


def _numbers(output: object) -> list[Tensor]:
    """The floating-point tensors of what a model returned."""
    if isinstance(output, Tensor):
        leaves: list[Any] = [output]
    else:
        leaves = tree_leaves(output if isinstance(output, (list, tuple, dict)) else vars(output) if hasattr(output, "__dict__") else ())
    found = [one for one in leaves if isinstance(one, Tensor) and one.is_floating_point() and one.layout is torch.strided]
    return [one for one in found if one.numel()][:_OUTPUTS]
