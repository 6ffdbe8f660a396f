"""Load what is finite of a checkpoint.

What it changes
---------------
Tensors of the checkpoint that are not finite throughout are left out; what they were for begins as the layer draws it.

When it helps
-------------
A file that was damaged, cut off or rounded on its way, with no other one to load. The last checkpoint that is finite throughout
is better, if there is one.

What it may cost
----------------
What these tensors had learned is lost.

Example
-------
::

    model.load_state_dict({name: value for name, value in state.items() if value.isfinite().all()}, strict=False)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import called, every_call
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import State

TITLE = "Load what is finite of the checkpoint"
CURES = ("corrupt-checkpoint",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("dequantized-checkpoint",)

SENTENCE = (
    "load the last checkpoint whose tensors are all finite, and check them as they are saved: a patch cannot bring "
    "back what was lost"
)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """At the call that loads the state of a module: near the line that the cause names, or the only one there is."""
    project = Project(sources)
    at = pages.load("causes", "corrupt-checkpoint").locate(case)
    found = [(source, call) for source, call in every_call(project, "load_state_dict") if _of_a_module(source, call)]
    near = [(source, call) for source, call in found if source.file == at.file and call.lineno <= at.line <= (call.end_lineno or 0)]
    chosen = near or (found if len(found) == 1 else [])
    change = State("parameters", "mended")
    if len(chosen) != 1:
        return [offered(__name__, sources, None, change, says=SENTENCE)]
    source, call = chosen[0]
    stored = call.args[0]
    kept = f"{{name: value for name, value in {source.operand(stored)}.items() if value.isfinite().all()}}"
    edits: list[Edit | None] = [source.replace(stored, kept), source.set_keyword(call, "strict", "False", 1)]
    return [offered(__name__, sources, edits, change, cost="what was not finite begins anew, as the layer draws it")]


def _of_a_module(source: Source, call: ast.Call) -> bool:
    """False for the state of an optimizer, a scheduler or a scaler, and for an argument that is not one expression."""
    if not isinstance(call.func, ast.Attribute) or len(call.args) != 1 or isinstance(call.args[0], ast.Starred):
        return False
    owner = source.segment(call.func.value).rpartition(".")[2].lower()
    others = ("optim", "opt", "sched", "scaler", "adam", "sgd", "loader", "sampler")
    return not any(owner.startswith(one) or one in owner for one in others) and called(call) == "load_state_dict"
