"""Use a log-sum-exp, softplus or sigmoid of the library for the one that is written out.

What it changes
---------------
`log(exp(z).sum(1))` becomes `logsumexp(z, 1)`, `log(1 + exp(z))` becomes `softplus(z)`, `1 / (1 + exp(-z))` becomes `sigmoid(z)` and
`log(cosh(z))` becomes `|z| + softplus(-2|z|) - log 2`, or `logaddexp(z, -z) - log 2` where `z` is written out there.

When it helps
-------------
The exponential leaves the format long before its logarithm would: above 88 in float32.

What it may cost
----------------
Nothing: it is the same function. softplus and sigmoid have finite slopes everywhere.

Example
-------
::

    total = torch.logsumexp(z, dim=1)     # not torch.log(torch.exp(z).sum(dim=1))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import uses
from stayfinite.catalog.edits.views import View, named, number, view
from stayfinite.catalog.remedies.use_log_softmax import written_out
from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Use the stable function of the library"
CURES = ("exp-overflow", "naive-softmax-overflow", "where-gradient-trap", "infinity-arithmetic")
APPLICABILITY = "safe"
SAME_FUNCTION = True
EXAMPLES = ("log-cosh-lbfgs",)

Edits = list[Edit | None]


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the logarithm or the quotient of the power is found."""
    if case.origin is None or case.origin.op not in ("exp", "cosh", "log1p", "sinh"):
        return []
    scene = Scene(case, sources, named("exp", "cosh"))
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.first is None or seen.package == "math":
        return []
    found = _cosh(source, seen) if seen.name == "cosh" else _around(source, seen)
    form = Stable(place(case), "log-sum-exp")
    return [offered(__name__, sources, found, form)] if found is not None else []


def _around(source: Source, power: View) -> Edits | None:
    """What the power stands in, replaced as a whole."""
    for one in source.above(power.node):
        if isinstance(one, ast.stmt):
            return None
        whole = view(source, one)
        if isinstance(one, ast.expr):
            by_hand = written_out(source, one)
            if by_hand is not None and by_hand.first is not None:
                name, imports = source.spelled("torch.sigmoid", one)
                return [source.replace(one, f"{name}({source.argument(by_hand.first)})"), *imports]
        if whole is None or whole.name not in ("log", "log1p") or whole.first is None:
            continue
        return _log_of(source, whole, power)
    return None


def _log_of(source: Source, log: View, power: View) -> Edits | None:
    inner, first = log.first, power.first
    assert inner is not None and first is not None
    if log.name == "log1p" and inner is power.node:
        return _softplus(source, log, first)
    if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Add):
        others = [side for side in (inner.left, inner.right) if side is not power.node]
        return _softplus(source, log, first) if len(others) == 1 and number(others[0]) == 1.0 else None
    summed = view(source, inner)
    if summed is not None and summed.name == "sum" and summed.operands and summed.operands[0] is power.node:
        dim, keep = summed.option("dim", 1, "axis"), summed.option("keepdim", 2)
        if dim is None:
            return None
        name, imports = source.spelled("torch.logsumexp", log.node)
        kept = f", keepdim={source.segment(keep)}" if keep is not None else ""
        return [source.replace(log.node, f"{name}({source.argument(first)}, dim={source.segment(dim)}{kept})"), *imports]
    return None


def _softplus(source: Source, log: View, first: ast.expr) -> Edits:
    name, imports = source.spelled("torch.nn.functional.softplus", log.node)
    return [source.replace(log.node, f"{name}({source.argument(first)})"), *imports]


def _cosh(source: Source, power: View) -> Edits | None:
    """``log(cosh(z))``, in one expression or over a name that is used nowhere else."""
    assert power.first is not None
    name, imports = source.spelled("torch.nn.functional.softplus", power.node)
    template = f"{{x}}.abs() + {name}(-2 * {{x}}.abs()) - 0.6931471805599453"
    above = source.parents[power.node]
    parent = view(source, source.parents[above] if isinstance(above, ast.Attribute) else above)  # `z.cosh().log()`
    if parent is not None and parent.name == "log" and parent.first is power.node:
        if isinstance(power.first, ast.Name):
            return [source.replace(parent.node, f"({template.format(x=power.first.id)})"), *imports]
        name, imports = source.spelled("torch.logaddexp", power.node)  # of what is no name: it is computed once
        given = source.fresh(power.node, "z", "given")
        return [source.replace(parent.node, f"({name}({given} := {source.argument(power.first)}, -{given}) - 0.6931471805599453)"),
                *imports]
    statement = source.statement(power.node)
    if not isinstance(statement, ast.Assign) or statement.value is not power.node or not isinstance(statement.targets[0], ast.Name):
        return None
    target = statement.targets[0].id
    read = uses(source.scope(power.node), target)
    logs = [view(source, source.parents[one]) for one in read]
    if len(read) != 1 or logs[0] is None or logs[0].name != "log":
        return None
    new = source.fresh(power.node, f"log_{target}", "log_cosh")
    if not isinstance(power.first, ast.Name):
        return None
    return [source.replace(statement.targets[0], new), source.replace(power.node, template.format(x=source.segment(power.first))),
            source.replace(logs[0].node, new), *imports]
