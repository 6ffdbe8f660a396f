"""Fill what is missing in the data with the mean of its column.

What it changes
---------------
After the line that makes the table, values that are NaN or infinite become the mean of the finite ones of their column; so does
what is as large as a code for "no value", or a thousand times larger than a typical row. Where no table is seen, it is done to each batch.

When it helps
-------------
Readings that were never taken, a logarithm of 0, a division by 0 on the way: one such value makes the whole loss NaN.

What it may cost
----------------
A mean is a guess. Where values are missing for a reason, a column that says so, or leaving the rows out, is better.

Example
-------
::

    x = x.masked_fill(x == 1e20, float("nan"))
    x = torch.where(x.isfinite(), x, x.nanmean(0))
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.clues import amplitude, finite, inputs
from stayfinite.catalog.edits.batches import after_batch
from stayfinite.catalog.edits.tables import after_table, is_torch, made_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.catalog.scales import features, outlier, targets
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Values
from stayfinite.records.numbers import show

TITLE = "Fill what is missing with the mean of its column"
CURES = ("nonfinite-input", "zero-variance-feature", "degenerate-normalization", "extreme-input", "corrupt-sample")
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("missing-reading", "meter-codes", "sea-maps")

FAR, LARGE = 1e3, 1e4
"""Times a typical row, and magnitude, from which a number that stands in several places may be a code."""
TORCH = "{x} = torch.where({x}.isfinite(), {x}, {x}.masked_fill(~{x}.isfinite(), float('nan')).nanmean(0).nan_to_num(0.0))"
BATCH = TORCH.replace("torch.where", "{torch}.where")
CODED = "{{x}} = {{x}}.masked_fill({{x}}.abs() >= {limit:.3g}, float('nan'))\n"
"""Before `TORCH` or `BATCH`: what is as large as the code is missing."""
FRAME = "{x} = {x}.replace([float('inf'), float('-inf')], float('nan'))\n{x} = {x}.fillna({x}.mean(numeric_only=True))"


def bad_names(case: Case) -> list[str]:
    """Names of the tensors of the batch that are not finite."""
    return list(dict.fromkeys(stats.name for stats in (*inputs(case), *case.batch) if stats.nonfinite))


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """After each line that may have made the table, the nearest first."""
    project = Project(sources)
    offers: list[Remedy] = []
    if case.origin is not None and not bad_names(case):
        return _coded(case, project, sources)
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
            found = after_table(project, place, template) if template else None
            if found is not None and len(offers) < 3:
                offers.append(offered(__name__, sources, found[2], Values(name, "filled"),
                                      says=f"Fill what is missing at {place.file}:{place.line} with the mean of its column"))
    names = bad_names(case)
    edits = after_batch(project, dict.fromkeys(names, BATCH))
    quoted = " and ".join(f"`{name}`" for name in names)
    in_batch = offered(__name__, sources, edits, *(Values(name, "filled") for name in names[:1]),
                       says=f"Fill what is missing in {quoted} with the mean of its column")
    if edits and all(in_batch.fix != other.fix for other in offers):
        offers.append(in_batch)
    if offers:
        return offers
    where = f" `{names[0]}`" if names else ""
    return [offered(__name__, sources, None, Values(names[0] if names else "", "filled"), says=f"the source does not show a table that"
                    f"{where} is cut from: fill what is not finite, or leave it out, where the data are read")]


def _coded(case: Case, project: Project, sources: Mapping[str, str]) -> list[Remedy]:
    """For a code that was taken for a number: in the batch, then where the table is made."""
    offers: list[Remedy] = []
    held = [stats for stats in case.batch if stats.absmax_count and amplitude(stats) > FAR * (finite(stats.typical_row) or math.inf)]
    held = held or [stats for stats in (*targets(case), *features(case)) if outlier(case, stats) is not None]
    coded = held or [stats for stats in case.batch if stats.absmax_count > 1 and amplitude(stats) >= LARGE]
    limits = {stats.name: 0.99 * amplitude(stats) if stats.absmax_count > 1 else FAR * (finite(stats.typical_row) or 0.0)
              for stats in coded}
    heads = {name: CODED.format(limit=limit) for name, limit in limits.items()}
    quoted = " and ".join(f"`{name}` with the mean of its column where it reaches {show(limit)}" for name, limit in limits.items())
    edits = after_batch(project, {name: head + BATCH for name, head in heads.items()})
    changes = [Values(name, "filled", above=limit) for name, limit in limits.items()]
    if edits:
        offers.append(offered(__name__, sources, edits, *changes[:1], says=f"Fill {quoted}"))
    for (name, head), change in zip(heads.items(), changes, strict=True):
        for place in made_at(case, name):
            source = project.get(place.file)
            found = after_table(project, place, head + TORCH) if source is not None and is_torch(source, place) else None
            if found is not None and len(offers) < 3:
                says = f"Fill `{name}` with the mean of its column where it reaches {show(limits[name])}, at {place.file}:{place.line}"
                offers.append(offered(__name__, sources, found[2], change, says=says))
    return offers
