"""Use the plain code instead of a kernel or a derivative of one's own.

What it changes
---------------
The function is used without compiling it, or the derivative that is written by hand is left to automatic differentiation.

When it helps
-------------
A fused kernel or a backward pass of one's own computes something that the plain code does not.

What it may cost
----------------
It is slower.

Example
-------
::

    model.attend = model.attend     # not torch.compile(...)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import every_call
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Backend

TITLE = "Use the plain code"
CURES = ("compiler-or-kernel-fault",)
APPLICABILITY = "safe"
SAME_FUNCTION = True
ON_STEP = False
EXAMPLES = ("fast-attention",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """What is compiled, as it is; for a derivative written by hand a sentence, and what is done to a running training."""
    written = next((one.name for one in case.trace.functions), "")
    change = Backend("own-derivative" if written and not case.configuration.compiled else "eager")
    edits: list[Edit | None] = [
        source.replace(call, source.operand(call.args[0])) for source, call in every_call(Project(sources), "compile")
        if source.qualified(call.func) == "torch.compile" and call.args and not isinstance(call.args[0], ast.Starred)
    ]
    if case.configuration.compiled and edits:
        return [offered(__name__, sources, edits, change, cost="it runs slower than it was compiled to")]
    what = f"the backward part of {written}" if written else "the compiled or fused part"
    return [offered(__name__, sources, None, change, says=f"leave {what} to plain code and automatic differentiation: that is "
                    "finite where it is tried; what was meant by it is not in the source")]
