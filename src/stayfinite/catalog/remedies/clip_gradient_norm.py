"""Clip the norm of the gradients before the update.

What it changes
---------------
Before each update, gradients whose norm over all parameters is larger than 1 are scaled down to it. Smaller ones stay as they are.
With a gradient scaler, they are unscaled first.

When it helps
-------------
Where single steps have gradients that are many times the usual: recurrent networks, long unrolled loops, rare large samples. It does
nothing for gradients that are infinite or NaN already.

What it may cost
----------------
If most steps are clipped, the norm is the rate: look at it, and choose a limit a little above the usual one.

Example
-------
::

    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import Step, called, steps
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Update

TITLE = "Clip the norm of the gradients to 1"
CURES = (
    "exploding-gradient", "learning-rate-too-high", "dominant-loss-term", "extreme-input", "corrupt-sample", "exp-overflow",
    "bad-initialization", "nonpositive-variance", "naive-softmax-overflow", "half-precision-overflow", "unscaled-target",
)
APPLICABILITY = "unsafe"
BREADTH = 2
ON_STEP = False
OF_UPDATES = True
EXAMPLES = ("exploding-gradient",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way: before every update of the run's optimizers, unless it clips already."""
    change = Update(clip="norm", limit=1.0)
    if case.configuration.clip_norm is not None:
        return []
    found = steps(Project(sources), case)
    if not found:
        return [offered(__name__, sources, None, change, says="the source does not show where an optimizer steps: clip before it does")]
    if any(_has_closure(step) for step in found):
        return [offered(__name__, sources, None, change, says="the optimizer calls a closure for its gradients: clip at its end")]
    edits: list[Edit | None] = []
    for step in found:
        name, imports = step.source.spelled("torch.nn.utils.clip_grad_norm_", step.statement)
        edits += imports
        text = f'{name}([p for group in {step.optimizer}.param_groups for p in group["params"]], 1.0)'
        if step.scaler and not _unscales(step):
            text = f"{step.scaler}.unscale_({step.optimizer})\n{text}"
        edits.append(step.source.insert_before(step.statement, text))
    return [offered(__name__, sources, edits, change, cost="gradients above a norm of 1 are scaled down")]


def _has_closure(step: Step) -> bool:
    return step.call is not None and not step.scaler and bool(step.call.args or step.call.keywords)


def _unscales(step: Step) -> bool:
    scope = step.source.scope(step.statement)
    return any(called(one) == "unscale_" for one in ast.walk(scope))
