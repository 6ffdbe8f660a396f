"""Fill what is missing in the data with the mean of its column.

What it changes
---------------
After the line that makes the table, values that are NaN or infinite become the mean of the finite ones of their column.

When it helps
-------------
Readings that were never taken, a logarithm of 0, a division by 0 on the way: one such value makes the whole loss NaN.

What it may cost
----------------
A mean is a guess. Where values are missing for a reason, a column that says so, or leaving the rows out, is better.

Example
-------
::

    x = torch.where(x.isfinite(), x, x.nanmean(0))
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.clues import inputs
from stayfinite.catalog.edits.seeking import statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tables import after_table, is_torch, made_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Values
from stayfinite.records.location import Location

TITLE = "Fill what is missing with the mean of its column"
CURES = ("nonfinite-input", "zero-variance-feature", "degenerate-normalization")
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("missing-reading",)

TORCH = "{x} = torch.where({x}.isfinite(), {x}, {x}.masked_fill(~{x}.isfinite(), float('nan')).nanmean(0).nan_to_num(0.0))"
FRAME = "{x} = {x}.replace([float('inf'), float('-inf')], float('nan'))\n{x} = {x}.fillna({x}.mean(numeric_only=True))"


def bad_names(case: Case) -> list[str]:
    """Names of the tensors of the batch that are not finite."""
    return list(dict.fromkeys(stats.name for stats in (*inputs(case), *case.batch) if stats.nonfinite))


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """After each line that may have made the table, the nearest first."""
    project = Project(sources)
    offers: list[Remedy] = []
    if case.origin is None or case.origin.phase not in ("data", "load") or case.origin.op != "input":
        return []
    blamed = pages.load("causes", "nonfinite-input").locate(case)
    for name in bad_names(case):
        others = [one for one in made_at(case, name) if (one.file, one.line) != (blamed.file, blamed.line)]
        for place in (blamed, *others):
            source = project.get(place.file)
            if source is None:
                continue
            template = TORCH if is_torch(source, place) else FRAME if re.search(r"read_|[Ff]rame|load_pandas|\bpd\.", place.code) else ""
            found = after_table(project, place, template) if template and not _is_list(source, place) else None
            if found is not None and len(offers) < 3:
                offers.append(offered(__name__, sources, found[2], Values(name, "filled"),
                                      says=f"Fill what is missing at {place.file}:{place.line} with the mean of its column"))
    if offers:
        return offers
    names = bad_names(case)
    where = f" `{names[0]}`" if names else ""
    return [offered(__name__, sources, None, Values(names[0] if names else "", "filled"), says=f"the source does not show a table that"
                    f"{where} is cut from: fill what is not finite, or leave it out, where the data are read")]


def _is_list(source: Source, place: Location) -> bool:
    """True if what is made there is a list of tables: it has no elements of its own to fill."""
    value = getattr(statement_at(source, place.line), "value", None)
    return isinstance(value, (ast.List, ast.ListComp, ast.Tuple, ast.Dict, ast.DictComp))
