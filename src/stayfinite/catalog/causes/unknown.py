"""None of the known causes explains the case.

What happens
------------
About one in six failures that people reported was never explained. Saying so is better than a guess.

How to recognise it
-------------------
No known cause has more evidence for it than against it.

What to do
----------
Keep the recording: it holds the failing step, its batch and its generators, and can be replayed. What the tracer
could not look into is listed with it; run that part without compilation or fused kernels and try again.

Example
-------
::

    stayfinite replay stayfinite-reports/<time>-<script>/

References
----------
34 of 204 threads ended without a cause; 25 were faults of frameworks, kernels or of several processes together, which
are not in the catalogue yet
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case

TITLE = "Unknown"
PRIOR = prior(threads=56)
APPLIES_TO = Scope()
EXAMPLES = ("density-product", "hermite-states")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate"]


def evidence(case: Case) -> list[Evidence]:
    """Whether there was anything to reason from."""
    found = []
    if case.origin is None:
        found.append(Evidence("the origin could not be located", 1.0, "origin-kind"))
    elif case.origin.op == "unknown":
        found.append(Evidence(f"`{case.origin.native_op}` is not in the vocabulary of operators", 1.0, "origin-kind"))
    if case.trace.unseen:
        found.append(Evidence(f"the tracer could not look into {case.trace.unseen[0]}", 1.0, "unseen"))
    return found
