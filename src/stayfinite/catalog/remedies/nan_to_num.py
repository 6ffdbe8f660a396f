"""Replace NaN in a result by 0: a mask, shown because everybody suggests it.

What it changes
---------------
The result of the operation at the origin goes through `nan_to_num`.

When it helps
-------------
It makes the number finite. The slope of the operation behind it stays infinite, and 0 times infinity is NaN in the backward
pass; where it is not, nothing is learned.

What it may cost
----------------
What was wrong stays wrong, silently. It is tried like every other remedy, and refused wherever it turns out so.

Example
-------
::

    loss = torch.nan_to_num(loss)     # do not
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import Scene, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Replace NaN by 0"
CURES = ("log-of-zero", "division-by-zero", "softmax-over-masked-row", "empty-reduction", "infinity-arithmetic")
APPLICABILITY = "unsafe"
BREADTH = 3
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "it cures nothing; its tests show that it is refused"

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin is an expression of the user's."""
    scene = Scene(case, sources)
    source, seen = scene.source, scene.view
    if source is None or seen is None or not isinstance(seen.node, (ast.Call, ast.BinOp)):
        return []
    name, imports = source.spelled("torch.nan_to_num", seen.node)
    return [offered(__name__, sources, [source.replace(seen.node, f"{name}({source.segment(seen.node)})"), *imports])]
