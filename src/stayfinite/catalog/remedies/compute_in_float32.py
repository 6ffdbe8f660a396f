"""Compute one operation in float32.

What it changes
---------------
The operands of the operation at the origin are converted to float32, and autocast leaves it there.

When it helps
-------------
A square, an exponential or a sum leaves float16 long before it would leave float32, and small numbers become 0.

What it may cost
----------------
This operation takes twice the memory and some time. What follows gets float32, unless parameters are float16: then the result of
the statement is converted back.

Example
-------
::

    power = h.float() ** 2
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import called
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import number, spans
from stayfinite.catalog.precision import flush_behind
from stayfinite.catalog.remedy import Scene, location, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Precision
from stayfinite.records.location import Location

TITLE = "Compute the operation in float32"
CURES = ("half-precision-overflow", "half-precision-underflow", "lost-epsilon")
APPLICABILITY = "unsafe"
EXAMPLES = ("half-precision-overflow",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """For the operation that lost what the origin met as 0, for the origin, and for others that lost something: one way, or one for
    each operand that may be the tensor. Where parameters are float16, what the statement makes goes back to that format."""
    change = Precision("float32", place(case))
    offers = []
    behind = flush_behind(case)
    lost = [flush.location for flush in case.trace.flushes]
    first = [behind.location] if behind is not None else []
    scene = Scene(case, sources, lambda seen: True)
    made = case.origin.output if case.origin is not None else None
    half = "float16" in case.configuration.parameter_dtypes and (made is None or made.size > 1)
    for at in dict.fromkeys((*first, *([scene.at] if scene.at.file and not _updates(case) else []), *lost[:2])):
        source = scene.read(at.file)
        node = _operation(source, at) if source is not None else None
        if source is None or node is None:
            continue
        for widened in _ways(source, node):
            edits: list[Edit | None] = [source.replace(one, f"{source.operand(one)}.float()") for one in widened]
            back = _back(source, node, widened[0]) if half else []
            offers.append(offered(__name__, sources, [*edits, *back], change, says=f"Compute line {at.line} in float32"))
    return offers


def _updates(case: Case) -> bool:
    """True where the line lets an optimizer of the framework step: its operands are no numbers."""
    return case.origin is not None and case.origin.phase == "optimizer" and re.search(r"\bstep\(", location(case).code) is not None


def _operation(source: Source, at: Location) -> ast.BinOp | ast.Call | None:
    """What stands at exactly that place; else the largest operation that begins there."""
    able = [node for node in ast.walk(source.tree) if isinstance(node, (ast.BinOp, ast.Call)) and node.lineno == at.line]
    exact = [node for node in able if spans(node, at)]
    return next(iter(exact or [node for node in able if node.col_offset == at.column]), None)


def _ways(source: Source, node: ast.BinOp | ast.Call) -> list[list[ast.expr]]:
    """The operands to convert. Of two numbers one is enough, as the other follows it, but for the factors of a matrix product."""
    if isinstance(node, ast.Call):
        method = isinstance(node.func, ast.Attribute) and not source.qualified(node.func) and not _is_self(node.func.value)
        return [[node.func.value]] if method and isinstance(node.func, ast.Attribute) else [list(node.args[:1])] if node.args else []
    if isinstance(node.op, ast.MatMult):
        return [[node.left, node.right]]
    return [[one] for one in (node.left, node.right) if _may_be_tensor(one)]


def _is_self(node: ast.expr) -> bool:
    """True for the module that a line is part of: `self.body(x)` computes with `x`, and `self.float()` would change the network."""
    return isinstance(node, ast.Name) and node.id == "self"


def _may_be_tensor(node: ast.expr) -> bool:
    counts = isinstance(node, ast.Call) and called(node) in ("numel", "len", "size", "max", "min", "float", "int", "item")
    return not counts and number(node) is None


def _back(source: Source, node: ast.expr, operand: ast.expr) -> list[Edit | None]:
    """What the statement makes, in the format of the operand again."""
    statement = source.statement(node)
    value = statement.value if isinstance(statement, (ast.Return, ast.Assign)) else None
    names = [one for one in ast.walk(operand) if isinstance(one, ast.Name) and one.id not in ("self", *source.imports)]
    if value is None or not names or isinstance(value, (ast.Tuple, ast.Lambda)):
        return []
    begin = source.edit_span(value.lineno, value.col_offset, value.lineno, value.col_offset, "(")
    line, column = value.end_lineno or 0, value.end_col_offset or 0
    return [begin, source.edit_span(line, column, line, column, f").to({names[0].id}.dtype)")]
