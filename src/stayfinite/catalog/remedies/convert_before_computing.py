"""Convert whole numbers to floating point before the first operation.

What it changes
---------------
The operand of the operation that left the range of its whole numbers becomes float32: `a * a` becomes
`a.astype("float32") * a`, or `a.float() * a` for a tensor.

When it helps
-------------
Bytes and 16-bit numbers come back at the other end of their range when they are squared, added up or subtracted; the root or
the logarithm of what comes of it is not finite.

What it may cost
----------------
The array takes two to four times the memory. float32 holds whole numbers exactly up to 16,777,216.

Example
-------
::

    power = sound.astype("float32") * sound
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.clues import birth
from stayfinite.catalog.edits.seeking import node_at, statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number, view
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Convert to floating point before computing"
CURES = ("integer-overflow",)
APPLICABILITY = "unsafe"
ON_STEP = False
EXAMPLES = ("loud-clips",)

_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Pow: "**"}
_QUOTED = re.compile("`([^`]+)`")
_SPELLINGS = ('.astype("float32")', ".float()")


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """As an array of numpy and as a tensor: which it is, the text seldom says."""
    at = pages.load("causes", "integer-overflow").locate(case)
    source = Project(sources).get(at.file)
    if source is None:
        return []
    node = node_at(source, at)
    statement = statement_at(source, at.line)
    operand = _operand(source, _wrapped(source, node if node is not None else statement, case))
    if operand is None and not isinstance(statement, ast.AugAssign):
        return [offered(__name__, sources, None, says="convert the whole numbers to floating point before this line")]
    likely = _SPELLINGS if any(one.partition(".")[0] == "numpy" for one in source.imports.values()) else _SPELLINGS[::-1]
    offers = []
    for spelling in likely:
        edit = _converted(source, operand, statement, spelling)
        offers.append(offered(__name__, sources, [edit], says=f"Convert with `{spelling.lstrip('.')}` before computing"))
    return offers


def _wrapped(source: Source, node: ast.AST | None, case: Case) -> ast.AST | None:
    """The part of `node` that was seen to leave its range, by its text; all of it where the record does not say: in a quotient the
    first arithmetic may well be one in floating point."""
    made = birth(case)
    told = set(_QUOTED.findall(made.wrapped)) if made is not None else set()
    for one in ast.walk(node) if node is not None else ():
        if isinstance(one, ast.BinOp | ast.Call) and source.segment(one) in told:
            return one
    return node


def _operand(source: Source, node: ast.AST | None) -> ast.expr | None:
    """What the first arithmetic in `node` computes with that is no number."""
    for one in ast.walk(node) if node is not None else ():
        seen = view(source, one)
        if isinstance(one, ast.BinOp) and type(one.op) in _ARITHMETIC:
            return one.left if number(one.left) is None else one.right
        if isinstance(one, ast.Call) and seen is not None and seen.first is not None and seen.spelled in ("function", "method") \
                and seen.name in ("square", "pow", "power", "multiply", "subtract", "add", "sub", "mul", "sum", "diff", "abs", "dot"):
            return seen.first
    return None


def _converted(source: Source, operand: ast.expr | None, statement: ast.stmt | None, spelling: str) -> Edit | None:
    if operand is not None:
        return source.replace(operand, f"{source.operand(operand)}{spelling}")
    sign = _ARITHMETIC.get(type(statement.op)) if isinstance(statement, ast.AugAssign) else None
    if sign is None or not isinstance(statement, ast.AugAssign) or not isinstance(statement.target, ast.Name):
        return None
    name = statement.target.id
    return source.replace(statement, f"{name} = {name}{spelling} {sign} {source.operand(statement.value)}")
