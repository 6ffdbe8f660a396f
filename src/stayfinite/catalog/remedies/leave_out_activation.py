"""Leave out an activation that the output cannot use.

What it changes
---------------
The activation behind the last layer is taken away; a softmax over a single score becomes a sigmoid, and what `nll_loss` is given
becomes the logarithm of a softmax.

When it helps
-------------
A regression ends with a ReLU and its targets are negative; each layer of a loop is followed by an activation, the last one
too; a softmax over one unit is 1 whatever the network says; a negative log-likelihood of a sigmoid falls to -1 and stands still.

What it may cost
----------------
The output is no longer bound to the range of the activation.

Example
-------
::

    return self.out(hidden).squeeze(-1)              # was torch.relu(self.out(hidden))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import View, attribute_value, view
from stayfinite.catalog.remedy import offered
from stayfinite.catalog.surveyed import surveyed
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Leave out the activation of the output"
CURES = ("activation-loss-mismatch",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("winter-nights",)

_ACTIVATIONS = frozenset({"relu", "sigmoid", "tanh", "softmax", "softplus", "elu", "leaky_relu", "gelu", "silu", "hardtanh"})


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where the activation at the origin is called, or built."""
    if case.origin is None or case.origin.op not in _ACTIVATIONS:
        return []
    project = Project(sources)
    source = project.get(case.origin.location.file)
    if source is None:
        return []
    line, instead = case.origin.location.line, _instead(case)
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not node.lineno <= line <= (node.end_lineno or 0):
            continue
        built = attribute_value(source, node.func) if isinstance(node.func, ast.Attribute) else None
        if isinstance(built, ast.Call):
            edits = _rebuilt(source, built, case.origin.op, instead)
            if edits:
                return [_offered(sources, edits, instead)]
        seen = view(source, node)
        if seen is not None and seen.name == case.origin.op and seen.first is not None and seen.spelled in ("function", "method"):
            return [_offered(sources, _called(source, seen, instead), instead)]
    edits = _only_one(project, case.origin.op, instead)
    if edits:
        return [_offered(sources, edits, instead)]
    return [offered(__name__, sources, None, says="the source does not show where this activation is chosen: leave it out")]


def _offered(sources: Mapping[str, str], edits: Sequence[Edit | None], instead: str) -> Remedy:
    says = "Take the logarithm of a softmax instead of the activation" if instead == "LogSoftmax" else ""
    return offered(__name__, sources, edits, says=says, cost="it is another network: train it again")


def _called(source: Source, seen: View, instead: str) -> list[Edit | None]:
    """A call of the activation, replaced."""
    assert seen.first is not None
    if instead == "LogSoftmax":
        name, imports = source.spelled("torch.nn.functional.log_softmax", seen.node)
        return [source.replace(seen.node, f"{name}({source.argument(seen.first)}, dim=1)"), *imports]
    if instead == "Sigmoid":
        return [source.replace(seen.node, f"{source.operand(seen.first)}.sigmoid()")]
    return [source.replace(seen.node, source.operand(seen.first) if seen.spelled == "function" else source.segment(seen.first))]


def _instead(case: Case) -> str:
    """The module that stands for the activation: a softmax over a single number was meant as a sigmoid."""
    if any(loss.kind == "nll_loss" and case.origin is not None and loss.made_by == case.origin.op for loss in surveyed(case).losses):
        return "LogSoftmax"
    shapes = [one.shape for one in (case.origin.inputs if case.origin is not None else ()) if one.shape]
    several = bool(shapes) and shapes[0][-1] > 1 and any(loss.kind != "bce" for loss in surveyed(case).losses)
    return "Sigmoid" if case.origin is not None and case.origin.op == "softmax" and not several else "Identity"


def _only_one(project: Project, kind: str, instead: str) -> list[Edit | None]:
    """The constructor of such an activation, where all of the source holds one: from a table of them, or handed on."""
    found = [
        (source, call) for source in project.sources.values() for call in ast.walk(source.tree)
        if isinstance(call, ast.Call) and _builds(source, call, kind)
    ]
    return _rebuilt(*found[0], kind, instead) if len(found) == 1 else []


def _builds(source: Source, call: ast.Call, kind: str) -> bool:
    dotted = source.qualified(call.func)
    return dotted.startswith("torch.nn.") and dotted.rpartition(".")[2].lower() == kind.replace("_", "")


def _rebuilt(source: Source, built: ast.Call, kind: str, instead: str) -> list[Edit | None]:
    """The constructor of the activation, or of a chain that ends with it."""
    if source.qualified(built.func) == "torch.nn.Sequential" and built.args and isinstance(built.args[-1], ast.Call):
        return _rebuilt(source, built.args[-1], kind, instead)
    if _builds(source, built, kind):
        name, imports = source.spelled(f"torch.nn.{instead}", built)
        return [source.replace(built, f"{name}({'dim=1' if instead == 'LogSoftmax' else ''})"), *imports]
    return []
