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
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import every_call
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import State

TITLE = "Begin with fresh moments"
CURES = ("corrupt-optimizer-state",)
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("corrupt-optimizer-state",)

SENTENCE = (
    "do not load the state of the optimizer, or store it in the format it is computed in: its moments are made anew within some steps"
)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The call that loads the state of the optimizer is left out, where there is one."""
    change = State("moments", "mended")
    found = []
    for source, call in every_call(Project(sources), "load_state_dict"):
        owner = source.segment(call.func.value).rpartition(".")[2].lower() if isinstance(call.func, ast.Attribute) else ""
        statement = source.statement(call)
        if ("opt" in owner or owner in ("adam", "sgd")) and isinstance(statement, ast.Expr) and statement.value is call:
            found.append((source, statement))
    if len(found) != 1:
        return [offered(__name__, sources, None, change, says=SENTENCE)]
    source, statement = found[0]
    return [offered(__name__, sources, [source.delete(statement)], change, cost="the moments of the earlier run are lost")]
