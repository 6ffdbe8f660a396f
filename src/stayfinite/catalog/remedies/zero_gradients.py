"""Clear the gradients before each backward pass.

What it changes
---------------
After each update, `optimizer.zero_grad()` clears what it was made of.

When it helps
-------------
Gradients add up until somebody clears them: without that, each update is made of all gradients since the start, which acts like a
momentum of 1, and the loss swings wider and wider.

What it may cost
----------------
Nothing, unless gradients were added up over several batches on purpose: then clear them after the update, not in between.

Example
-------
::

    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import Step, called, steps
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.catalog.surveyed import was_cleared
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.location import Location

TITLE = "Clear the gradients after each update"
CURES = ("missing-zero-grad", "frozen-parameters")
APPLICABILITY = "unsafe"
ON_STEP = False
EXAMPLES = ("missing-zero-grad", "ising-sheet")


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """After every update whose optimizer is cleared nowhere in the function."""
    found = steps(Project(sources), case)
    if case.survey is not None and case.symptom.detector in ("dead-gradient", "stalled-update", "plateau"):
        cleared = case.survey.cleared_at
        offers = [offered(__name__, sources, moved, says="Clear the gradients after the update, not before it")
                  for step in found if (moved := _cleared_later(step, cleared))][:1]
        if offers or not was_cleared(case) or not cleared.file:
            return offers
        return [offered(__name__, sources, None, says=f"{cleared.file}:{cleared.line} clears the gradients before the update has used "
                        "them: clear them behind the update, or before the backward pass")]
    edits: list[Edit | None] = []
    for step in found:
        clears = f"{step.optimizer}.zero_grad("
        if clears in step.source.segment_of(step.source.scope(step.statement)):
            continue
        edits.append(step.source.insert_after(step.statement, f"{step.optimizer}.zero_grad()"))
    if not edits:
        return [offered(__name__, sources, None, says="gradients are cleared somewhere, but not between this update and the next "
                        "backward pass: call zero_grad there")]
    return [offered(__name__, sources, edits)]


def _cleared_later(step: Step, cleared: Location) -> list[Edit | None]:
    """Edits for a call that clears between the backward pass and the update: it moves behind the update.

    It is the one that was seen to clear (`cleared`), or one behind a backward pass of the same function, also where only the update
    is in a branch.
    """
    body = step.source.block(step.statement)
    before = body[: body.index(step.statement)] if step.statement in body else []
    backward = [number for number, one in enumerate(before) if any(called(node) == "backward" for node in ast.walk(one))]
    for number, one in enumerate(before):
        seen = cleared.file == step.source.file and one.lineno <= cleared.line <= (one.end_lineno or 0)
        if isinstance(one, ast.Expr) and called(one.value) == "zero_grad" and (seen or (backward and number > backward[-1])):
            return [step.source.delete(one), step.source.insert_after(step.statement, step.source.segment(one))]
    return []
