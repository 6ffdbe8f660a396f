"""Count updates from one.

What it changes
---------------
Where a bias correction divides by ``1 - beta ** count``, the count is taken one higher.

When it helps
-------------
An optimizer written by hand counts after the update: with a count of 0 the correction divides by 0.

What it may cost
----------------
Nothing.

Example
-------
::

    first = state["first"] / (1 - beta ** (state["count"] + 1))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number
from stayfinite.catalog.remedy import location, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Count updates from one"
CURES = ("optimizer-arithmetic", "division-by-zero", "infinity-arithmetic")
APPLICABILITY = "unsafe"
ON_STEP = False
EXAMPLES = ("corrected-averages",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """In the function of the origin, if it divides by such a correction there."""
    at = location(case)
    source = Project(sources).get(at.file)
    if source is None:
        return []
    powers = [one for node in ast.walk(source.tree) if (one := _correction(node)) is not None]
    here = [one for one in powers if one.lineno <= at.line <= (one.end_lineno or 0)]
    if not here:
        return []
    scope = source.scope(here[0])
    edits: list[Edit | None] = [
        source.replace(one.right, f"({source.segment(one.right)} + 1)") for one in powers if source.scope(one) is scope
    ]
    return [offered(__name__, sources, edits)]


def _correction(node: ast.AST) -> ast.BinOp | None:
    """The power in ``1 - beta ** count``."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Sub) or number(node.left) != 1.0:
        return None
    power = node.right
    plain = isinstance(power, ast.BinOp) and isinstance(power.op, ast.Pow) and number(power.right) is None
    return power if plain and isinstance(power, ast.BinOp) else None
