"""Let 0 log 0 be 0.

What it changes
---------------
A number times its own logarithm becomes `torch.xlogy`, which is 0 where the number is: `p * (p / q).log()` becomes
`torch.xlogy(p, p) - p * q.log()`, and the logarithm of a softmax `log_softmax`.

When it helps
-------------
A divergence or an entropy is written out, and one of the given probabilities is exactly 0: a label, a share of nothing, what a
teacher's answer was rounded to.

What it may cost
----------------
Nothing: it is the same number elsewhere, and the limit there. Where `p` itself is learned, its slope at 0 is not finite either: take
its logarithm from the logits then.

Example
-------
::

    divergence = torch.xlogy(p, p) - p * F.log_softmax(z, dim=1)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import assigned, rebound, uses
from stayfinite.catalog.edits.views import named, view
from stayfinite.catalog.remedy import Scene, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Let 0 log 0 be 0"
CURES = ("log-of-zero", "half-precision-underflow", "infinity-arithmetic")
APPLICABILITY = "safe"
SAME_FUNCTION = True
ON_STEP = False
EXAMPLES = ("cached-teacher",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the logarithm at the origin, or what it was assigned to, is multiplied by the number it is of."""
    scene = Scene(case, sources, named("log"))
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.first is None or seen.package in ("math", "numpy"):
        return []
    part, edits = seen.node, list[Edit | None]()
    statement = source.statement(part)
    if isinstance(statement, ast.Assign) and statement.value is part and isinstance(statement.targets[0], ast.Name):
        used = uses(source.scope(part), statement.targets[0].id)
        hop = assigned(source, used[0]) if len(used) == 1 else None
        if hop is None or hop.statement is not statement or rebound(source, seen.first, statement.lineno, used[0]):
            return []
        part = used[0]
        edits.append(source.delete(statement))
    return _weighed(source, part, seen.first, edits, sources)


def _weighed(source: Source, part: ast.expr, argument: ast.expr, edits: list[Edit | None], sources: Mapping[str, str]) -> list[Remedy]:
    """`part` is the logarithm of `argument`: ``p * part`` or ``p * (part - rest)``, with ``p`` or ``p / q`` as the argument."""
    above, rest = source.parents.get(part), None
    if isinstance(above, ast.BinOp) and isinstance(above.op, ast.Sub) and above.left is part:
        part, rest = above, above.right
        above = source.parents.get(part)
    if not isinstance(above, ast.BinOp) or not isinstance(above.op, ast.Mult):
        return []
    weight = above.right if above.left is part else above.left
    ratio = isinstance(argument, ast.BinOp) and isinstance(argument.op, ast.Div)
    own = argument.left if ratio and isinstance(argument, ast.BinOp) else argument
    if ast.dump(own) != ast.dump(weight) or not isinstance(own, (ast.Name, ast.Attribute, ast.Subscript)):
        return []
    name, imports = source.spelled("torch.xlogy", above)
    text = source.segment(own)
    less = [source.operand(rest)] if rest is not None else []
    if ratio and isinstance(argument, ast.BinOp):
        less.append(_logarithm(source, argument.right))
    made = " - ".join([f"{name}({text}, {text})", *(f"{text} * {one}" for one in less)])
    outer = source.parents.get(above)
    made = f"({made})" if less and isinstance(outer, (ast.BinOp, ast.UnaryOp, ast.Attribute)) and not _enclosed(source, above) else made
    return [offered(__name__, sources, [*edits, source.replace(above, made), *imports])]


def _enclosed(source: Source, node: ast.expr) -> bool:
    """True if parentheses stand round `node` already."""
    line = source.lines[node.lineno - 1].encode()
    behind = source.lines[(node.end_lineno or node.lineno) - 1].encode()[node.end_col_offset or 0 :]
    return line[: node.col_offset].rstrip().endswith(b"(") and behind.lstrip().startswith(b")")


def _logarithm(source: Source, node: ast.expr) -> str:
    """The logarithm of `node`: of a softmax, from its logits."""
    value = node
    if isinstance(node, ast.Name):
        hop = assigned(source, node)
        if hop is not None and hop.source is source:
            begin = hop.statement.lineno if hop.statement is not None else 0
            value = node if rebound(source, hop.value, begin, node) else hop.value
    seen = view(source, value)
    if seen is not None and seen.name == "softmax" and isinstance(value, ast.Call) and seen.spelled in ("function", "method"):
        called = source.segment(value.func)
        return called[: -len("softmax")] + "log_softmax" + source.segment(value)[len(called) :]
    return f"{source.operand(node)}.log()"
