"""Give the loss logits instead of probabilities.

What it changes
---------------
The sigmoid or softmax before a loss that takes logarithms is left out, and the logarithms are taken from the logits:
`binary_cross_entropy(sigmoid(z), y)` becomes `binary_cross_entropy_with_logits(z, y)`, and a loss of one's own that takes
`log(p)` and `log(1 - p)` of its argument gets the logits and takes `logsigmoid(z)` and `logsigmoid(-z)`.

When it helps
-------------
A probability that has become exactly 0 or 1 has no logarithm, or none whose gradient is finite. From the logits both are.

What it may cost
----------------
Nothing: it is the same function. Whoever else reads the probabilities of the changed function gets logits now, so the change is
only made where nobody else does.

Example
-------
::

    loss = F.binary_cross_entropy_with_logits(z, y)     # not F.binary_cross_entropy(torch.sigmoid(z), y)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.clues import finite
from stayfinite.catalog.edits.seeking import every_call
from stayfinite.catalog.edits.source import Function, Source
from stayfinite.catalog.edits.tracing import Project, bindings, uses
from stayfinite.catalog.edits.views import View, named, number, view
from stayfinite.catalog.remedies.use_log_softmax import core_of, written_out
from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Give the loss logits instead of probabilities"
CURES = ("log-of-zero", "domain-error", "activation-loss-mismatch", "half-precision-underflow")
OTHER_LOSS = True
APPLICABILITY = "safe"
SAME_FUNCTION = True
EXAMPLES = ("log-of-zero",)

Edits = list[Edit | None]


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, if the loss takes its probabilities from one sigmoid or softmax that nothing else reads."""
    scene = Scene(case, sources, named("log", "binary_cross_entropy"))
    if case.origin is None or case.origin.op not in ("log", "bce") or scene.source is None or scene.view is None:
        return []
    form = Stable(place(case), "logits")
    if scene.view.name == "binary_cross_entropy":
        return _criterion(scene, form)
    argument = scene.view.first
    if argument is None or scene.view.package not in ("", "torch"):
        return []
    inner = _of_complement(argument) or argument
    core, _ = core_of(scene.source, inner)
    edits: Edits | None = None
    if isinstance(core, ast.Name):
        edits = _through_argument(scene.project, scene.source, core)
    elif isinstance(core, ast.Call):
        edits = _through_function(scene.project, scene.source, core)
    return [offered(__name__, sources, edits, form)] if edits is not None else []


def _criterion(scene: Scene, form: Stable) -> list[Remedy]:
    """`binary_cross_entropy` on probabilities, as a function or as a module that is built elsewhere."""
    source, seen = scene.source, scene.view
    assert source is not None and seen is not None
    first = seen.first
    probability = view(source, first) if first is not None else None
    edits: Edits = []
    safe = probability is not None and probability.name == "sigmoid" and probability.first is not None
    if not safe and not _outside(scene.case):
        return []  # something else keeps them between 0 and 1, and would be applied twice
    if safe and first is not None and probability is not None and probability.first is not None:
        edits.append(source.replace(first, source.argument(probability.first)))
    if seen.spelled == "function" and isinstance(seen.node, ast.Call):
        name, imports = source.spelled("torch.nn.functional.binary_cross_entropy_with_logits", seen.node)
        edits += [source.replace(seen.node.func, name), *imports]
    else:
        built = [(home, call) for home, call in every_call(scene.project, "BCELoss")]
        if len(built) != 1:
            return []
        home, call = built[0]
        func = call.func
        edits.append(home.replace(func, home.segment(func)[: -len("BCELoss")] + "BCEWithLogitsLoss"))
    says = "" if safe else "Take the predictions as logits: nothing keeps them between 0 and 1"
    return [offered(__name__, scene.sources, edits, form, says=says, applicability="safe" if safe else "unsafe")]


def _outside(case: Case) -> bool:
    """Whether the loss was given a prediction below 0 or above 1."""
    given = case.origin.inputs[0] if case.origin is not None and case.origin.inputs else None
    low, high = (finite(given.min), finite(given.max)) if given is not None else (None, None)
    return (low is not None and low < 0.0) or (high is not None and high > 1.0)


