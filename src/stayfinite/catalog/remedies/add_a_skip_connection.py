"""Add a skip connection.

What it changes
---------------
In a stack of equal layers each one adds to what it is given instead of replacing it: ``x = x + act(layer(x))``.

When it helps
-------------
A gradient that has to pass 30 activations is multiplied by 30 slopes. The sum hands it through unchanged.

What it may cost
----------------
It is another network: train it again.

Example
-------
::

    for layer in self.layers:
        x = x + torch.relu(layer(x))                 # was x = torch.sigmoid(layer(x))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import statement_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import view
from stayfinite.catalog.remedy import location, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Add a skip connection"
CURES = ("vanishing-gradient",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("module-funnel",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where the line of the activation binds in a loop what it reads, under the same name and in the same shape; a squashing
    activation becomes a ReLU, because sums of what is always positive only grow."""
    at = location(case)
    source = Project(sources).get(at.file)
    statement = statement_at(source, at.line) if source is not None else None
    if source is None or not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return []
    target = statement.targets[0]
    loops = any(isinstance(one, (ast.For, ast.While)) for one in source.above(statement))
    if not isinstance(target, ast.Name) or not loops or target.id not in source.names_in(statement.value):
        return []
    seen = view(source, statement.value)
    if seen is None or seen.first is None or seen.spelled != "function" or target.id not in source.names_in(seen.first):
        return []
    name, imports = source.spelled("torch.nn.functional.relu" if seen.name in ("sigmoid", "tanh") else f"torch.{seen.name}", seen.node)
    offers = []
    for share in ("", "0.3 * "):
        text = f"{target.id} + {share}{name}({source.argument(seen.first)})"
        edits: list[Edit | None] = [source.replace(statement.value, text), *imports]
        offers.append(offered(__name__, sources, edits, cost="it is another network: train it again"))
    return offers
