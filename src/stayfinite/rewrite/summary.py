"""What functions and loops of the user's source do, as far as a training step is concerned.

Names are resolved by their last component over all of the user's modules: a call ``self.engine.fit_batch(x)`` may mean
any function called ``fit_batch``. That errs on the side of seeing a step where there might be one; what a loop really
does is learned when it runs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Union

FunctionNode = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda]
LoopNode = Union[ast.For, ast.While]
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)

_STEPPER = re.compile(r"(^|_)(opt|optim|optimi[sz]er|sched|scheduler|scaler|ema|swa|warmup)s?(_|\d|$)|optim|sched|scaler", re.I)
_OPTIMIZER_CALLS = re.compile(r"optim|^(SGD|Adam\w*|RMSprop|Adagrad|Adadelta|NAdam|RAdam|LBFGS|Rprop|ASGD|SparseAdam|Lion|Muon|SAM)$")
_OTHER_STEPPER_CALLS = re.compile(r"lr_scheduler|Scheduler|LR$|GradScaler|AveragedModel|EMA|ExponentialMovingAverage")
STEP_METHODS = frozenset({"step", "first_step", "second_step", "update", "update_parameters"})
CHANGERS = frozenset(
    "at copyto put place putmask fill_diagonal shuffle heappush heappop heapify heapreplace heappushpop insort insort_left"
    " insort_right setattr".split()
)
"""Functions that change their first argument in place."""
GRADIENT_MAKERS = frozenset({"grad", "grad_and_value", "vjp"})
"""Functions of `torch.func` that give a gradient, or a function that computes one."""
WRAPPERS = frozenset({"vmap", "partial", "compile"})
"""Functions that give a function which computes what their first argument does."""
MUTATORS = frozenset(
    "append extend insert pop popleft appendleft extendleft popitem remove clear update add discard setdefault sort"
    " reverse rotate push put write writerow writerows subtract".split()
)


def handed_out(body: list[ast.stmt]) -> ast.Yield | None:
    """The ``yield value`` that the last statement of a block is, if what is sent back is not used."""
    last = body[-1] if body else None
    return last.value if isinstance(last, ast.Expr) and isinstance(last.value, ast.Yield) and last.value.value is not None else None


def dotted(node: ast.AST) -> str | None:
    """``a.b.c`` for a chain of names and attributes (subscripts are skipped over), else None."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif isinstance(node, (ast.Subscript, ast.Starred)):
            node = node.value
        elif isinstance(node, ast.Name):
            parts.append(node.id)
            return ".".join(reversed(parts))
        else:
            return None


def within(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and what is below it, without entering functions and classes that it only defines."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, SCOPES):
            if isinstance(child, ast.Lambda):
                yield from within(child.body)
            continue
        yield from within(child)


@dataclass(frozen=True)
class Effects:
    """What a piece of code does. `calls` are the last components of everything it calls or hands over by name."""

    backward: bool = False
    step: bool = False
    grad: bool = False
    """Calls `torch.autograd.grad`, or a function that `torch.func` made to compute gradients."""
    reads_grad: bool = False
    """Reads an attribute ``.grad``: a hand-written update."""
    calls: frozenset[str] = frozenset()

    def __or__(self, other: Effects) -> Effects:
        return Effects(
            self.backward or other.backward,
            self.step or other.step,
            self.grad or other.grad,
            self.reads_grad or other.reads_grad,
            self.calls | other.calls,
        )


@dataclass
class Function:
    """A function of the user's: its node, its module, and what it does outside step loops of its own."""

    node: FunctionNode
    path: str
    name: str
    loops: list[LoopNode] = field(default_factory=list)


class Steppers:
    """Tells optimizers, schedulers, scalers and averaged models from environments and meters, by how they were made
    (``opt = torch.optim.SGD(...)``) or, failing that, by name."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        self._known: set[str] = set()
        self._differentiating: set[str] = set()
        self.optimizer_classes: set[str] = set()
        trees = list(trees)
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    bases = " ".join(filter(None, (dotted(base) for base in node.bases)))
                    if "Optimizer" in bases or _OPTIMIZER_CALLS.search(bases):
                        self.optimizer_classes.add(node.name)
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    self._learn(node.targets, node.value)
                elif isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
                    self._learn([node.target], node.value)
                elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.List, ast.Tuple)):
                    for item in node.value.elts:
                        if isinstance(item, ast.Call):
                            self._learn(node.targets, item)
        self.learn_elements(trees)

    def learn_elements(self, trees: Iterable[ast.Module]) -> None:
        """``for o in optimizers``: an element of a known collection is one too."""
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.target, ast.Name):
                    iterable = node.iter
                    names = [dotted(item) for item in getattr(iterable, "elts", [iterable])]
                    if any(name in self for name in names):
                        self._known.add(node.target.id)

    def _learn(self, targets: list[ast.expr], call: ast.Call) -> None:
        made_by = dotted(call.func) or ""
        last = made_by.rsplit(".", 1)[-1]
        if (
            last in self.optimizer_classes
            or ".optim." in f".{made_by}"
            or _OPTIMIZER_CALLS.search(last)
            or _OTHER_STEPPER_CALLS.search(made_by)
        ):
            for target in targets:
                name = dotted(target)
                if name:
                    self._known.add(name.rsplit(".", 1)[-1])
        if self.differentiates(call):
            self._differentiating.update(name.rsplit(".", 1)[-1] for name in map(dotted, targets) if name)

    def differentiates(self, function: ast.AST) -> bool:
        """True if calling `function` computes gradients: ``torch.func.grad(f)``, ``vmap(grad_and_value(f))``, or a name of one."""
        if not isinstance(function, ast.Call):
            return (dotted(function) or "").rsplit(".", 1)[-1] in self._differentiating
        receiver, _, last = (dotted(function.func) or "").rpartition(".")
        if last in GRADIENT_MAKERS:
            return not receiver or "func" in receiver
        return last in WRAPPERS and bool(function.args) and self.differentiates(function.args[0])

    def __contains__(self, receiver: str | None) -> bool:
        if receiver is None:
            return False
        last = receiver.rsplit(".", 1)[-1]
        return last in self._known or bool(_STEPPER.search(last))


def effects(nodes: Iterable[ast.AST], steppers: Steppers) -> Effects:
    """What `nodes` do themselves, not counting what the functions do that they call."""
    backward = step = grad = reads = False
    calls: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            last = node.func.attr if isinstance(node.func, ast.Attribute) else (name or "").rsplit(".", 1)[-1]
            receiver = dotted(node.func.value) if isinstance(node.func, ast.Attribute) else None
            if last in ("backward", "manual_backward"):
                backward = True
            elif (last == "grad" and (receiver is None or "autograd" in receiver)) or steppers.differentiates(node.func):
                grad = True
            elif isinstance(node.func, ast.Attribute) and last in STEP_METHODS and receiver in steppers:
                step = step or last != "update"
            elif last:
                calls.add(last)
        elif isinstance(node, ast.Attribute):
            if node.attr == "grad" and isinstance(node.ctx, ast.Load):
                reads = True
            calls.add(node.attr)  # a property runs a function, also when it is assigned
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            calls.add(node.id)
    return Effects(backward, step, grad, reads, frozenset(calls))
