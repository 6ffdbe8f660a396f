"""What a loss is the sum of: back from the number that is differentiated, through sums, means and scalings.

Each addend is measured alone: its value, and its own gradient, by a backward of its own over the graph of the repeated
step, before the step's backward frees it. The parameters keep their gradients; hooks the author put on tensors run again.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch.autograd.graph import GradientEdge
from torch.utils._pytree import tree_leaves

from stayfinite import shield
from stayfinite.frameworks.torch.stats import dense, is_bad, is_number
from stayfinite.frameworks.torch.tracing.backward import Forward, NodeCalls
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.frameworks.torch.tracing.leaves import Surroundings
from stayfinite.frameworks.torch.tracing.operands import shape_of
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import to_number
from stayfinite.records.trace import LossTerm

SENSOR = "loss terms"

_MOST = 200
"""Addends that are looked at; a loss added up over the steps of a long sequence has more, on one line."""
_MEASURED = 8
"""Lines with addends whose gradients are taken: each costs a backward pass."""
_ELEMENTS = 50_000_000
"""Elements of gradients that may be made for all terms together."""
_NODES = 20_000
"""Nodes of one addend's graph that are visited to find its parameters."""
_NAMED = 10

_ADDING = frozenset({"add", "sub"})
_SCALING = frozenset({"mul", "div", "neg", "cast", "move", "sum", "mean"})
"""Kinds that only scale one number, or collect several."""


class _Addend:
    """One addend. `node`, `output`: what computed it, before it was scaled; `text`: what its sum calls it; `value`: as
    it enters the loss; `weight`: the slope of the loss over it; `forward`: the call behind `node`; `scaled`: the last
    product or quotient on its way."""

    def __init__(
        self, node: Any, output: int, text: str, forward: Forward | None, value: float, scaled: Forward | None
    ) -> None:
        self.node, self.output, self.text, self.forward, self.value = node, output, text, forward, value
        self.weight = 1.0
        self.scaled = scaled


