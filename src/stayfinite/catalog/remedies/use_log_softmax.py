"""Compute the logarithm of a softmax or a sigmoid from its logits.

What it changes
---------------
`log(softmax(z))` becomes `log_softmax(z)`, `log(sigmoid(z))` becomes `logsigmoid(z)` and `log(1 - sigmoid(z))` becomes
`logsigmoid(-z)`: also where the probability has a name, is indexed first, or comes through the argument of a function.

When it helps
-------------
A softmax or sigmoid rounds to exactly 0 or 1 once its argument is large enough, and the logarithm of that is infinite. From the
logits it is finite, and so is its gradient: the sample that is most wrong is learned from most.

What it may cost
----------------
Nothing: it is the same function, with less rounding.

Example
-------
::

    log_p = F.log_softmax(z, dim=1)     # not torch.log(F.softmax(z, dim=1))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Made, Project, uses
from stayfinite.catalog.edits.views import View, named, number, view
from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Compute the logarithm from the logits"
CURES = ("log-of-zero", "half-precision-underflow", "where-gradient-trap")
APPLICABILITY = "safe"
SAME_FUNCTION = True
EXAMPLES = ()
NO_EXAMPLE = "the gallery keeps its probabilities behind functions; tests hold each spelling"

_PICKS = frozenset({"squeeze", "unsqueeze", "view", "reshape", "flatten", "gather", "index_select", "transpose", "permute", "t",
                    "contiguous", "select", "take_along_dim", "diagonal"})
"""Methods that only pick or move elements: a logarithm may be taken before them."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, if the argument of the logarithm can be followed to a softmax or a sigmoid."""
    scene = Scene(case, sources, named("log"))
    if case.origin is None or case.origin.op != "log" or scene.source is None:
        return []
    form = "log-sigmoid" if "sigmoid" in _made_by(case) else "log-softmax"
    if scene.view is None or scene.view.first is None:
        return []
    if scene.view.package not in ("", "torch"):
        return []
    found = _rewritten(scene.project, scene.source, scene.view)
    if found is None:
        if not {"softmax", "sigmoid"} & set(_made_by(case)):
            return []
        return [offered(__name__, sources, None, Stable(place(case), form), says="the probability goes through other code before "  # type: ignore[arg-type]
                        "its logarithm is taken: keep the logits, and take log_softmax or logsigmoid of them there")]
    edits, form = found
    return [offered(__name__, sources, edits, Stable(place(case), form))]  # type: ignore[arg-type]


def _made_by(case: Case) -> tuple[str, ...]:
    return case.origin.inputs[0].made_by if case.origin is not None and case.origin.inputs else ()


def _rewritten(project: Project, source: Source, log: View) -> tuple[list[Edit | None], str] | None:
    """Edits that take the logarithm from the logits, and the form that is."""
    argument = log.first
    assert argument is not None
    complement = _complement(argument)
    core, picks = core_of(source, complement if complement is not None else argument)
    if complement is not None and picks:
        return None
    for made in project.made(source, core):
        probability = view(made.source, made.value)
        if probability is None or probability.name not in ("softmax", "sigmoid") or probability.first is None:
            probability = written_out(made.source, made.value)
        if probability is None:
            continue
        if probability.name == "softmax" and complement is not None:
            return None
        edits = _edits(project, source, log, core, made, probability, negated=complement is not None)
        return (edits, "log-softmax" if probability.name == "softmax" else "log-sigmoid") if edits is not None else None
    return None


def _edits(
    project: Project, source: Source, log: View, core: ast.expr, made: Made, probability: View, *, negated: bool,
) -> list[Edit | None] | None:
    argument = log.first
    assert argument is not None
    if not made.hops:  # the probability stands in the argument itself
        text, imports = _stable(source, probability, source.segment(probability.first), negated)  # type: ignore[arg-type]
        whole = text if negated else source.spliced(argument, core, text)
        return [source.replace(log.node, whole), *imports]
    if len(made.hops) > 1:
        return None
    hop = made.hops[0]
    others = [one for one in uses(source.scope(core), hop.name.id) if one is not core]
    if hop.how == "argument":
        return None
    statement = hop.statement
    if not isinstance(statement, ast.Assign) or source.indentation(statement) is None:
        return None
    first = source.segment(probability.first)  # type: ignore[arg-type]
    if probability.name == "sigmoid":
        name = source.fresh(core, "logits", "z")
        simple = isinstance(probability.first, ast.Name) and not others
        if simple:
            name = first
        text, imports = _stable(source, probability, name, negated)
        keep = [] if simple else [source.insert_before(statement, f"{name} = {first}"),
                                  source.replace(probability.first, name)]  # type: ignore[arg-type]
        whole = text if negated else source.spliced(argument, core, text)
        return [*keep, source.replace(log.node, whole), *imports]
    name = source.fresh(core, f"log_{hop.name.id}", "log_probability")
    text, imports = _stable(source, probability, first, negated)
    again = [] if not others else [source.insert_after(statement, f"{hop.name.id} = {name}.exp()")]
    whole = source.spliced(argument, core, name)
    return [source.replace(statement.targets[0], name), source.replace(probability.node, text), *again,
            source.replace(log.node, whole), *imports]


def _stable(source: Source, probability: View, logits: str, negated: bool) -> tuple[str, tuple[Edit, ...]]:
    """The text of the logarithm of `probability`, from the text of its logits, and the imports it needs."""
    if probability.name == "sigmoid":
        name, imports = source.spelled("torch.nn.functional.logsigmoid", probability.node)
        inner = f"-{logits}" if negated and logits.isidentifier() else f"-({logits})" if negated else logits
        return f"{name}({inner})", imports
    dim = probability.option("dim", 1, "axis")
    over = f", dim={source.segment(dim)}" if dim is not None else ""
    name, imports = source.spelled("torch.nn.functional.log_softmax", probability.node)
    return f"{name}({logits}{over})", imports


def _complement(node: ast.expr) -> ast.expr | None:
    """``p`` of ``1 - p``."""
    minus = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
    return node.right if minus and isinstance(node, ast.BinOp) and number(node.left) == 1.0 else None


def core_of(source: Source, node: ast.expr) -> tuple[ast.expr, bool]:
    """`node` without what only picks or moves its elements, and whether there was something of that sort."""
    picked = False
    while True:
        seen = view(source, node)
        if isinstance(node, ast.Subscript):
            node, picked = node.value, True
        elif seen is not None and seen.name in _PICKS and seen.operands:
            node, picked = seen.operands[0], True
        else:
            return node, picked


def written_out(source: Source, node: ast.expr) -> View | None:
    """A sigmoid that is written out: ``1 / (1 + torch.exp(-z))``."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and number(node.left) == 1.0):
        return None
    below = node.right
    if not (isinstance(below, ast.BinOp) and isinstance(below.op, ast.Add)):
        return None
    one, other = below.left, below.right
    power = other if number(one) == 1.0 else one if number(other) == 1.0 else None
    seen = view(source, power) if power is not None else None
    if seen is None or seen.name != "exp" or seen.first is None:
        return None
    inner = seen.first
    if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.USub):
        return View(node, "sigmoid", (inner.operand,))
    return None
