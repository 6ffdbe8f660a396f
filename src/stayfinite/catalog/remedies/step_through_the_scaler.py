"""Step the optimizer through the gradient scaler.

What it changes
---------------
`optimizer.step()` becomes `scaler.step(optimizer)` and `scaler.update()`, which divides the gradients by the loss scale first
and leaves a step out whose gradients overflowed. Where gradients are clipped, they are unscaled before.

When it helps
-------------
A scaled loss has gradients that are thousands of times too large until somebody divides them.

What it may cost
----------------
Steps that overflow are left out, as is meant.

Example
-------
::

    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import called, every_call, steps
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Step through the gradient scaler"
CURES = ("loss-scale-misuse",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("accumulate-and-flush",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where a loss is scaled and an optimizer steps without the scaler; else where gradients are clipped before they are unscaled."""
    project = Project(sources)
    scaled = [(source, call) for source, call in every_call(project, "scale") if isinstance(call.func, ast.Attribute)
              and any(called(one) == "backward" for one in source.above(call))]
    if not scaled:
        return [offered(__name__, sources, None, says="the loss is scaled by hand: divide the gradients by the same number before the "
                        "update, or use torch.amp.GradScaler")]
    source, call = scaled[0]
    assert isinstance(call.func, ast.Attribute)
    scaler = source.segment(call.func.value)
    edits: list[Edit | None] = []
    found = steps(project, case)
    for step in found:
        if step.scaler:
            continue
        edits.append(step.source.replace(step.statement, f"{scaler}.step({step.optimizer})"))
        if not _updated(step.source, step.statement, scaler):
            edits.append(step.source.insert_after(step.statement, f"{scaler}.update()"))
    clips = [(home, one) for home, one in every_call(project, "clip_grad_norm_", "clip_grad_value_")]
    unscaled = list(every_call(project, "unscale_"))
    if clips and not unscaled and found:
        home, clip = clips[0]
        statement = home.statement(clip)
        edits.append(home.insert_before(statement, f"{scaler}.unscale_({found[0].optimizer})") if statement is not None else None)
    return [offered(__name__, sources, edits)] if edits else []


def _updated(source: Source, statement: ast.stmt, scaler: str) -> bool:
    """Whether an update of `scaler` follows `statement` on its way: one in another branch is not run after it."""
    scope = source.scope(statement)
    while statement is not scope:
        block = source.block(statement)
        rest = block[block.index(statement) + 1 :] if block else []
        if any(f"{scaler}.update(" in source.segment(later) for later in rest):
            return True
        above = source.parents.get(statement)
        if not isinstance(above, ast.stmt):
            return False
        statement = above
    return False
