"""Use gated recurrent cells.

What it changes
---------------
A plain recurrent layer becomes a gated one of the same size (`nn.RNN` a `nn.GRU`, `nn.RNNCell` a `nn.GRUCell`), with gates that are
open at first where the source shows what the layer is called, or as they are drawn.

When it helps
-------------
Over many time steps a plain cell multiplies the gradient with the same matrix and slope again and again, until nothing of it
is left or it explodes. A gate passes it through; as it is drawn it passes half, of which sixty steps leave nothing either: a bias of
3 makes that 95 %.

What it may cost
----------------
Three times as many weights, and another network: train it again. Stored weights do not fit.

Example
-------
::

    self.cell = nn.GRUCell(16, 32)                   # was nn.RNNCell(16, 32)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import each
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Use gated recurrent cells"
CURES = ("vanishing-gradient", "exploding-gradient", "saturated-activation")
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("first-bracket",)

_GATED = {"torch.nn.RNN": "torch.nn.GRU", "torch.nn.RNNCell": "torch.nn.GRUCell"}
_OPEN = '''for {name}, {bias} in {layer}.named_parameters():
    if {name}.startswith("bias_hh"):
        {bias}.data.chunk(3)[1].fill_(3.0)'''
"""The second third of these biases is that of the gate which keeps the state: sigmoid(3) is 0.95."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Every plain recurrent layer that is built, its gates open at first, or as they are drawn."""
    edits: list[Edit | None] = []
    opening: list[Edit | None] = []
    for source in Project(sources).sources.values():
        for node in ast.walk(source.tree):
            gated = _GATED.get(source.qualified(node.func)) if isinstance(node, ast.Call) else None
            if gated is None or not isinstance(node, ast.Call):
                continue
            name, imports = source.spelled(gated, node)
            if len(node.args) > 3 and not _is_text(node.args[3]):
                return []  # a nonlinearity, which gated cells do not take, or what is meant by its place
            given = [source.segment(one) for one in node.args if not _is_text(one)]
            given += [f"{one.arg}={source.segment(one.value)}" if one.arg else f"**{source.segment(one.value)}"
                      for one in node.keywords if one.arg != "nonlinearity"]
            plain = len(given) == len(node.args) + len(node.keywords)
            edits += [source.replace(node.func, name) if plain else source.replace(node, f"{name}({', '.join(given)})"), *imports]
            opening.append(_opened(source, node))
    if not edits:
        return []
    cost = "it is another network: train it again"
    opened = [offered(__name__, sources, [*edits, *opening], says="Use gated recurrent cells, their gates open at first", cost=cost)]
    return [*(opened if None not in opening else ()), offered(__name__, sources, edits, cost=cost)]


def _opened(source: Source, built: ast.Call) -> Edit | None:
    """Lines that open the gates, after the statement that gives a name to what is `built`."""
    statement = source.statement(built)
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = next((part for part, value in each(statement.targets[0], statement.value) if value is built), None)
    if not isinstance(target, (ast.Name, ast.Attribute)) or any(one.arg == "bias" for one in built.keywords):
        return None
    name, bias = source.fresh(statement, "name", "gate_name"), source.fresh(statement, "bias", "gate_bias")
    return source.insert_after(statement, _OPEN.format(layer=source.segment(target), name=name, bias=bias))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
