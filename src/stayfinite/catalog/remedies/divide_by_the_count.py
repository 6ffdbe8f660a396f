"""Divide a variance by the count, not by the count less one.

What it changes
---------------
`x.var(0)` becomes `x.var(0, correction=0)`, and the same for `var_mean` and `std`: the variance of the values at hand, which is 0
for one of them.

When it helps
-------------
The unbiased variance divides by the number of values less one: of one value it is 0 / 0.

What it may cost
----------------
For n values the variance is smaller by 1/n. Where a standard deviation is 0, its slope is infinite: add an epsilon inside.

Example
-------
::

    spread = group.var(dim=0, correction=0)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.views import named
from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Divide the variance by the count"
CURES = ("single-element-variance", "degenerate-batch-statistics")
APPLICABILITY = "unsafe"
EXAMPLES = ("one-shot-class",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin is a variance or a standard deviation."""
    if case.origin is None or case.origin.op not in ("var", "std"):
        return []
    scene = Scene(case, sources, named("var", "var_mean", "std"))
    source, seen = scene.source, scene.view
    if source is None or seen is None or not isinstance(seen.node, ast.Call):
        return []
    form = Stable(place(case), "unbiased-off")
    if "unbiased" in seen.options:
        edit = source.set_keyword(seen.node, "unbiased", "False")
    else:
        edit = source.set_keyword(seen.node, "correction", "0")
    edits = [edit]
    if seen.name == "std" and edit is not None and isinstance(seen.node.func, ast.Attribute):
        head, text = source.segment(seen.node.func), source.segment(seen.node)
        inner = text[len(head) + 1 : -1]
        rest = f"{inner}, correction=0" if inner.strip() else "correction=0"
        edits = [source.replace(seen.node, f"({head[:-3]}var({rest}) + 1e-12).sqrt()")] if "correction" not in inner else edits
    return [offered(__name__, sources, edits, form)]
