"""Leave out the last, incomplete batch.

What it changes
---------------
The data loader is given `drop_last=True`: the rest of the data that does not fill a batch waits for the next pass.

When it helps
-------------
A batch of one sample has no variance, and batch normalisation refuses or divides by it.

What it may cost
----------------
Up to a batch of samples is left out of each pass; with shuffling, others each time.

Example
-------
::

    loader = DataLoader(data, batch_size=64, shuffle=True, drop_last=True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import calls
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.places import loader, single_row
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Leave out the last, incomplete batch"
CURES = ("degenerate-batch-statistics", "single-element-variance")
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("last-short-batch",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the batch of the failure was smaller than the others and a loader makes it."""
    place = loader(case)
    project = Project(sources)
    source = project.get(place.file) if place is not None else None
    if place is None or source is None:
        says = "the source does not show what cuts the data into batches: leave out a batch of one sample"
        return [offered(__name__, sources, None, says=says)] if single_row(case) else []
    found = calls(source, place.line, "DataLoader")
    if len(found) != 1:
        return [offered(__name__, sources, None, says=f"the batches of {place.file}:{place.line} are cut by hand: leave out the last "
                        "one if it is not full")]
    return [offered(__name__, sources, [source.set_keyword(found[0], "drop_last", "True")],
                    cost="the last samples of each pass are left out")]
