"""Divide the gradients by the loss scale before the update.

What it changes
---------------
Before the optimizer steps, all its gradients are divided by the number that the script multiplies its loss with.

When it helps
-------------
A loss is scaled by hand so that small gradients survive in half precision, and nobody divides the gradients again: every update is as
many times too large.

What it may cost
----------------
Nothing but a pass over the gradients. The scale stays fixed: a gradient scaler would lower it where gradients overflow.

Example
-------
::

    (loss * SCALE).backward()
    for parameter in model.parameters():
        parameter.grad /= SCALE
    optimizer.step()
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.factors import Factor, not_divided, scale_of_loss, written
from stayfinite.catalog.edits.seeking import Step, called, steps
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import module_value
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Divide the gradients by the loss scale"
CURES = ("loss-scale-misuse",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("static-scale",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the scale is known by its text and nothing is divided by it anywhere."""
    total = not_divided(case)
    if total is None:
        return []
    project = Project(sources)
    factors, found = scale_of_loss(project, total), [step for step in steps(project, case) if not step.scaler]
    if not factors or not found or any(_divided(project, factor) for factor in factors):
        return []
    edits: list[Edit | None] = [step.source.insert_before(step.statement, _division(step, factors)) for step in found]
    return [offered(__name__, sources, edits)]


def _division(step: Step, factors: Sequence[Factor]) -> str:
    parameter = step.source.fresh(step.statement, "parameter", "weight", "scaled")
    listed = f'(p for group in {step.optimizer}.param_groups for p in group["params"] if p.grad is not None)'
    return f"for {parameter} in {listed}:\n    {parameter}.grad /= {_spelled(step, factors)}"


def _spelled(step: Step, factors: Sequence[Factor]) -> str:
    """The scale by its name, where that is known to the whole file or to the function that steps; else as a number."""
    source, used = step.source, factors[0].used
    if len(factors) == 1 and factors[0].home is source:
        everywhere = isinstance(used, ast.Name) and module_value(source, used) is not None
        if everywhere or source.scope(used) is source.scope(step.statement):
            return source.segment(used)
    return f"{math.prod(factor.value for factor in factors)!r}"


def _divided(project: Project, factor: Factor) -> bool:
    """Whether anything is divided by the scale, by its name or its value."""
    name = factor.home.segment(factor.used).rpartition(".")[2]
    for source in project.sources.values():
        for node in ast.walk(source.tree):
            by: ast.expr | None = None
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                by = node.right
            elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
                by = node.value
            elif isinstance(node, ast.Call) and called(node) in ("div_", "div", "_foreach_div_") and node.args:
                by = node.args[-1]
            if by is not None and (written(by) == factor.value or source.segment(by).rpartition(".")[2] == name):
                return True
    return False
