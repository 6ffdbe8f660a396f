"""The backward pass seen from its nodes: where a gradient ends, and where it grows.

A node of the autograd graph is handed a gradient and hands one on along each of its edges. Hooks on the nodes of a graph
that is about to be differentiated compare the two: an edge that is given exact zeros while something arrived is where
a gradient ends. (An operator of the backward pass does not show that: some nodes run several, and some none.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from stayfinite import shield
from stayfinite.frameworks.torch.stats import dense, is_readable, quietly
from stayfinite.frameworks.torch.tracing.backward import Forward, NodeCalls

GROWS = 10.0
"""Gains below this are left out: a matrix product or a sum over a batch has them every day."""
_CARRYING = frozenset({"move", "cast"})
_ROWS_FROM = 100.0
"""The samples of a gain are told from here on: those rows with at least a tenth of its largest magnitude."""


class End:
    """One edge along which exact zeros were handed on: the `forward` call, the share of elements `blocked`, the parameters
    behind the edge as bits of `behind`, and whether no unit is asked for `no_more` or `no_less` than it gives out."""

    __slots__ = ("behind", "blocked", "forward", "no_less", "no_more")

    def __init__(self, forward: Forward, blocked: float, behind: int, no_more: bool = False, no_less: bool = False) -> None:
        self.forward, self.blocked, self.behind, self.no_more, self.no_less = forward, blocked, behind, no_more, no_less


class Growth:
    """One edge that enlarged a gradient. `rows`: of the batch, where the largest magnitudes lie."""

    __slots__ = ("factor", "forward", "incoming", "outgoing", "rows")

    def __init__(self, forward: Forward, incoming: float, outgoing: float, rows: tuple[int, ...]) -> None:
        self.forward, self.incoming, self.outgoing, self.rows = forward, incoming, outgoing, rows
        self.factor = outgoing / incoming


class Nodes:
    """Follows the gradients of one step. **Arguments**: `sensor`, the name for `shield`; `bit(tensor)`, the bit of a
    parameter, 0 for others; `partly`, kinds of forward calls whose ends are kept where only a part of the elements is blocked;
    `batch_size()`."""

    def __init__(
        self, sensor: str, bit: Callable[[torch.Tensor], int], partly: frozenset[str], batch_size: Callable[[], int | None]
    ) -> None:
        self.ends: list[End] = []
        self.growths: list[Growth] = []
        self.passed: dict[int, tuple[float, float]] = {}
        """By index of a forward call: the largest magnitudes that arrived at its output and left through its input."""
        self.flat: dict[int, float] = {}
        """By index of a forward call: the share of elements of the gradient that it made at least a thousand times smaller."""
        self.reached = 0
        """Bits of the parameters that a differentiated loss depends on."""
        self._sensor = sensor
        self._bit = bit
        self._partly = partly
        self._batch_size = batch_size
        self._handles: list[Any] = []
        self._followed: set[int] = set()
        self._kept: list[Any] = []
        """Nodes that are followed: their identities must not be given to others."""

    def follow(self, roots: Sequence[torch.Tensor], calls: NodeCalls) -> None:
        """`roots` are about to be differentiated."""
        behind: dict[int, int] = {}
        for root in roots:
            if root.grad_fn is not None:
                for node in _children_first(root.grad_fn):
                    behind[id(node)] = self._behind(node, behind)
                    self._kept.append(node)
                    if id(node) not in self._followed and not hasattr(node, "variable"):
                        self._followed.add(id(node))
                        self._hook(node, calls, behind)
                self.reached |= behind[id(root.grad_fn)]
            else:
                self.reached |= self._bit(root)

    def _behind(self, node: Any, behind: Mapping[int, int]) -> int:
        if hasattr(node, "variable"):
            return self._bit(node.variable)
        found = 0
        for child, _ in node.next_functions:
            found |= behind.get(id(child), 0)
        return found

    def _hook(self, node: Any, calls: NodeCalls, behind: Mapping[int, int]) -> None:
        forward = calls.find(node)
        if forward is None:
            return
        edges = [
            (behind.get(id(child), 0), _is_parameter(child, calls)) if child is not None else None
            for child, _ in node.next_functions
        ]

        def crossed(given: Sequence[Any], arrived: Sequence[Any]) -> None:
            with quietly():
                self._crossed(forward, edges, given, arrived)

        self._handles.append(node.register_hook(shield.shielding(self._sensor, crossed)))

    def _crossed(
        self, forward: Forward, edges: Sequence[tuple[int, bool] | None], given: Sequence[Any], arrived: Sequence[Any]
    ) -> None:
        incoming = [part for one in arrived if (part := _values(one)) is not None]
        largest = max((_largest(part) for part in incoming), default=0.0)
        if not 0.0 < largest < math.inf:
            return
        left = 0.0
        for edge, one in zip(edges, given, strict=False):
            if edge is None:
                continue
            behind, is_parameter = edge
            part = _values(one)
            outgoing = _largest(part) if part is not None else 0.0
            if not is_parameter:
                left = max(left, outgoing)
            if outgoing == 0.0:
                # zeros for a parameter itself come from what it was multiplied with, not from a slope
                if is_parameter:
                    continue
                if one is not None or not any(other is not None for other in given):
                    self.ends.append(End(forward, 1.0, behind, *_asked(incoming)))
                continue
            if part is None:
                continue
            aligned = next((other for other in incoming if other.shape == part.shape), None)
            if aligned is not None and not part.is_complex() and not aligned.is_complex():
                alive = aligned != 0
                total = int(alive.sum())
                if total:
                    if forward.kind in self._partly:
                        self.ends.append(End(forward, int(((part == 0) & alive).sum()) / total, behind))
                    self.flat[forward.index] = int(((part.abs() < 1e-3 * aligned.abs()) & alive).sum()) / total
            if aligned is None and forward.recipe.pointwise and incoming:
                outgoing *= min(1.0, part.numel() / max(other.numel() for other in incoming))  # a sum over what was broadcast
            if not is_parameter and outgoing >= GROWS * largest and forward.kind not in _CARRYING and not _scales(forward):
                self.growths.append(Growth(forward, largest, outgoing, self._rows(part, outgoing, largest)))
        self.passed[forward.index] = largest, left

    def _rows(self, part: torch.Tensor, outgoing: float, incoming: float) -> tuple[int, ...]:
        size = self._batch_size()
        if size is None or size < 2 or not part.dim() or part.shape[0] != size or outgoing < _ROWS_FROM * incoming:
            return ()
        rows = part.detach().abs().reshape(size, -1).amax(1) >= 0.1 * outgoing
        found = tuple(int(row) for row in rows.nonzero().flatten())
        return found if len(found) <= size // 2 else ()

    def detach(self) -> None:
        """Remove every hook and let the graph go."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._kept.clear()
        self._followed.clear()