def _through_argument(project: Project, source: Source, core: ast.Name) -> Edits | None:
    """The probability is an argument of this function, of which only logarithms are taken, and it has one call."""
    function = source.scope(core)
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) or bindings(function, core.id):
        return None
    parameter = next((one for one in (*function.args.posonlyargs, *function.args.args) if one.arg == core.id), None)
    found = project.calls_of(function, source)
    made = next((one for one in project.made(source, core) if one.hops and one.hops[-1].how == "argument"), None)
    if parameter is None or len(found) != 1 or made is None or len(made.hops) != 1:
        return None
    logs = [_logarithm(source, use) for use in uses(function, core.id)]
    probability, outer = _probability(project, made.source, made.value)
    if any(log is None for log in logs) or probability is None or probability.first is None:
        return None
    if probability.name != "sigmoid" or outer is not made.value:
        return None
    keyword = any(one.arg == core.id for one in found[0][1].keywords)
    name = core.id if keyword else source.fresh(core, "logits", "z")
    edits: Edits = [made.source.replace(made.value, made.source.argument(probability.first))]
    if name != core.id:
        edits.append(source.replace(parameter, name) if parameter.annotation is None else None)
    for log in logs:
        assert log is not None
        node, use, negated = log
        spelled, imports = source.spelled("torch.nn.functional.logsigmoid", node)
        argument = source.spliced(node.args[0] if isinstance(node, ast.Call) and node.args else use, use, name)
        inner = f"-{name}" if negated else name if argument in (name, core.id) else argument
        edits += [source.replace(node, f"{spelled}({inner})"), *imports]
    return edits


def _through_function(project: Project, source: Source, call: ast.Call) -> Edits | None:
    """The probability is what a function of the user's returns, and every call of that stands in a logarithm."""
    known = project.defined(source, call)
    if known is None:
        return None
    home, function = known
    returns = [one for one in ast.walk(function) if isinstance(one, ast.Return)]
    if len(returns) != 1 or returns[0].value is None:
        return None
    probability, _ = _probability(project, home, returns[0].value)
    if probability is None or probability.name != "sigmoid" or probability.first is None:
        return None
    edits: Edits = [home.replace(probability.node, home.operand(probability.first))]
    for other, one in project.calls_of(function, home):
        log = _logarithm(other, one)
        if log is None:
            return None
        node, _, negated = log
        spelled, imports = other.spelled("torch.nn.functional.logsigmoid", node)
        edits += [other.replace(node, f"{spelled}({'-' * negated}{other.segment(one)})"), *imports]
    return edits


def _logarithm(source: Source, use: ast.expr) -> tuple[ast.expr, ast.expr, bool] | None:
    """The logarithm that `use` (or 1 - `use`) is the argument of, and whether it is of the complement."""
    node: ast.AST = use
    negated = False
    for one in source.above(use):
        if isinstance(one, ast.Attribute):  # of a method that is called
            continue
        seen = view(source, one)
        if seen is not None and seen.name == "log" and seen.first is node and isinstance(one, ast.expr):
            return one, use, negated
        if isinstance(one, ast.BinOp) and _of_complement(one) is node and not negated:
            negated, node = True, one
            continue
        return None
    return None


def _of_complement(node: ast.AST) -> ast.expr | None:
    minus = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
    return node.right if minus and isinstance(node, ast.BinOp) and number(node.left) == 1.0 else None


def _probability(project: Project, source: Source, value: ast.expr) -> tuple[View | None, ast.expr]:
    """The sigmoid or softmax that `value` is, through what only moves elements, and through a function that writes it out."""
    core, _ = core_of(source, value)
    seen = view(source, core)
    if seen is not None and seen.name in ("sigmoid", "softmax") and not _is_users(project, source, core):
        return seen, core
    by_hand = written_out(source, core)
    if by_hand is not None:
        return by_hand, core
    known = project.defined(source, core) if isinstance(core, ast.Call) else None
    if known is None or not isinstance(core, ast.Call) or len(core.args) != 1:
        return None, core
    home, function = known
    if not _writes_sigmoid(home, function):
        return None, core
    return View(core, "sigmoid", tuple(core.args)), core


def _is_users(project: Project, source: Source, node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and project.defined(source, node) is not None


def _writes_sigmoid(home: Source, function: Function) -> bool:
    """True for a function of one argument whose only statement returns its sigmoid, written out."""
    body = [one for one in function.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None or len(function.args.args) != 1:
        return False
    seen = written_out(home, body[0].value) or view(home, body[0].value)
    first = seen.first if seen is not None and seen.name == "sigmoid" else None
    return isinstance(first, ast.Name) and first.id == function.args.args[0].arg
