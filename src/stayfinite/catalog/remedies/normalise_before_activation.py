"""Normalise what an activation is given.

What it changes
---------------
The argument of the activation is brought to mean 0 and deviation 1 over the features of each sample (layer normalisation
without parameters of its own), so that it falls where the activation has a slope.

When it helps
-------------
A sigmoid or tanh is saturated, or a stack of them hands back next to nothing; units of a ReLU are below 0 for every sample.

What it may cost
----------------
The scale of each sample is lost, which may carry information. It is another network: train it again.

Example
-------
::

    x = torch.sigmoid(F.layer_norm(layer(x), layer(x).shape[-1:]))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import view
from stayfinite.catalog.remedy import chosen, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Normalise what the activation is given"
CURES = ("vanishing-gradient", "saturated-activation", "dead-relu")
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("point-cloud-sets",)

_ACTIVATIONS = frozenset({"relu", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus"})


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Every activation that is called at the line of the origin, on more than one feature."""
    if case.origin is None or case.origin.op not in _ACTIVATIONS:
        return []
    shapes = [one.shape for one in case.origin.inputs if one.shape]
    project = Project(sources)
    source = project.get(case.origin.location.file)
    if source is None or (shapes and shapes[0][-1] < 2):
        return []
    edits: list[Edit | None] = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or node.lineno != case.origin.location.line:
            continue
        seen = view(source, node)
        if seen is not None and seen.name == case.origin.op and seen.first is not None and seen.spelled in ("function", "method"):
            name, imports = source.spelled("torch.nn.functional.layer_norm", node)
            normed = chosen(source, seen.first, name + "({x}, {x}.shape[-1:])")
            edits += [*normed, *imports]
    if edits:
        return [offered(__name__, sources, edits, cost="it is another network: train it again")]
    offers = []
    for norm, others in (("LayerNorm", ""), ("LayerNorm", "ReLU"), ("BatchNorm1d", "ReLU")):
        built = _built(project, case.origin.op, norm, others)
        flat = norm == "LayerNorm" or (shapes and len(shapes[0]) == 2)  # of a sequence it would want channels first
        if built and flat and (not others or case.origin.op in ("sigmoid", "tanh")):
            says = f"Normalise what the activation is given by {norm}" + (", and use a ReLU" if others else "")
            offers.append(offered(__name__, sources, built, says=says, cost="it is another network: train it again"))
    return offers


def _built(project: Project, kind: str, norm: str, instead: str) -> list[Edit | None]:
    """Edits of every chain of modules in which such an activation stands directly behind a linear layer: the normalisation `norm`
    between them, of as many features; `instead`: another activation in its place."""
    edits: list[Edit | None] = []
    for source in project.sources.values():
        for chain in ast.walk(source.tree):
            if not isinstance(chain, ast.Call) or source.qualified(chain.func) != "torch.nn.Sequential":
                continue
            for layer, activation in zip(chain.args, chain.args[1:], strict=False):
                width = _width(source, layer)
                is_one = isinstance(activation, ast.Call) and source.qualified(activation.func).lower() == f"torch.nn.{kind}"
                if width is None or not is_one or not isinstance(activation, ast.Call):
                    continue
                name, imports = source.spelled(f"torch.nn.{norm}", activation)
                other, more = source.spelled(f"torch.nn.{instead}", activation) if instead else ("", ())
                text = f"{other}()" if instead else source.segment(activation)
                edits += [source.replace(activation, f"{name}({width}), {text}"), *imports, *more]
    return edits[:16]


def _width(source: Source, layer: ast.expr) -> str | None:
    """How many features a linear layer gives, as it is written."""
    if not isinstance(layer, ast.Call) or source.qualified(layer.func) != "torch.nn.Linear":
        return None
    given = layer.args[1] if len(layer.args) > 1 else next((one.value for one in layer.keywords if one.arg == "out_features"), None)
    return source.segment(given) if given is not None else None
