"""Begin with fresh moments of the optimizer.

What it changes
---------------
The state of the optimizer is not loaded, or the moments that are not finite are set to 0.

When it helps
-------------
A stored state was rounded to a format that could not hold it, or was damaged.

What it may cost
----------------
The optimizer takes some steps to find its averages again; a short warm-up helps.

Example
-------
::

    optimizer.state.clear()
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog.edits.seeking import every_call
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import State

TITLE = "Begin with fresh moments"
CURES = ("corrupt-optimizer-state",)
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("corrupt-optimizer-state", "moments-by-hand")

SENTENCE = (
    "do not load the state of the optimizer, or store it in the format it is computed in: its moments are made anew within some steps"
)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The statement that fills the state of the optimizer is left out, where there is one: a call, or an assignment."""
    change = State("moments", "mended")
    project = Project(sources)
    found = [*_loads(project), *_fills(project)]
    if len(found) != 1:
        return [offered(__name__, sources, None, change, says=SENTENCE)]
    source, statement = found[0]
    return [offered(__name__, sources, [source.delete(statement)], change, cost="the moments of the earlier run are lost")]


def _loads(project: Project) -> Iterator[tuple[Source, ast.stmt]]:
    """Calls of `load_state_dict` of an optimizer."""
    for source, call in every_call(project, "load_state_dict"):
        statement = source.statement(call)
        if _of_an_optimizer(source, call.func) and isinstance(statement, ast.Expr) and statement.value is call:
            yield source, statement


def _fills(project: Project) -> Iterator[tuple[Source, ast.stmt]]:
    """Assignments of a whole entry of an optimizer's state, `optimizer.state[weight] = {...}`."""
    for source in project.sources.values():
        for node in ast.walk(source.tree):
            target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
            store = target.value if isinstance(target, ast.Subscript) else None
            if isinstance(node, ast.Assign) and getattr(store, "attr", "") == "state" and _of_an_optimizer(source, store):
                yield source, node


def _of_an_optimizer(source: Source, node: ast.expr | None) -> bool:
    """Whether the name before the dot says that it is one."""
    owner = source.segment(node.value).rpartition(".")[2].lower() if isinstance(node, ast.Attribute) else ""
    return "opt" in owner or owner in ("adam", "sgd")
