"""Write a parameter or buffer before it is read.

What it changes
---------------
`torch.empty(...)` becomes `torch.zeros(...)` at the line that reserves it.

When it helps
-------------
Memory that nobody wrote holds whatever was there: huge numbers and NaN on one run, zeros on the next.

What it may cost
----------------
Zeros are right for offsets. Weights that are all equal learn alike: draw them.

Example
-------
::

    self.bias = nn.Parameter(torch.zeros(n))     # not torch.empty(n)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import called
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import State

TITLE = "Write the parameter before it is read"
CURES = ("uninitialized-parameter", "corrupt-buffer")
APPLICABILITY = "unsafe"
EXAMPLES = ("hand-made-layers",)

_EMPTY = {"empty": "zeros", "empty_like": "zeros_like", "new_empty": "new_zeros", "Tensor": "zeros", "FloatTensor": "zeros"}


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The reservation at the place of the cause; else the only one in the user's files."""
    at = pages.load("causes", "uninitialized-parameter").locate(case)
    names = tuple(dict.fromkeys(one.name for one in (*case.parameters, *(case.origin.inputs if case.origin else ())) if one.nonfinite))
    change = State("buffers" if case.origin is not None and case.origin.buffer else "parameters", "redrawn", names[:10])
    project = Project(sources)
    every = [
        (source, node) for source in project.sources.values() for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and called(node) in _EMPTY and (node.args or node.keywords)
    ]
    here = [(source, node) for source, node in every if source.file == at.file and node.lineno <= at.line <= (node.end_lineno or 0)]
    found = here or (every if len(every) == 1 else [])
    if not found:
        return [offered(__name__, sources, None, change, says="the source does not show where this memory is reserved: write every "
                        "element of it before it is read")]
    edits: list[Edit | None] = []
    for source, call in found:
        new = _EMPTY[called(call)]
        text = source.segment(call.func)
        edits.append(source.replace(call.func, text[: -len(called(call))] + new))
    return [offered(__name__, sources, edits, change)]
