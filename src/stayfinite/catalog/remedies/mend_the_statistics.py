"""Begin with statistics that can be some.

What it changes
---------------
A variance that is written into a buffer as a difference is kept at 0 or above. Any other value that is written into one, behind the
constructor, leaves the old element wherever the new one is not finite. Where nothing shows how the buffer was written,
layers whose running statistics are no statistics (an infinity, a NaN, a variance below 0) begin with fresh ones when the optimizer
is built.

When it helps
-------------
Statistics were measured in a pass of their own, by a formula that rounds below 0 or on data with a bad row, and are kept since; a table
that is measured anew now and then has a group of which there was nothing to measure.

What it may cost
----------------
Fresh statistics are a mean of 0 and a variance of 1: the layer does not normalise until it has measured again.

Example
-------
::

    norm.running_var.copy_((square / count - mean * mean).clamp(min=0.0))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog.clues import finite, inputs
from stayfinite.catalog.edits.seeking import called, statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project, assigned
from stayfinite.catalog.remedy import chosen, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import State

TITLE = "Begin with fresh statistics where they are none"
CURES = ("corrupt-buffer",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("corrupt-buffer", "thermal-cameras", "shop-recommendations")

FRESH = """for part in {model}.modules():
    variance = getattr(part, "running_var", None)
    if variance is not None and not (variance.isfinite() & (variance >= 0) & part.running_mean.isfinite()).all():
        part.reset_running_stats()"""
_WRITES = frozenset({"copy_", "fill_", "register_buffer"})


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """At the difference that is written into the buffer; else before the optimizer is built."""
    project = Project(sources)
    change = State("buffers", "mended")
    below = next((one.name for one in inputs(case) if "var" in one.name and (finite(one.min) or 0.0) < 0.0), "")
    written = list(_differences(project, below.rpartition(".")[2])) if below else []
    if len(written) == 1:
        source, value = written[0]
        return [offered(__name__, sources, [source.replace(value, f"({source.segment(value)}).clamp(min=0.0)")], change,
                        says="Keep the measured variance at 0 or above")]
    known = [case.origin.buffer or "" if case.origin is not None else "", *(one.name for one in inputs(case))]
    if not any("running_" in name for name in known):
        return _kept(project, known[0].rpartition(".")[2], case, sources)
    for info in case.configuration.optimizers:
        home = project.get(info.location.file)
        statement = statement_at(home, info.location.line) if home is not None else None
        model = _model(home, statement) if home is not None and statement is not None else ""
        if home is not None and statement is not None and model:
            return [offered(__name__, sources, [home.insert_before(statement, FRESH.format(model=model))], change,
                            cost="these layers do not normalise until they have measured again")]
    return []


def _kept(project: Project, buffer: str, case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where one line writes the buffer, it keeps its old elements wherever the new ones are not finite."""
    if case.origin is None or case.origin.op != "buffer" or not buffer:
        return []
    written = list(_written(project, buffer))
    if len(written) != 1:
        return []
    source, target, value = written[0]
    where, imports = source.spelled("torch.where", value)
    edits = chosen(source, value, f"{where}({{x}}.isfinite(), {{x}}, {source.segment(target)})", f"new_{buffer}", "measured")
    return [offered(__name__, sources, [*imports, *edits], State("buffers", "mended"),
                    says=f"Keep the old elements of `{buffer}` wherever the new ones are not finite",
                    cost="these elements stay what they were until there is something to measure")]


def _written(project: Project, buffer: str) -> Iterator[tuple[Source, ast.expr, ast.expr]]:
    """The buffer and its new value, where a line outside of constructors writes it: assigned, copied into it, or averaged in."""
    for source in project.sources.values():
        for node in ast.walk(source.tree):
            target, value = None, None
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target, value = node.targets[0], node.value
            elif called(node) in ("copy_", "lerp_") and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                target, value = node.func.value, node.args[0]
            bare = target.value if isinstance(target, ast.Attribute) and target.attr == "data" else target
            if isinstance(bare, ast.Attribute) and bare.attr == buffer and value is not None \
                    and getattr(source.scope(node), "name", "") != "__init__":
                yield source, bare, value


def _differences(project: Project, buffer: str) -> Iterator[tuple[Source, ast.expr]]:
    """The differences that are written into `buffer`: copied into it, or assigned."""
    for source in project.sources.values():
        for node in ast.walk(source.tree):
            value: ast.expr | None = None
            if called(node) in _WRITES and isinstance(node, ast.Call) and node.args and buffer in source.segment(node).split("(")[0]:
                value = node.args[-1]
            elif isinstance(node, ast.Assign) and source.segment(node.targets[0]).removesuffix(".data").endswith(buffer):
                value = node.value
            hop = assigned(source, value) if isinstance(value, ast.Name) else None
            value = hop.value if hop is not None else value
            if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Sub):
                yield source, value


def _model(source: Source, statement: ast.stmt) -> str:
    """What the optimizer is given the parameters of."""
    owners = [one.func.value for one in ast.walk(statement)
              if called(one) in ("parameters", "named_parameters") and isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)]
    return source.segment(owners[0]) if len(owners) == 1 else ""
