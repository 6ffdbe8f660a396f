"""Make a scale or variance positive by construction.

What it changes
---------------
The number that must be positive goes through softplus, and a small number is added: `sqrt(v)` becomes `sqrt(softplus(v) +
1e-3)`, `Normal(m, s)` becomes `Normal(m, softplus(s) + 1e-3)`. Where a rectifier made it, at whatever line, that one becomes
a softplus, so that every use of it is mended. What is learned on a diagonal goes through a softplus ten times as sharp, which leaves
a noise of 0.2 what it is: training begins where it began.

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

from stayfinite.catalog.clues import finite, inputs, kind, operand
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import MOST_HOPS, Project
from stayfinite.catalog.edits.views import View, attribute_value, find, module_value, named, named_value, number
from stayfinite.catalog.ops import DECOMPOSITIONS
from stayfinite.catalog.remedy import Scene, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Make it positive by construction"
CURES = ("nonpositive-variance", "domain-error", "degenerate-decomposition", "log-of-zero")
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("domain-error", "arrivals")

COST = "it is another network: train it again"

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
    rectified = _rectifier(case, scene.project)
    if rectified is not None:
        return [offered(__name__, sources, rectified, cost=COST)]
    source = scene.source
    if source is None:
        return []
    made = case.origin.inputs[0].made_by[:1] if case.origin.inputs else ()
    if made and case.origin.op != "distribution" and made[0] not in _LAYERS:
        return []  # a sum of squares, a probability: that has another reason to be 0
    if case.origin.op == "log" and not any((finite(one.min) or 0.0) < 0.0 for one in case.origin.inputs[:1]):
        return []  # a count that is 0, a share of nothing: no layer made it
    wanted = None
    if case.origin.op == "distribution":
        wanted = _scale(source, at.line)
    elif case.origin.op in ("sqrt", "log", "rsqrt") and scene.view is not None and scene.view.package != "math":
        wanted = scene.view.first
    if wanted is None or (isinstance(wanted, ast.BinOp) and isinstance(wanted.op, ast.Sub)):
        return []
    statement = source.statement(wanted)
    if isinstance(wanted, ast.Name) and statement is not None and source.indentation(statement) is not None:
        name, imports = source.spelled("torch.nn.functional.softplus", wanted)
        edits = [*imports, source.insert_before(statement, f"{wanted.id} = {name}({wanted.id}) + 1e-3")]
    else:
        edits = _softplus(source, wanted, wanted)
    return [offered(__name__, sources, edits, cost=COST)]


def _softplus(source: Source, node: ast.expr, given: ast.expr) -> list[Edit | None]:
    """`node` becomes the softplus of `given`, and a little more."""
    name, imports = source.spelled("torch.nn.functional.softplus", node)
    text = f"{name}({source.argument(given)}) + 1e-3"
    return [*imports, source.replace(node, text if _alone(source, node) else f"({text})")]


def _rectifier(case: Case, project: Project) -> list[Edit | None] | None:
    """The rectifier that gave the operand its zeros, as a softplus: the call itself, or the last layer of the chain that was called."""
    given = inputs(case) if kind(case).name == "distribution" else [operand(case)]
    made_at = next((one.made_at for one in given if one is not None and one.zero and one.made_by[:1] in (("relu",), ("clamp",))), None)
    source = project.get(made_at.file) if made_at is not None else None
    if source is None or made_at is None:
        return None
    seen = find(source, made_at, _rectifies)
    if seen is not None and seen.first is not None:
        return _softplus(source, seen.node, seen.first)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and node.lineno <= made_at.line <= (node.end_lineno or 0):
            home, last = _last_layer(project, source, node.func)
            if isinstance(last, ast.Call) and home.qualified(last.func) == "torch.nn.ReLU":
                if len(node.args) == 1 and _is_shared(source, node, last):
                    return _softplus(source, node, node.args[0])
                name, imports = home.spelled("torch.nn.Softplus", last)
                return [home.replace(last, f"{name}()"), *imports]
    return None


def _is_shared(source: Source, node: ast.Call, layer: ast.expr) -> bool:
    """True if `layer` itself is called at `node`, and elsewhere as well: behind hidden layers, as a rule."""
    name = ast.dump(node.func)
    return named_value(source, node.func) is layer and any(isinstance(one, ast.Call) and one is not node and ast.dump(one.func) == name
                                   for one in ast.walk(source.class_of(node) or source.tree))


def _rectifies(seen: View) -> bool:
    """True for a ReLU, and for a clamp that is one."""
    if seen.name in ("clamp", "clamp_min", "clip"):
        return number(seen.option("min", 1)) == 0 and seen.option("max", 2) is None
    return seen.name == "relu"


def _last_layer(project: Project, source: Source, called: ast.expr) -> tuple[Source, ast.expr]:
    """The layer whose output is that of the module `called`: itself, or the last one of a chain, of the module of a name, or of what
    one of the user's functions returns."""
    for _ in range(MOST_HOPS):
        made: ast.expr | None = None
        if isinstance(called, ast.Attribute):
            made = attribute_value(source, called)
        elif isinstance(called, ast.Name):
            assigned = (one.value for one in project.made(source, called) if one.source is source and one.value is not called)
            made = next(assigned, None) or module_value(source, called)
        elif isinstance(called, ast.Call) and source.qualified(called.func) == "torch.nn.Sequential" and called.args:
            made = called.args[-1]
        elif isinstance(called, ast.Call) and (known := project.defined(source, called)) is not None:
            source, function = known
            returned = [one.value for one in ast.walk(function) if isinstance(one, ast.Return)]
            made = returned[0] if len(returned) == 1 else None
        if made is None:
            break
        called = made
    return source, called


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
                    edits: list[Edit | None] = [source.replace(one, f"({name}({source.segment(one)}, beta=10) + 1e-3)"), *imports]
                    return [offered(__name__, sources, edits, cost="it is another model: train it again")]
    return []


def _alone(source: Source, node: ast.expr) -> bool:
    """True for an argument, an item or all that is given or returned, where a sum needs no parentheses."""
    parent = source.parents.get(node)
    return isinstance(parent, (ast.keyword, ast.Return, ast.Assign, ast.Tuple)) or (isinstance(parent, ast.Call) and node in parent.args)


def _scale(source: Source, line: int) -> ast.expr | None:
    """The argument of the distribution on that line that must be positive."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and node.lineno <= line <= (node.end_lineno or 0):
            called = source.qualified(node.func).rpartition(".")[2] or getattr(node.func, "attr", "")
            if called in _DISTRIBUTIONS:
                given = next((one.value for one in node.keywords if one.arg in ("scale", "rate", "concentration")), None)
                return given if given is not None else node.args[-1] if node.args else None
    return None
