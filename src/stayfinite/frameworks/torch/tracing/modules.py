"""Which module is running: a stack kept by the two global forward hooks, and what each leaf module gave out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves

from stayfinite.frameworks.torch.stats import dense, dtype_name, is_number, magnitude, quietly
from stayfinite.frameworks.torch.tracing.frames import speaks_of_loss
from stayfinite.records.numbers import to_number
from stayfinite.records.trace import Magnitude
from stayfinite.shield import shielding

_PROFILE = 2000
"""Most module outputs that are measured in a step; a recurrent cell called in a Python loop makes thousands."""


def is_loss(module: torch.nn.Module) -> bool:
    """True for the losses of `torch.nn` and for modules whose class name says so."""
    return isinstance(module, torch.nn.modules.loss._Loss) or speaks_of_loss(type(module).__name__)


def turned_out_a_loss(module: torch.nn.Module, inputs: Any, output: Any) -> bool:
    """True for a module of the user's that is a loss by what it does, whatever its name: it has no parameters and makes one
    number of what a model gave. Where it raised there is no number: it took what a model gave together with what none did."""
    if next(module.parameters(), None) is not None:
        return False
    given = [one for one in tree_leaves(inputs) if isinstance(one, torch.Tensor)]
    learned = [one.requires_grad for one in given]
    if isinstance(output, torch.Tensor):
        return any(learned) and output.numel() == 1
    return output is None and any(learned) and not all(learned)


class Entry:
    """A module that is running. `loss`: it computes a loss; `in_backward`: it was called while the engine ran
    (recomputation); `path`: dotted name, the class name for a root or a stranger; `begun`: operators that had run."""

    __slots__ = ("begun", "in_backward", "loss", "module", "path")

    def __init__(self, module: torch.nn.Module, path: str, loss: bool, in_backward: bool, begun: int) -> None:
        self.module = module
        self.path = path
        self.loss = loss
        self.in_backward = in_backward
        self.begun = begun


class Modules:
    """The stack of running modules.

    **Arguments**: `roots`: the models; `entered(module, tensors)` is called when a module that is no loss starts with
    none running, `left()` when it returns, or `judged(begun)` if it turned out to be a loss: all since operator `begun`
    was its work. `count()`: operators that have run.
    """

    def __init__(
        self,
        roots: Sequence[torch.nn.Module],
        entered: Callable[[torch.nn.Module, list[torch.Tensor]], None],
        left: Callable[[], None],
        judged: Callable[[int], None],
        count: Callable[[], int],
    ) -> None:
        self.stack: list[Entry] = []
        self.profile: list[Magnitude] = []
        self._entered, self._left, self._judged, self._count = entered, left, judged, count
        self._paths: dict[int, str] = {}
        self._handles: list[Any] = []
        # A model that is called a loss (a wrapper that returns one) is a model all the same.
        self._roots = {id(root) for root in roots if not isinstance(root, torch.nn.modules.loss._Loss)}
        for root in roots:
            for name, module in root.named_modules():
                self._paths.setdefault(id(module), name or type(module).__name__)

    def attach(self) -> None:
        """Start to follow module calls."""
        self._handles = [
            register_module_forward_pre_hook(shielding("tracer: modules", self._enter)),
            register_module_forward_hook(shielding("tracer: modules", self._leave), always_call=True),
        ]

    def detach(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.stack.clear()

    def path(self, module: torch.nn.Module) -> str:
        """The dotted name of `module`."""
        return self._paths.get(id(module), type(module).__name__)

    def _enter(self, module: torch.nn.Module, inputs: Any) -> None:
        in_backward = torch._C._current_autograd_node() is not None
        loss = id(module) not in self._roots and is_loss(module)
        if not loss and not in_backward and all(entry.loss for entry in self.stack):
            self._entered(module, [value for value in tree_leaves(inputs) if isinstance(value, torch.Tensor)])
        self.stack.append(Entry(module, self.path(module), loss, in_backward, self._count()))

    def _leave(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        # An exception may have skipped the hooks of inner modules: unwind to this one.
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place].module is module:
                entry = self.stack[place]
                del self.stack[place:]
                break
        else:
            return
        top = not entry.loss and not entry.in_backward and all(other.loss for other in self.stack)
        if top and turned_out_a_loss(module, inputs, output):
            self._judged(entry.begun)
            return
        if output is not None and not entry.loss and not entry.in_backward:
            if len(self.profile) < _PROFILE and next(module.children(), None) is None:
                self._measure(entry, output)
            if top:
                self._left()

    def _measure(self, entry: Entry, output: Any) -> None:
        with quietly():
            for value in tree_leaves(output):
                part = dense(value) if isinstance(value, torch.Tensor) and is_number(value) else None
                if part is not None:
                    largest, spread = magnitude(part)
                    self.profile.append(
                        Magnitude(
                            module=entry.path,
                            kind=type(entry.module).__name__,
                            absmax=to_number(largest),
                            std=to_number(spread),
                            dtype=dtype_name(part.dtype),
                        )
                    )
                    return
