"""Make a scale or variance positive by construction.

What it changes
---------------
The number that must be positive goes through softplus, and a small number is added: `sqrt(v)` becomes `sqrt(softplus(v) +
1e-6)`, `Normal(m, s)` becomes `Normal(m, softplus(s) + 1e-6)`.

When it helps
-------------
A layer without a bound, or with a ReLU, gives negative numbers or exact zeros as soon as training leads there. softplus never
does, and its slope is nowhere 0.

What it may cost
----------------
What was trained with the old function is another network now: train it again.

Example
-------
::

    policy = Normal(mean, F.softplus(spread) + 1e-3)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import named
from stayfinite.catalog.ops import DECOMPOSITIONS
from stayfinite.catalog.remedy import Scene, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Make it positive by construction"
CURES = ("nonpositive-variance", "domain-error", "degenerate-decomposition")
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("domain-error",)

_DISTRIBUTIONS = ("Normal", "LogNormal", "Laplace", "Gamma", "Beta", "StudentT", "HalfNormal", "Cauchy", "Gumbel", "Exponential", "Poisson")

_LAYERS = frozenset({"matmul", "conv", "add", "relu", "index", "move", "silu", "gelu", "activation", "rnn"})
"""What a layer without a bound ends with."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where a root, a logarithm, a division or a distribution is given what need not be positive."""
    if case.origin is None:
        return []
    if case.origin.op in DECOMPOSITIONS:
        return _diagonal(case, sources)
    at = case.origin.location
    scene = Scene(case, sources, named("sqrt", "log", "rsqrt"))
    source = scene.source
    if source is None:
        return []
    made = case.origin.inputs[0].made_by[:1] if case.origin.inputs else ()
    if made and case.origin.op != "distribution" and made[0] not in _LAYERS:
        return []  # a sum of squares, a probability: that has another reason to be 0
    operand = None
    if case.origin.op == "distribution":
        operand = _scale(source, at.line)
    elif case.origin.op in ("sqrt", "log", "rsqrt") and scene.view is not None and scene.view.package != "math":
        operand = scene.view.first
    if operand is None or (isinstance(operand, ast.BinOp) and isinstance(operand.op, ast.Sub)):
        return []
    name, imports = source.spelled("torch.nn.functional.softplus", operand)
    statement = source.statement(operand)
    edits: list[Edit | None] = [*imports]
    if isinstance(operand, ast.Name) and statement is not None and source.indentation(statement) is not None:
        edits.append(source.insert_before(statement, f"{operand.id} = {name}({operand.id}) + 1e-3"))
    else:
        edits.append(source.replace(operand, f"{name}({source.argument(operand)}) + 1e-3"
                                    if _alone(source, operand) else f"({name}({source.argument(operand)}) + 1e-3)"))
    return [offered(__name__, sources, edits, cost="it is another network: train it again")]


def _diagonal(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """What is added to the diagonal of the matrix, where it is learned: ``noise * torch.eye(n)``."""
    for source in Project(sources).sources.values():
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
                continue
            for one, other in ((node.left, node.right), (node.right, node.left)):
                eye = isinstance(other, ast.Call) and source.segment(other.func).rpartition(".")[2] in ("eye", "eye_like", "diag")
                if eye and isinstance(one, (ast.Name, ast.Attribute)):
                    name, imports = source.spelled("torch.nn.functional.softplus", one)
                    edits: list[Edit | None] = [source.replace(one, f"({name}({source.segment(one)}) + 1e-3)"), *imports]
                    return [offered(__name__, sources, edits, cost="it is another model: train it again")]
    return []


def _alone(source: Source, node: ast.expr) -> bool:
    """True for an argument of a call, where a sum needs no parentheses."""
    parent = source.parents.get(node)
    return isinstance(parent, ast.keyword) or (isinstance(parent, ast.Call) and node in parent.args)


def _scale(source: Source, line: int) -> ast.expr | None:
    """The argument of the distribution on that line that must be positive."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and node.lineno <= line <= (node.end_lineno or 0):
            called = source.qualified(node.func).rpartition(".")[2] or getattr(node.func, "attr", "")
            if called in _DISTRIBUTIONS:
                given = next((one.value for one in node.keywords if one.arg in ("scale", "rate", "concentration")), None)
                return given if given is not None else node.args[-1] if node.args else None
    return None
