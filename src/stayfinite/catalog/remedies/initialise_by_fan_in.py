"""Draw the first weights with a deviation of 1 / sqrt(fan in).

What it changes
---------------
Where weights are drawn with a deviation of their own, they are drawn by `kaiming_normal_`, whose deviation follows from the
number of inputs; or, the second way, with a deviation of 0.02.

When it helps
-------------
With a deviation of 1, each layer of n inputs makes its output sqrt(n) times as large: 45 layers of 128 leave the format in the
first step.

What it may cost
----------------
Nothing, unless the deviation was chosen on purpose.

Example
-------
::

    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import calls, node_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import view
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import State

TITLE = "Draw the first weights by fan in"
CURES = (
    "bad-initialization", "exploding-gradient", "saturated-activation", "vanishing-gradient", "learning-rate-too-high",
)
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("bad-initialization",)

SMALL = "Draw the first weights with a deviation of 0.02"
"""As transformers do, whose blocks add to what they are given: there each block of variance 1 doubles it."""

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where the cause says that the weights are drawn: a call of an initialiser, or of a generator of numbers."""
    at = pages.load("causes", "bad-initialization").locate(case)
    change = State("parameters", "scaled-draw")
    source = Project(sources).get(at.file)
    places = [one.location for one in case.makings if one.of == "start"]
    for place in (at, *places):
        source = Project(sources).get(place.file)
        if source is None:
            continue
        found = calls(source, place.line, "normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "trunc_normal_")
        for call in found:
            drawn_by = call.func.value if isinstance(call.func, ast.Attribute) else None
            if source.qualified(call.func).startswith("torch.nn.init.") and call.args:
                what = source.argument(call.args[0])
            elif drawn_by is not None and source.segment(drawn_by).endswith((".weight", ".weight.data")):
                what = source.segment(drawn_by).removesuffix(".data")
            else:
                continue
            name, imports = source.spelled("torch.nn.init.kaiming_normal_", call)
            small, others = source.spelled("torch.nn.init.normal_", call)
            text = f'{name}({what}, nonlinearity="relu")'
            return [
                offered(__name__, sources, [source.replace(call, text), *imports], change),
                offered(__name__, sources, [source.replace(call, f"{small}({what}, std=0.02)"), *others], says=SMALL),
            ]
        node = node_at(source, place)
        drawn = view(source, node) if node is not None else None
        if drawn is None or node is None:
            drawn = next((seen for one in ast.walk(source.tree) if isinstance(one, ast.Call) and one.lineno == place.line
                          and (seen := view(source, one)) is not None and seen.name in ("randn", "rand")), None)
        if drawn is not None and drawn.name in ("randn", "rand", "normal") and isinstance(drawn.node, ast.Call):
            inputs = drawn.operands[0] if drawn.operands else None
            if inputs is None or isinstance(inputs, (ast.Tuple, ast.List)):
                continue
            root = f"{source.operand(inputs)}**0.5" if not isinstance(inputs, ast.Constant) else f"{source.segment(inputs)}**0.5"
            text = source.segment(drawn.node)
            whole = f"({text} / {root})" if drawn.name == "randn" else f"((2 * {text} - 1) / {root})"
            edits: list[Edit | None] = [source.replace(drawn.node, whole)]
            return [offered(__name__, sources, edits, change)]
    return [offered(__name__, sources, None, change, says="the source does not show where these weights are drawn: give them a deviation "
                    "of 1 / sqrt(number of inputs)")]
