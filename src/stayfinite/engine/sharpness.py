"""How long the steps were for the curvature of the loss, measured before the loss began to grow.

Evidence after the fact: where a step is longer than the curvature allows, every update overshoots by more than the one before, and
what grew was bound to grow. Where it is short, something else made the loss grow.
"""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from stayfinite.catalog.histories import growth
from stayfinite.catalog.predictions import since_it_grew
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.records.incident import Case

LEAST = 3
"""Steps that a growth takes at least; what came in one was no overshooting of steady updates."""


def with_sharpness(case: Case) -> Generator[ReplayRequest, Outcome, Case]:
    """`case` with the sharpness at the step from which its loss grew, if that step is remembered; else as it is."""
    steps = since_it_grew(case)
    if steps < LEAST or not growth(case, "loss", failing=True).grew or not case.configuration.optimizers:
        return case
    outcome = yield ReplayRequest("sharpness", steps=steps)
    return msgspec.structs.replace(case, sharpness=outcome.sharpness) if outcome.unrepeatable is None else case