class Terms:
    """Collects the addends of the losses of one step. **Arguments**: `nodes`: forward calls by autograd node; `around`:
    names of parameters; `frames`: places."""

    def __init__(self, nodes: NodeCalls, around: Surroundings, frames: Frames) -> None:
        self._nodes, self._around, self._frames = nodes, around, frames
        self._terms: dict[tuple[str, int, str], LossTerm] = {}
        self._reached: dict[tuple[str, int, str], set[str]] = {}
        self._spent = 0

    def note(self, loss: object) -> None:
        """`loss` is about to be differentiated: a tensor, or a sequence of them."""
        with shield.shielded(SENSOR, "losses are not taken apart"):
            addends: list[_Addend] = []
            for root in tree_leaves(loss):
                if isinstance(root, torch.Tensor) and root.grad_fn is not None and root.numel() == 1 and is_number(root):
                    found = self._addends(root.grad_fn, root.output_nr, "")[:_MOST]
                    _weigh(root, found)
                    addends += found
            by_line: dict[tuple[str, int, str], list[_Addend]] = {}
            for addend in addends[:_MOST]:
                place = self._place(addend)
                by_line.setdefault((place.file, place.line, place.expression), []).append(addend)
            for key, group in by_line.items():
                self._add(key, group, measure=len(addends) > 1 or bool(self._terms))

    def found(self) -> tuple[LossTerm, ...]:
        """The terms, those that reach a common parameter with equal `group`; empty if there is only one."""
        if len(self._terms) < 2:
            return ()
        groups: list[set[str]] = []
        for names in self._reached.values():
            joined = set(names).union(*(group for group in groups if group & names))
            groups = [group for group in groups if not group & names] + [joined]
        number = {name: at for at, group in enumerate(groups) for name in group}
        found = []
        for key, term in self._terms.items():
            own = next((number[name] for name in self._reached[key]), -1)
            found.append(LossTerm(**{f: getattr(term, f) for f in term.__struct_fields__ if f != "group"}, group=own))
        return tuple(found)

    # -- taking apart -------------------------------------------------------------------------------------------------

    def _addends(self, node: Any, output: int, text: str, scaled: Forward | None = None, *, part: bool = False) -> list[_Addend]:
        """The addends of the number that `node` gave out as its `output`-th result; `text`: what it is called. `part`: it is an
        addend itself, which `scaled` multiplied as a whole; what multiplies all of a loss gives no term its weight."""
        for _ in range(50):
            forward = self._nodes.find(node)
            children = [(child, at) for child, at in node.next_functions if child is not None and _is_made(child)]
            if forward is None or not children:
                break
            if forward.kind in _ADDING and len(children) > 1 and all(_extent(*child) == 1 for child in children):
                return self._split(forward, node, text, scaled if part else None)
            if forward.kind not in _ADDING | _SCALING | {"matmul"} or len(children) != 1:
                break
            collected = self._collected(node) if forward.kind not in _ADDING else []  # matmul: `torch.dot(weights, terms)`
            if collected:
                return [one for child in collected for one in self._addends(*child, "", part=True)]
            if _extent(*children[0]) != 1 or forward.kind == "matmul":
                break
            if scaled is None and forward.kind in ("mul", "div"):
                scaled = forward
            node, output = children[0]
        return [_Addend(node, output, text, self._nodes.find(node), self._value(node), scaled)]

    def _split(self, forward: Forward, node: Any, text: str, scaled: Forward | None) -> list[_Addend]:
        shape = shape_of(self._frames.location(forward.spot).expression)
        found: list[_Addend] = []
        for place, (child, at) in enumerate(node.next_functions):
            if child is None or not _is_made(child):
                continue
            own = shape.operands[place] if len(shape.operands) == 2 and place < 2 else text
            found += self._addends(child, at, own, scaled, part=True)
            if len(found) > _MOST:
                break
        return found

    def _collected(self, node: Any) -> list[tuple[Any, int]]:
        """The single numbers that a `stack` or `cat` collected and `node` adds up, weighted or not."""
        for _ in range(4):
            children = [(child, at) for child, at in node.next_functions if child is not None]
            if len(children) > 1:
                stacked = all(_extent(child, at) == 1 for child, at in children)
                forward = self._nodes.find(node)
                return children if stacked and forward is not None and forward.kind == "move" else []
            if not children:
                return []
            node = children[0][0]
            forward = self._nodes.find(node)
            if forward is None or forward.kind not in _SCALING:
                return []
        return []

    def _value(self, node: Any) -> float:
        """The number `node` gave out, NaN if it is not known; views have none of their own."""
        for _ in range(10):
            forward = self._nodes.find(node)
            if forward is not None and forward.value is not None:
                return forward.value
            if forward is None or forward.kind != "move" or len(node.next_functions) != 1 or node.next_functions[0][0] is None:
                break
            node = node.next_functions[0][0]
        return math.nan

    # -- measuring ----------------------------------------------------------------------------------------------------

    def _add(self, key: tuple[str, int, str], group: list[_Addend], *, measure: bool) -> None:
        first = group[0]
        parameters = self._parameters(one.node for one in group)
        term = self._terms.get(key)
        elements = sum(p.numel() for p in parameters.values())
        norm, named = math.nan, tuple[str, ...]()
        measured = measure and term is None and len(self._terms) < _MEASURED and self._spent + elements <= _ELEMENTS
        if measured:
            self._spent += elements
            measured, norm, named = self._gradient(group, parameters)
        place = self._place(first)
        total = sum(one.value for one in group)
        known = float(term.value) if term is not None else 0.0
        self._terms[key] = LossTerm(
            name=first.text or _assigned(place.code, place.expression) or place.expression or place.code,
            location=place,
            kind="unknown" if first.forward is None else "sum" if first.forward.summed else first.forward.kind,
            value=to_number(known + total),
            weight=to_number(first.weight),
            count=len(group) + (term.count if term is not None else 0),
            gradient=to_number(norm) if measured else term.gradient if term is not None else "nan",
            measured=measured or (term is not None and term.measured),
            parameters=named or (term.parameters if term is not None else ()),
            source=first.forward.index if first.forward is not None else None,
            weighted_at=self._frames.location(first.scaled.spot) if first.scaled is not None else None,
        )
        self._reached.setdefault(key, set()).update(parameters)

    def _gradient(
        self, group: list[_Addend], parameters: dict[str, torch.Tensor]
    ) -> tuple[bool, float, tuple[str, ...]]:
        """Whether the gradient of the addends could be taken alone, its norm, and the parameters that `LossTerm` names."""
        if not parameters:
            return False, math.nan, ()
        edges = [GradientEdge(one.node, one.output) for one in group]
        slopes = [_filled(one) for one in group]
        try:
            gradients = torch.autograd.grad(
                edges, list(parameters.values()), slopes, retain_graph=True, allow_unused=True
            )
        except RuntimeError:  # a graph that cannot be walked twice, or not by `grad`: reentrant checkpoints, compiled ones
            return False, math.nan, ()
        sizes: dict[str, float] = {}
        bad = []
        for name, gradient in zip(parameters, gradients, strict=True):
            part = dense(gradient) if gradient is not None else None
            if part is None:
                continue
            if is_bad(part):
                bad.append(name)
            sizes[name] = float(torch.linalg.vector_norm(part.to(torch.float64)))
        largest = sorted(sizes, key=lambda name: -sizes[name] if math.isfinite(sizes[name]) else 0.0)
        norm = math.nan if bad else math.sqrt(sum(size * size for size in sizes.values()))
        return True, norm, tuple((bad or largest)[:_NAMED])

    def _parameters(self, nodes: Iterable[Any]) -> dict[str, torch.Tensor]:
        """Parameters the gradient of `nodes` reaches, by name."""
        found: dict[str, torch.Tensor] = {}
        for node in _graph(nodes):
            variable = getattr(node, "variable", None)
            name = self._around.parameter_of_tensor(variable) if isinstance(variable, torch.Tensor) else None
            if name is not None and isinstance(variable, torch.Tensor):
                found[name] = variable
        return found

    def _place(self, addend: _Addend) -> Location:
        return self._frames.location(addend.forward.spot) if addend.forward is not None else UNKNOWN_LOCATION


