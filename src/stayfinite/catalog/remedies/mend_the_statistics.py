"""Begin with statistics that can be some.

What it changes
---------------
A variance that is written into a buffer as a difference is kept at 0 or above. Where nothing shows how the buffer was written,
layers whose running statistics are no statistics (an infinity, a NaN, a variance below 0) begin with fresh ones when the optimizer
is built.

When it helps
-------------
Statistics were measured in a pass of their own, by a formula that rounds below 0 or on data with a bad row, and are kept since.

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
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import State

TITLE = "Begin with fresh statistics where they are none"
CURES = ("corrupt-buffer",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("corrupt-buffer", "thermal-cameras")

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
        return []
    for info in case.configuration.optimizers:
        home = project.get(info.location.file)
        statement = statement_at(home, info.location.line) if home is not None else None
        model = _model(home, statement) if home is not None and statement is not None else ""
        if home is not None and statement is not None and model:
            return [offered(__name__, sources, [home.insert_before(statement, FRESH.format(model=model))], change,
                            cost="these layers do not normalise until they have measured again")]
    return []


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