def _children_first(root: Any) -> list[Any]:
    """The nodes of the graph behind `root`, each after those it hands gradients to."""
    order: list[Any] = []
    seen: set[Any] = set()
    waiting: list[tuple[Any, bool]] = [(root, False)]
    while waiting:
        node, done = waiting.pop()
        if done:
            order.append(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        waiting.append((node, True))
        waiting.extend((child, False) for child, _ in node.next_functions if child is not None and child not in seen)
    return order


def _is_parameter(node: Any, calls: NodeCalls) -> bool:
    """True if what is handed to `node` goes to one leaf, through views and casts at most."""
    for _ in range(4):
        if hasattr(node, "variable"):
            return True
        children = [child for child, _ in node.next_functions if child is not None]
        forward = calls.find(node)
        if len(children) != 1 or forward is None or forward.kind not in _CARRYING:
            return False
        node = children[0]
    return False


def _scales(forward: Forward) -> bool:
    """True for the product with the scale of a gradient scaler, which is divided out again."""
    library = forward.spot.library
    return library is not None and library[0].co_filename.endswith("grad_scaler.py")


def _asked(incoming: Sequence[torch.Tensor]) -> tuple[bool, bool]:
    """Whether gradients, summed over the first dimension, ask no unit for more, and whether they ask none for less."""
    if any(part.is_complex() or not is_readable(part) for part in incoming):
        return False, False
    sums = [part.sum(0) if part.dim() else part for part in incoming]
    return all(bool((one >= 0.0).all()) for one in sums), all(bool((one <= 0.0).all()) for one in sums)


def _values(tensor: Any) -> torch.Tensor | None:
    if not isinstance(tensor, torch.Tensor):
        return None
    part = dense(tensor)
    return part if part is not None and part.numel() else None


def _largest(part: torch.Tensor) -> float:
    """Largest magnitude; 0 for a tensor that stands for zeros without having memory; NaN if there is one."""
    if not is_readable(part):
        return 0.0
    values = part.detach()
    if values.is_complex():
        values = values.abs()
    if values.element_size() < 4:
        values = values.to(torch.float32)
    low, high = torch.aminmax(values)
    return max(abs(float(low)), abs(float(high)))
