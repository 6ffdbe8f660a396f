"""Keep the schedule of the learning rate at 0 or above.

What it changes
---------------
What is raised to a power or returned as a rate goes through `max(0.0, ...)`.

When it helps
-------------
A schedule that counts further than its end takes the power of a negative number, which is NaN, or gives a negative rate, which
climbs.

What it may cost
----------------
Past its end the rate is 0: the training stands still there. Give the schedule the true number of steps.

Example
-------
::

    return initial * max(0.0, 1 - step / total) ** power
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Keep the schedule at 0 or above"
CURES = ("invalid-learning-rate-schedule",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("invalid-learning-rate-schedule",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The difference in the formula that makes the rate, at the place of the cause."""
    at = pages.load("causes", "invalid-learning-rate-schedule").locate(case)
    source = Project(sources).get(at.file)
    statement = statement_at(source, at.line) if source is not None else None
    if source is None or statement is None:
        return [offered(__name__, sources, None, says="the formula of the schedule is not in the source: give it as many "
                        "steps as there are")]
    edits = _guarded(source, statement)
    if edits is None:
        return [offered(__name__, sources, None, says=f"{at.file}:{at.line} holds no difference that could be kept at 0 or above")]
    return [offered(__name__, sources, edits, cost="past its end the rate is 0")]


def _guarded(source: Source, statement: ast.stmt) -> list[Edit | None] | None:
    differences = [
        one for one in ast.walk(statement)
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub) and not _compared(source, one)
    ]
    if differences:
        return [source.replace(differences[0], f"max(0.0, {source.segment(differences[0])})")]
    value = statement.value if isinstance(statement, (ast.Return, ast.Assign)) else None
    return [source.replace(value, f"max(0.0, {source.segment(value)})")] if isinstance(value, ast.expr) else None


def _compared(source: Source, node: ast.AST) -> bool:
    return any(isinstance(one, (ast.Compare, ast.Subscript)) for one in source.above(node))
