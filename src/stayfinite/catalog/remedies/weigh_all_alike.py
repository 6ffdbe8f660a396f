"""Weigh all alike where nothing has a weight.

What it changes
---------------
A row of probabilities that are all 0 becomes a row of equal ones before a distribution divides it by its sum.

When it helps
-------------
All actions of a state are masked, no class is allowed: the distribution divides 0 by 0.

What it may cost
----------------
Where nothing is allowed, something is drawn all the same. Leave such rows out if what is drawn matters.

Example
-------
::

    policy = Categorical(probs=weight + (weight.sum(-1, keepdim=True) == 0))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import calls
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import chosen, location, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Weigh all alike where nothing has a weight"
CURES = ("division-by-zero", "softmax-over-masked-row", "domain-error")
APPLICABILITY = "safe"
SAME_FUNCTION = True
ON_STEP = False
EXAMPLES = ("all-actions-masked",)

_DISTRIBUTIONS = ("Categorical", "OneHotCategorical", "Multinomial", "multinomial", "RelaxedOneHotCategorical")


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The probabilities of the distribution that is made at the origin."""
    at = location(case)
    source = Project(sources).get(at.file)
    if source is None:
        return []
    for call in calls(source, at.line, *_DISTRIBUTIONS):
        named = next((one.value for one in call.keywords if one.arg in ("probs", "input")), None)
        given = named if named is not None else call.args[0] if call.args and not isinstance(call.args[0], ast.Starred) else None
        if given is not None:
            template = "({x} + ({x}.sum(dim=-1, keepdim=True) == 0))"
            return [offered(__name__, sources, chosen(source, given, template, "weight"))]
    return []
