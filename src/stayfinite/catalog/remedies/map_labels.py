"""Map labels to 0 .. classes - 1.

What it changes
---------------
Labels are mapped to the numbers of the outputs, or the network gets an output for each of them. Where a single label beyond them
is 255 or -1, as unlabelled pixels are marked, the loss leaves it out.

When it helps
-------------
A label that no output stands for: a class that was added later, a mark for unknown, counting from 1.

What it may cost
----------------
Which of the two is meant, only the data can say.

Example
-------
::

    labels = torch.tensor([index[name] for name in names])
    loss = F.cross_entropy(scores, mask, ignore_index=255)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.clues import finite
from stayfinite.catalog.edits.seeking import calls, every_call
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import location, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.numbers import show

TITLE = "Map labels to the outputs there are"
CURES = ("label-out-of-range",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("border-label",)

MARKS = (255, -1)
"""Labels by which data sets mark what has none."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The mark of what has no label, left out by the loss; else a sentence with the labels that were seen."""
    labels = next((one for one in (case.origin.inputs if case.origin is not None else ()) if "int" in one.dtype), None)
    mark = next((one for one in MARKS if labels is not None and finite(labels.max if one > 0 else labels.min) == one), None)
    project = Project(sources)
    at = location(case)
    source = project.get(at.file)
    if mark is not None and source is not None:
        found = [(source, one) for one in calls(source, at.line, "cross_entropy", "nll_loss")]
        found = found or list(every_call(project, "CrossEntropyLoss", "NLLLoss"))
        if len(found) == 1:
            home, call = found[0]
            says = f"Leave out what is marked with {mark}"
            return [offered(__name__, sources, [home.set_keyword(call, "ignore_index", str(mark))], says=says)]
    seen = f" Labels from {show(labels.min)} to {show(labels.max)} were given." if labels is not None else ""
    return [offered(__name__, sources, None, says=f"map the labels to 0 .. classes - 1, or give the network an output for each: which is "
                    f"meant cannot be told from the source.{seen}")]
