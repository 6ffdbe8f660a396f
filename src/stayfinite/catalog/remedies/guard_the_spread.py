"""Divide by 1 where a column has no spread.

What it changes
---------------
Where data are divided by their deviation or range, a deviation of 0 becomes 1: the column stays at 0 instead of 0 / 0.

When it helps
-------------
A sensor that hangs, a feature that is constant in one group or one fold.

What it may cost
----------------
Nothing: where the deviation is not 0, the values are the same.

Example
-------
::

    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / (spread + (spread == 0))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.clues import birth
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import chosen, location, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Divide by 1 where there is no spread"
CURES = (
    "zero-variance-feature", "degenerate-normalization", "division-by-zero", "single-element-variance", "corrupt-buffer",
    "corrupt-optimizer-state", "corrupt-checkpoint", "corrupt-sample", "nonfinite-input",
)
MAKERS = ("corrupt-buffer", "corrupt-optimizer-state", "corrupt-checkpoint", "corrupt-sample", "nonfinite-input")
"""Causes whose line made what was bad before the step: any division in it may have."""
APPLICABILITY = "safe"
SAME_FUNCTION = True
EXACT = True
ON_STEP = False
EXAMPLES = ("engine-wear",)

_SPREADS = frozenset({"std", "ptp", "var", "amax", "max", "nanstd", "mad", "sem", "quantile", "iqr", "sum", "norm"})


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where the line that the cause names divides by a spread, before any tensor operator saw it."""
    project = Project(sources)
    if case.origin is not None and case.origin.op == "div" and case.origin.phase not in ("data", "load"):
        return []  # there the divisor of the very operator is chosen
    made = birth(case)
    if made is not None and made.wrapped:
        return []  # a sum of bytes that came back at 0 is no spread of 0: with 1 its quotient stays as wrong as those beside it
    for name in CURES[:2]:
        at = pages.load("causes", name).locate(case)
        for place in (at, location(case)):
            source = project.get(place.file)
            divisor = _divisor(source, project, place.line) if source is not None else None
            if source is not None and divisor is not None:
                return [offered(__name__, sources, chosen(source, divisor, "({x} + ({x} == 0))", "spread", "scale"))]
    for name in MAKERS:
        at = pages.load("causes", name).locate(case)
        born = case.origin.birth.location if case.origin is not None and case.origin.birth is not None else at
        for place in (at, born):
            source = project.get(place.file)
            found = [one for one in ast.walk(source.tree) if _division(one, place.line)] if source is not None else []
            if source is not None and len(found) == 1:
                edits = chosen(source, found[0].right, "({x} + ({x} == 0))", "divisor", "total")  # type: ignore[attr-defined]
                return [offered(__name__, sources, edits, says="Divide by 1 where the divisor is 0")]
    return []


def _division(node: ast.AST, line: int) -> bool:
    """True for a division by what is computed."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and node.lineno <= line <= (node.end_lineno or 0) \
        and not isinstance(node.right, ast.Constant)


def _divisor(source: Source, project: Project, line: int) -> ast.expr | None:
    """What is divided by on that line, if it is a spread."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.BinOp) and _division(node, line):
            for made in project.made(source, node.right):
                if any(_spread(one) for one in ast.walk(made.value)):
                    return node.right
    return None


def _spread(node: ast.AST) -> bool:
    """True for a deviation or range: a method or function of such a name, or pandas' ``transform("std")``."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    words = [one.value for one in node.args if isinstance(one, ast.Constant)]
    return name in _SPREADS or any(isinstance(word, str) and word in _SPREADS for word in words)
