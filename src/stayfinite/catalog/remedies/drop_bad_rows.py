"""Leave rows with values that are not finite out of the data.

What it changes
---------------
After the line that makes the table of a pandas frame, rows with missing or infinite values are dropped.

When it helps
-------------
A few rows of many are broken: a sensor that failed, a file that ended early.

What it may cost
----------------
If values are missing for a reason, the rows that stay are another population.

Example
-------
::

    frame = frame.replace([np.inf, -np.inf], np.nan).dropna()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.tables import after_table, is_torch, made_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedies.fill_missing import bad_names
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Rows

TITLE = "Leave bad rows out"
CURES = ("nonfinite-input", "corrupt-sample", "extreme-input")
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("clinic-table",)

FRAME = "{x} = {x}.replace([float('inf'), float('-inf')], float('nan')).dropna()"


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """For a frame; rows of tensors that belong together cannot be told from the text."""
    if case.origin is None:
        return []
    rows = case.origin.samples
    size = case.batch_size or 0
    change = (Rows(tuple(rows), size),) if rows and size and len(rows) < size else ()
    project = Project(sources)
    for name in bad_names(case):
        for place in (pages.load("causes", "nonfinite-input").locate(case), *made_at(case, name)):
            source = project.get(place.file)
            if source is None or is_torch(source, place) or "read_" not in place.code:  # later ones have lost what belongs to a row
                continue
            found = after_table(project, place, FRAME)
            if found is not None:
                return [offered(__name__, sources, found[2], *change)]
    if not rows:
        return []
    items = case.origin.dataset_indices or rows
    some = ", ".join(map(str, items[:5]))
    return [offered(__name__, sources, None, *change, says=f"leave out sample {some}{', ...' if len(items) > 5 else ''} of the data set, "
                    "or repair it: what belongs to it cannot be told from the source")]