def _graph(nodes: Iterable[Any]) -> Iterator[Any]:
    seen: set[Any] = set()
    waiting = list(nodes)
    while waiting and len(seen) < _NODES:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(child for child, _ in node.next_functions)


def _is_made(node: Any) -> bool:
    """False for the nodes that accumulate into parameters: a parameter that is added is an addend all the same."""
    return not hasattr(node, "variable")


def _extent(node: Any, output: int) -> int:
    """How many elements `node` gave out as its `output`-th result; 0 if it does not say."""
    metadata = getattr(node, "_input_metadata", ())
    return int(torch.Size(metadata[output].shape).numel()) if output < len(metadata) else 0


def _filled(addend: _Addend) -> torch.Tensor:
    """The gradient that arrives at `addend`."""
    metadata = addend.node._input_metadata[addend.output]
    return torch.full(tuple(metadata.shape), addend.weight, dtype=metadata.dtype, device=metadata.device)


def _weigh(root: torch.Tensor, addends: list[_Addend]) -> None:
    """Fill in the weights: the slope of `root` over each addend, which only walks the part of the graph between them."""
    edges = [GradientEdge(one.node, one.output) for one in addends]
    try:
        slopes = torch.autograd.grad(root, edges, torch.ones_like(root), retain_graph=True, allow_unused=True)
    except RuntimeError:
        return
    for one, slope in zip(addends, slopes, strict=True):
        if slope is not None and slope.numel() == 1 and bool(torch.isfinite(slope)):
            one.weight = float(slope.real.item())
            one.value *= one.weight


@lru_cache(maxsize=64)
def _assigned(line: str, expression: str) -> str:
    """The name that the statement `line` gives to the value of `expression`, scaled or not: ``"kl"`` of
    ``"kl = -0.5 * x.sum()"``; empty if it gives it to something else."""
    try:
        statement = ast.parse(line).body[0]
    except (SyntaxError, IndexError, ValueError):
        return ""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], (ast.Name, ast.Attribute, ast.Subscript)):
        return ""
    waiting: list[ast.expr] = [statement.value]
    while waiting:
        part = waiting.pop()
        if ast.get_source_segment(line, part) == expression:
            return ast.unparse(statement.targets[0])
        if isinstance(part, ast.BinOp):
            waiting += [part.left, part.right]
        elif isinstance(part, ast.UnaryOp):
            waiting.append(part.operand)
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            waiting.append(part.func.value)
    return ""
