"""Compute one operation in float32.

What it changes
---------------
The operands of the operation at the origin are converted to float32, and autocast leaves it there.

When it helps
-------------
A square, an exponential or a sum leaves float16 long before it would leave float32, and small numbers become 0.

What it may cost
----------------
This operation takes twice the memory and some time. What follows gets float32.

Example
-------
::

    power = h.float() ** 2
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Precision

TITLE = "Compute the operation in float32"
CURES = ("half-precision-overflow", "half-precision-underflow", "lost-epsilon")
APPLICABILITY = "unsafe"
EXAMPLES = ("half-precision-overflow",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One for the operation where the value was lost, if there is one, and one for the origin."""
    change = Precision("float32", place(case))
    offers = []
    lost = [flush.location for flush in case.trace.flushes]
    scene = Scene(case, sources, lambda seen: True)
    for at in (*([scene.at] if scene.at.file else []), *lost[:2]):
        source = scene.read(at.file)
        if source is None:
            continue
        exact = [node for node in ast.walk(source.tree) if isinstance(node, (ast.BinOp, ast.Call)) and _at(node, at.line, at.column)]
        if not exact:
            continue
        node = exact[0]
        operands: list[ast.expr] = [node.left, node.right] if isinstance(node, ast.BinOp) else list(node.args[:1])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not source.qualified(node.func):
            operands = [node.func.value]
        plain = [one for one in operands if not isinstance(one, ast.Constant)]
        edits: list[Edit | None] = [source.replace(one, f"{source.operand(one)}.float()") for one in plain]
        if edits and not any(one in ast.walk(other) for one in plain for other in plain if one is not other):
            offers.append(offered(__name__, sources, edits, change, says=f"Compute line {at.line} in float32"))
    return offers


def _at(node: ast.expr, line: int, column: int) -> bool:
    return node.lineno == line and node.col_offset == column
