"""Give each input column mean 0 and deviation 1.

What it changes
---------------
After the line that makes the table, each column has its mean subtracted and is divided by its deviation.

When it helps
-------------
Columns of years, metres or counts in the thousands make the first layer huge, and a rate that fits one column is far too high
for another.

Pixels are no columns: images, which have four dimensions or more, get one mean and deviation for each channel; or for all pixels, where
they have one channel or it is not the first.

What it may cost
----------------
The same numbers must be used for new data: keep them with the model.

Example
-------
::

    x = (x - x.mean(0)) / x.std(0).clamp(min=1e-6)
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

from stayfinite.catalog.edits.batches import after_batch
from stayfinite.catalog.edits.seeking import assigned_names, statement_at
from stayfinite.catalog.edits.tables import after_table, is_torch, made_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.catalog.scales import outlier, root_of, targets
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Values
from stayfinite.records.tensor import TensorStats

TITLE = "Give each input column mean 0 and deviation 1"
CURES = (
    "unscaled-input", "extreme-input", "learning-rate-too-high", "saturated-activation", "dead-relu", "corrupt-sample",
)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("progression-by-hand",)

TORCH = "{x} = ({x}.float() - {x}.float().mean(OVER)) / {x}.float().std(OVER).clamp(min=1e-6)"
BATCH = "{x} = ({x} - {x}.mean(OVER)) / {x}.std(OVER, correction=0).clamp(min=1e-6)"
OTHER = "{x} = ({x} - {x}.mean(OVER)) / ({x}.std(OVER) + 1e-6)"


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """For the tensors that models were given, the largest first."""
    names = [stats.name for stats in (*case.trace.model_inputs, *case.batch)]
    return scaled(__name__, case, sources, names, lambda stats: _over(BATCH, stats),
                  "take mean and deviation of the whole training set when you keep it")


def _over(template: str, stats: TensorStats | None) -> str:
    """`template` for a tensor like `stats`: columns of a table, or the channels or all pixels of images."""
    shape = stats.shape if stats is not None else ()
    if len(shape) < 4:
        return template.replace("OVER", "0")
    if not 1 < shape[1] < min(shape[2:]):
        return template.replace("OVER, ", "").replace("OVER", "")
    kept = "keepdims" if template == OTHER else "keepdim"
    return template.replace("OVER", f"({', '.join(map(str, (0, *range(2, len(shape)))))}), {kept}=True")


def _targets(case: Case, project: Project, name: str) -> set[str]:
    """Names of what losses compare with, and of the tables it is cut from: it must not change where only `name` is meant."""
    found = set()
    for target in targets(case):
        if root_of(target.name) != root_of(name):
            found.add(root_of(target.name))
            for place in made_at(case, target.name):
                source = project.get(place.file)
                statement = statement_at(source, place.line) if source is not None else None
                found |= {one.id for one in assigned_names(statement) if isinstance(one, ast.Name)}
    return found


def scaled(
    module: str, case: Case, sources: Mapping[str, str], names: Sequence[str], in_batch: Callable[[TensorStats], str], cost: str,
) -> list[Remedy]:
    """Proposals that standardise the tables of `names`, and at last the batch, by the template that `in_batch` gives, at its `cost`."""
    project = Project(sources)
    offers: list[Remedy] = []
    seen: set[tuple[str, int]] = set()
    sizes = {stats.name: max((abs(one) for one in (stats.min, stats.max) if not isinstance(one, str)), default=0.0)
             for stats in (*case.trace.model_inputs, *case.batch) if stats.dtype.startswith(("float", "bfloat"))}
    shaped = {stats.name: stats for stats in (*case.batch, *case.trace.model_inputs)}
    lone = {stats.name for stats in (*case.trace.model_inputs, *case.batch) if outlier(case, stats) is not None}
    wanted = [name for name in dict.fromkeys(names) if sizes.get(name, 0.0) > 5.0 and name not in lone]
    wanted.sort(key=lambda name: -sizes[name])
    for name in wanted[:2]:
        kept = _targets(case, project, name)
        for place in made_at(case, name):
            source = project.get(place.file)
            if source is None or (place.file, place.line) in seen:
                continue
            seen.add((place.file, place.line))
            found = after_table(project, place, _over(TORCH if is_torch(source, place) else OTHER, shaped.get(name)), kept)
            if found is not None and len(offers) < 2:
                offers.append(offered(module, sources, found[2], Values(name, "standardised"),
                                      says=f"Standardise `{source.segment(found[1])}` at {place.file}:{place.line}"))
    # a model may call what it is given by another name
    largest = [name for name in wanted if sizes[name] == sizes[wanted[0]]]
    of_batch = next((stats for stats in case.batch if stats.name in largest), None)
    if of_batch is not None and (template := in_batch(of_batch)) and (edits := after_batch(project, {of_batch.name: template})):
        says = f"Standardise `{of_batch.name}` in each batch"
        offers.append(offered(module, sources, edits, Values(of_batch.name, "standardised"), says=says, cost=cost))
    if not offers and wanted:
        return [offered(module, sources, None, Values(wanted[0], "standardised"), says=f"the source does not show a table that "
                        f"`{wanted[0]}` is cut from: subtract the mean of each column and divide by its deviation where it is read")]
    return offers
