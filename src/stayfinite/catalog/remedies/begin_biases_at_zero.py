"""Begin biases at 0.

What it changes
---------------
The number that biases are filled with at the start becomes 0.

When it helps
-------------
Biases that were all set below 0 keep every unit behind a rectifier at 0 for every sample. A prior for rare classes belongs into the
bias of the last layer alone: -4.6 there is a probability of 0.01, and -4.6 before a rectifier is the end of it.

What it may cost
----------------
If the last layer was filled by the same line, its predictions begin at 0.5 and not at the prior: give it its own.

Example
-------
::

    nn.init.zeros_(module.bias)                      # was nn.init.constant_(module.bias, -4.6)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import calls
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Begin the biases at 0"
CURES = ("dead-relu",)
APPLICABILITY = "unsafe"
BREADTH = 0
ON_STEP = False
EXAMPLES = ("rare-windows",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where the cause names the line that fills them."""
    at = pages.load("causes", "dead-relu").locate(case)
    source = Project(sources).get(at.file)
    found = calls(source, at.line, "constant_", "fill_") if source is not None else []
    if source is None or len(found) != 1 or not found[0].args:
        return []
    call, value = found[0], found[0].args[-1]
    owner = call.args[0] if len(call.args) > 1 else call.func.value if isinstance(call.func, ast.Attribute) else call
    if "bias" not in source.segment(owner):
        return []
    return [offered(__name__, sources, [source.replace(value, "0.0")])]
