"""Use an activation whose slope does not end.

What it changes
---------------
sigmoid and tanh between layers become relu, relu becomes leaky_relu: at the line the gradient ends.

When it helps
-------------
A sigmoid has a slope of at most 1/4, and none far from 0: ten of them in a row pass on a millionth. A rectifier that is 0 for
every sample passes on nothing, for good.

What it may cost
----------------
Another network, with another range of values. An output that has to be a probability keeps its sigmoid.

Example
-------
::

    h = F.leaky_relu(layer(x), 0.01)     # not torch.sigmoid(layer(x))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import view
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Use an activation whose slope does not end"
CURES = ("vanishing-gradient", "dead-relu", "saturated-activation", "activation-loss-mismatch")
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("deep-digits",)

_NEW = {"sigmoid": "leaky_relu", "tanh": "leaky_relu", "relu": "leaky_relu"}
_MODULES = {"Sigmoid": "LeakyReLU", "Tanh": "LeakyReLU", "ReLU": "LeakyReLU"}


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """At the line of the activation; else everywhere that its module is built."""
    if case.origin is None:
        return []
    project = Project(sources)
    at = case.origin.location
    source = project.get(at.file)
    edits: list[Edit | None] = []
    if source is not None:
        for node in ast.walk(source.tree):
            seen = view(source, node)
            if isinstance(node, ast.Call) and seen is not None and seen.name in _NEW and node.lineno == at.line and seen.first is not None \
                    and seen.spelled in ("function", "method"):
                name, imports = source.spelled(f"torch.nn.functional.{_NEW[seen.name]}", node)
                edits += [source.replace(node, f"{name}({source.argument(seen.first)})"), *imports]
    if not edits:
        edits = [edit for one in project.sources.values() for edit in _modules(one, case.origin.op)]
    if not edits:
        return [offered(__name__, sources, None, says="the source does not show where the activation is chosen: use a leaky_relu there")]
    return [offered(__name__, sources, edits[:8], cost="it is another network: train it again")]


def _modules(source: Source, kind: str) -> list[Edit]:
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) or isinstance(node, ast.Name):
            name = source.qualified(node).removeprefix("torch.nn.")
            if name in _MODULES and name.lower() == kind and isinstance(node.ctx, ast.Load):
                text = source.segment(node)
                found.append(source.replace(node, text[: -len(name)] + _MODULES[name]))
    return found
