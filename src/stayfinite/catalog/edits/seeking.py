"""Where something stands in a source: the expression at a place, calls of a name, where optimizers step."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import spans
from stayfinite.records.incident import Case
from stayfinite.records.location import Location

_COMPOUND = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith,
             ast.Try)
_GUIDES = re.compile(r"(accelerator|fabric|engine|manager|self)$", re.IGNORECASE)
"""What is told to differentiate a loss that it is given."""


def node_at(source: Source, place: Location) -> ast.expr | None:
    """The expression that stands at exactly this place; of several, the outermost."""
    return next((one for one in ast.walk(source.tree) if isinstance(one, ast.expr) and spans(one, place)), None)


def statement_at(source: Source, line: int) -> ast.stmt | None:
    """The innermost statement on `line` that holds no others."""
    found = [
        one for one in ast.walk(source.tree)
        if isinstance(one, ast.stmt) and not isinstance(one, _COMPOUND) and one.lineno <= line <= (one.end_lineno or 0)
    ]
    return found[-1] if found else None


def called(node: ast.AST) -> str:
    """The last name of what is called; empty if `node` is no call by a name."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def given(call: ast.Call, name: str, position: int) -> ast.expr | None:
    """The argument called `name`, or standing at `position`; ``None`` if it is not given."""
    named = next((one.value for one in call.keywords if one.arg == name), None)
    return named if named is not None else call.args[position] if len(call.args) > position else None


def calls(source: Source, line: int, *names: str) -> list[ast.Call]:
    """Calls of one of `names` that begin on `line`, or in the statement there."""
    here = [one for one in ast.walk(source.tree) if isinstance(one, ast.Call) and called(one) in names]
    exact = [one for one in here if one.lineno == line]
    return exact or [one for one in here if one.lineno <= line <= (one.end_lineno or 0)]


def every_call(project: Project, *names: str) -> Iterator[tuple[Source, ast.Call]]:
    """Calls of one of `names` in all sources."""
    for source in project.sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and called(node) in names:
                yield source, node


def differentiated(project: Project) -> Iterator[tuple[Source, ast.expr]]:
    """The expressions that a backward pass begins with: ``loss`` of ``loss.backward()``, of ``scaler.scale(loss).backward()`` and
    of ``accelerator.backward(loss)``."""
    for source, call in every_call(project, "backward"):
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        if receiver is None or (isinstance(receiver, ast.Call) and called(receiver) == "super"):
            continue
        if isinstance(receiver, ast.Call) and called(receiver) == "scale" and len(receiver.args) == 1:
            yield source, receiver.args[0]
        elif len(call.args) == 1 and not isinstance(call.args[0], ast.Starred) and isinstance(receiver, (ast.Name, ast.Attribute)) \
                and _GUIDES.search(source.segment(receiver)):
            yield source, call.args[0]
        else:
            yield source, receiver


@dataclass(frozen=True)
class Step:
    """A line where an optimizer steps: `optimizer` is the text of it there; `scaler` that of the gradient scaler, if one steps it."""

    source: Source
    statement: ast.stmt
    optimizer: str
    scaler: str = ""
    call: ast.Call | None = None


def steps(project: Project, case: Case) -> list[Step]:
    """Where the optimizers of the run step: known by the name they were given, or a name that says so."""
    names = set()
    for info in case.configuration.optimizers:
        source = project.get(info.location.file)
        statement = statement_at(source, info.location.line) if source is not None else None
        for target in getattr(statement, "targets", [getattr(statement, "target", None)]):
            names |= {_last(one) for one in ast.walk(target) if isinstance(one, (ast.Name, ast.Attribute))} if target is not None else set()
    found = []
    for source, call in every_call(project, "step"):
        statement = source.statement(call)
        if not isinstance(call.func, ast.Attribute) or not isinstance(statement, (ast.Expr, ast.Assign)):
            continue
        name = _last(call.func.value)
        given = _last(call.args[0]) if call.args else ""
        if name in names or _says_so(name):
            found.append(Step(source, statement, source.segment(call.func.value), call=call))
        elif given and (given in names or _says_so(given)):
            found.append(Step(source, statement, source.segment(call.args[0]), source.segment(call.func.value), call))
    return found


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _says_so(name: str) -> bool:
    return "optim" in name.lower() or name.lower() in ("opt", "sgd", "adam")


def assigned_names(statement: ast.stmt | None) -> list[ast.expr]:
    """The single targets of an assignment."""
    if isinstance(statement, ast.Assign):
        return [one for target in statement.targets for one in (target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target])]
    return [statement.target] if isinstance(statement, (ast.AnnAssign, ast.AugAssign)) else []
