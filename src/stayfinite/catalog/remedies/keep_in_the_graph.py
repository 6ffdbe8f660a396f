"""Keep a value in the graph of gradients.

What it changes
---------------
`.detach()`, `.data` or `torch.no_grad()` is taken off a value that the loss is computed from. A loss that was wrapped anew,
`torch.tensor(loss.item(), requires_grad=True)`, is used as it is; a list of losses is stacked.

When it helps
-------------
The loss is finite and no parameter gets a gradient, because what the model gave was cut off from it, often with a
`requires_grad_()` behind that silences the error.

What it may cost
----------------
Nothing, unless the value was cut off on purpose (a target network, a teacher).

Example
-------
::

    errors = predicted - measured                    # was predicted.data - measured
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import assigned_names, every_call
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.catalog.surveyed import surveyed, trained, was_cleared
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Joined

TITLE = "Keep it in the graph of gradients"
CURES = ("frozen-parameters",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("tidal-harmonics",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """At the line where the graph was seen to be cut."""
    cuts = [one.change for one in pages.load("causes", "frozen-parameters").predict(case) if isinstance(one.change, Joined)]
    if not cuts:
        return _wrapped_anew(case, sources)
    source = Project(sources).get(cuts[0].place.file)
    edits = _joined(source, cuts[0].place.line) if source is not None else []
    if not edits:
        return [offered(__name__, sources, None, cuts[0], says=f"{cuts[0].place.file}:{cuts[0].place.line} cuts the loss off from the "
                        "parameters: compute it there from tensors that still have a gradient")]
    return [offered(__name__, sources, edits, cuts[0])]


def _wrapped_anew(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where nothing that is trained was reached, and the sources hold one tensor that is made of numbers and asks for a gradient."""
    if not trained(case) or any(state.gradient is not None for state in surveyed(case).parameters) or was_cleared(case):
        return []
    found = [
        (source, whole, call) for source, call in every_call(Project(sources), "tensor", "as_tensor", "Tensor", "FloatTensor")
        if call.args and (whole := _asking(source, call)) is not None
    ]
    if len(found) != 1:
        return []
    source, whole, call = found[0]
    value = call.args[0]
    listed = isinstance(value, (ast.List, ast.ListComp)) or (isinstance(value, ast.Name) and _is_list(source, value))
    edits = _without_numbers(source, whole, value, listed=listed)
    edits += [source.delete(one) for one in _asked_later(source, whole)]
    return [offered(__name__, sources, edits, says="Compute the loss from the tensors, not from their numbers")]


def _asking(source: Source, call: ast.Call) -> ast.expr | None:
    """The expression that makes `call` ask for a gradient: itself, or a `requires_grad_()` of it; ``None`` if nothing does."""
    asks = next((one.value for one in call.keywords if one.arg == "requires_grad"), None)
    if isinstance(asks, ast.Constant) and asks.value is True:
        return call
    above = source.parents.get(call)
    outer = source.parents.get(above) if isinstance(above, ast.Attribute) and above.attr == "requires_grad_" else None
    if isinstance(outer, ast.Call):
        return outer
    return call if _asked_later(source, call) else None


def _asked_later(source: Source, made: ast.expr) -> list[ast.Assign]:
    """Statements behind that set `requires_grad` of the name that `made` is given, which a tensor with a history refuses."""
    statement = source.statement(made)
    names = [source.segment(one) for one in assigned_names(statement)]
    return [
        one for one in ast.walk(source.scope(made)) if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Attribute)
        and one.targets[0].attr == "requires_grad" and source.segment(one.targets[0].value) in names
        and isinstance(one.value, ast.Constant) and one.value.value is True
    ]


def _is_list(source: Source, name: ast.Name) -> bool:
    """True if all that `name` is given in its function is a list."""
    given = [one for one in ast.walk(source.scope(name)) if isinstance(one, (ast.Assign, ast.AnnAssign))
             and name.id in {source.segment(target) for target in assigned_names(one)}]
    return bool(given) and all(isinstance(one.value, (ast.List, ast.ListComp)) for one in given)


def _without_numbers(source: Source, whole: ast.expr, value: ast.expr, *, listed: bool) -> list[Edit | None]:
    """Edits that put `value` in the place of `whole`, its parts as tensors; also those that were appended to it."""
    text, edits = _as_tensor(source, value), list[Edit | None]()
    if listed:
        stack, imports = source.spelled("torch.stack", whole)
        text = f"{stack}({text})"
        edits += imports
    elif not isinstance(source.parents.get(whole), ast.Assign):
        text = f"({text})"
    edits.append(source.replace(whole, text))
    return [*edits, *_taken(source, value)] if isinstance(value, ast.Name) else edits


def _taken(source: Source, name: ast.Name) -> list[Edit | None]:
    """Edits that leave out what turned tensors into numbers where `name` was given them, or had them appended."""
    given: list[ast.expr] = []
    for one in ast.walk(source.scope(name)):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr == "append" and len(one.args) == 1 \
                and source.segment(one.func.value) == name.id:
            given.append(one.args[0])
        elif isinstance(one, (ast.Assign, ast.AugAssign)) and name.id in {source.segment(target) for target in assigned_names(one)}:
            given.append(one.value)
    return [source.replace(one, _as_tensor(source, one)) for one in given if _as_tensor(source, one) != source.segment(one)]


def _as_tensor(source: Source, node: ast.expr) -> str:
    """The text of `node` without what takes the number of a tensor, anywhere in it."""
    text = source.segment(node)
    for one in ast.walk(node):
        inner = _counted(one)
        if isinstance(one, ast.expr) and inner is not None:
            shorter = source.spliced(node, one, source.operand(inner)) if one is not node else source.segment(inner)
            return _as_tensor(again := Source(source.file, shorter), again.tree.body[0].value)  # type: ignore[attr-defined]
    return text


def _counted(node: ast.AST) -> ast.expr | None:
    """The tensor whose number `node` takes, as `loss.item()` or `float(loss)`."""
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("item", "tolist", "detach") and not node.args:
        return node.func.value
    return node.args[0] if isinstance(node.func, ast.Name) and node.func.id == "float" and len(node.args) == 1 else None


def _joined(source: Source, line: int) -> list[Edit | None]:
    """Edits that leave out what detaches on that line."""
    edits: list[Edit | None] = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.expr) or not node.lineno <= line <= (node.end_lineno or 0):
            continue
        called = node.func if isinstance(node, ast.Call) and not node.args and not node.keywords else None
        if isinstance(called, ast.Attribute) and called.attr in ("detach", "detach_"):
            edits.append(source.replace(node, source.segment(called.value)))
        elif isinstance(node, ast.Attribute) and node.attr == "data" and isinstance(node.ctx, ast.Load):
            edits.append(source.replace(node, source.segment(node.value)))
    return edits[:1]
