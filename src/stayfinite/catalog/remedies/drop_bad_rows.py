"""Leave rows with values that are not finite out of the data.

What it changes
---------------
After the line that makes the table of a pandas frame, rows with missing or infinite values are dropped. Where a loop is given a
batch, rows are left out of it that are not finite, or a thousand times larger than a typical row.

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

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.batches import rows_kept
from stayfinite.catalog.edits.seeking import statement_at
from stayfinite.catalog.edits.tables import after_table, is_torch, made_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedies.fill_missing import bad_names
from stayfinite.catalog.remedy import offered
from stayfinite.catalog.scales import outlier
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Rows

TITLE = "Leave bad rows out"
CURES = ("nonfinite-input", "corrupt-sample", "extreme-input", "corrupt-buffer")
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("clinic-table",)

FINITE = "{rows}.isfinite().all(1)"
ORDINARY = "{rows}.abs().amax(1) <= 1e3 * {rows}.abs().amax(1).median()"
FRAME = "{x} = {x}.replace([float('inf'), float('-inf')], float('nan')).dropna()"


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """For a frame; rows of tensors that belong together cannot be told from the text."""
    if case.origin is None:
        return []
    measured = _measured(case, sources)
    if measured is not None:
        return [measured]
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
    in_batch = _of_batch(case, project, sources, *change)
    if in_batch is not None:
        return [in_batch]
    if not rows:
        return []
    items = case.origin.dataset_indices or rows
    some = ", ".join(map(str, items[:5]))
    return [offered(__name__, sources, None, *change, says=f"leave out sample {some}{', ...' if len(items) > 5 else ''} of the data set, "
                    "or repair it: what belongs to it cannot be told from the source")]


def _of_batch(case: Case, project: Project, sources: Mapping[str, str], *change: Rows) -> Remedy | None:
    """Where a loop is given its batch: without the rows that are not finite, or without those far larger than the others."""
    bad = bad_names(case)
    far = [] if bad else [stats.name for stats in case.batch if outlier(case, stats) is not None]
    names = bad or far
    edits = rows_kept(case, project, names, FINITE if bad else ORDINARY) if names else []
    if not edits:
        return None
    told = "are not finite" if bad else "are a thousand times larger than others"
    quoted = " or ".join(f"`{name}`" for name in names)
    return offered(__name__, sources, edits, *change, says=f"Leave the rows out of each batch in which values of {quoted} {told}")


def _measured(case: Case, sources: Mapping[str, str]) -> Remedy | None:
    """For statistics that a model gathers where it is called for nothing else: the bad rows of the batch it is called with."""
    at = pages.load("causes", "corrupt-buffer").locate(case)
    source = Project(sources).get(at.file)
    statement = statement_at(source, at.line) if source is not None else None
    call = statement.value if isinstance(statement, ast.Expr) else None
    if source is None or not isinstance(call, ast.Call) or len(call.args) != 1 or not isinstance(call.args[0], ast.Name) or call.keywords:
        return None
    if not isinstance(call.func, ast.Name):
        return None
    batch = call.args[0].id
    edit = source.replace(call.args[0], f"{batch}[{batch}.isfinite().flatten(1).all(dim=1)]")
    return offered(__name__, sources, [edit], says=f"Leave the rows of `{batch}` out that are not finite")
