"""Use gated recurrent cells.

What it changes
---------------
A plain recurrent layer becomes a gated one of the same size (`nn.RNN` a `nn.GRU`, `nn.RNNCell` a `nn.GRUCell`).

When it helps
-------------
Over many time steps a plain cell multiplies the gradient with the same matrix and slope again and again, until nothing of it
is left or it explodes. A gate passes it through.

What it may cost
----------------
Three times as many weights, and another network: train it again. Stored weights do not fit.

Example
-------
::

    self.cell = nn.GRUCell(16, 32)                   # was nn.RNNCell(16, 32)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Use gated recurrent cells"
CURES = ("vanishing-gradient", "exploding-gradient", "saturated-activation")
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "its patch is held by tests of the text: no training of the gallery with a plain cell is cured by gates alone"

_GATED = {"torch.nn.RNN": "torch.nn.GRU", "torch.nn.RNNCell": "torch.nn.GRUCell"}


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Every plain recurrent layer that is built, without its choice of a nonlinearity."""
    edits: list[Edit | None] = []
    for source in Project(sources).sources.values():
        for node in ast.walk(source.tree):
            gated = _GATED.get(source.qualified(node.func)) if isinstance(node, ast.Call) else None
            if gated is None or not isinstance(node, ast.Call) or any(one.arg == "nonlinearity" for one in node.keywords):
                continue
            name, imports = source.spelled(gated, node)
            edits += [source.replace(node.func, name), *imports]
    return [offered(__name__, sources, edits, cost="it is another network: train it again")] if edits else []
