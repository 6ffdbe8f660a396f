"""From an autograd node back to the forward call that created it.

A node takes the next sequence number when it is created, and the operator it belongs to is dispatched right after; so
when an operator is dispatched, the latest number is its own. An operator without a node sees the number of an earlier
one: the first writer keeps it. Numbers are counted per thread.
"""

from __future__ import annotations

import bisect
import re
import threading
from typing import Any

import torch

from stayfinite.frameworks.torch.stats import is_readable
from stayfinite.frameworks.torch.tracing.frames import Spot
from stayfinite.frameworks.torch.tracing.labels import Labels
from stayfinite.frameworks.torch.tracing.phase import RawPhase
from stayfinite.frameworks.torch.tracing.recipes import Recipe

_SUFFIX = re.compile(r"Backward\d*$")
_LEAF_NUMBER = 2**63
"""Nodes that accumulate into leaves carry the largest unsigned number."""


class Kept:
    """A forward operand kept for the case that the backward goes wrong there: an alias of its memory, without
    history."""

    __slots__ = ("name", "position", "tensor", "version")

    def __init__(self, position: int, name: str, tensor: torch.Tensor) -> None:
        self.position = position
        self.name = name
        self.tensor = tensor
        # Tensors of the inference mode do not count their versions, and cannot be written either.
        self.version = -1 if tensor.is_inference() else tensor._version

    @property
    def unchanged(self) -> bool:
        """False if the values were overwritten, or the memory given back, since."""
        return (self.version < 0 or self.tensor._version == self.version) and is_readable(self.tensor)


class Forward:
    """One forward call, remembered for its node. `shapes`: of its tensors through which the batch runs; `labels`: of those whose
    rows are known, by shape; `parameter`:
    the one it reads, if it reads exactly one; `value`: what it gave out, where that is one number;
    `summed`: a loss that was told to add up its elements."""

    __slots__ = (
        "index", "kept", "kind", "labels", "module", "numbers", "parameter", "phase", "recipe", "shapes", "spot", "summed", "value",
    )

    def __init__(
        self,
        index: int,
        recipe: Recipe,
        spot: Spot,
        module: str | None,
        phase: RawPhase,
        parameter: str | None,
        numbers: list[tuple[str, float]],
    ) -> None:
        self.index = index
        self.recipe = recipe
        self.kind = recipe.kind
        self.spot = spot
        self.module = module
        self.phase = phase
        self.parameter = parameter
        self.numbers = numbers
        self.kept: list[Kept] = []
        self.shapes: set[torch.Size] = set()
        self.labels: dict[torch.Size, Labels | None] = {}
        self.value: float | None = None
        self.summed = False


class NodeCalls:
    """Sequence numbers and the forward calls they belong to."""

    def __init__(self) -> None:
        self._first = torch.autograd._get_sequence_nr()
        self._home = threading.get_ident()
        self._calls: dict[int, dict[int, Forward]] = {}
        self._order: dict[int, list[int]] = {}

    def note(self, forward: Forward) -> bool:
        """Remember `forward` for the node created last on this thread; false if that node has its call already."""
        thread = threading.get_ident()
        number = torch.autograd._get_sequence_nr() - 1
        if number < self._first and thread == self._home:
            return False
        calls = self._calls.setdefault(thread, {})
        if number in calls:
            return False
        calls[number] = forward
        self._order.setdefault(thread, []).append(number)
        return True

    def awaits(self) -> bool:
        """True if the node created last on this thread has no call yet."""
        thread = threading.get_ident()
        number = torch.autograd._get_sequence_nr() - 1
        return (number >= self._first or thread != self._home) and number not in self._calls.get(thread, ())

    def find(self, node: Any) -> Forward | None:
        """The forward call that created `node`; ``None`` for nodes older than the trace and for those that
        accumulate."""
        number = node._sequence_nr()
        if number >= _LEAF_NUMBER:
            return None
        here = threading.get_ident()
        found = self._calls.get(self._home, {}).get(number)
        if here != self._home:
            # Recomputed segments create nodes on the engine's own thread, which counts from its own zero.
            other = self._calls.get(here, {}).get(number)
            if other is not None and (found is None or (_belongs(node, other) and not _belongs(node, found))):
                return other
        return found or self._before(number)

    def _before(self, number: int) -> Forward | None:
        """The latest call before `number`: an in-place write to a view creates further nodes after its operator ran."""
        order = self._order.get(self._home, [])
        place = bisect.bisect_right(order, number) - 1
        if place < 0 or number < self._first:
            return None
        return self._calls[self._home][order[place]]


def _belongs(node: Any, forward: Forward) -> bool:
    """True if the name of `node` fits the operator of `forward`: ``LogBackward0`` and ``log``."""
    name = _SUFFIX.sub("", node.name()).lower().replace("_", "")
    base = forward.recipe.base.lower().replace("_", "")
    return name.startswith(base) or base.startswith(name)
