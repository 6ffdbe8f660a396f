"""What a cause is made of.

A cause is a module in `catalog/causes/`, its id is its file name with hyphens, its docstring is its published page. It
declares

- `TITLE`: a few words; `PRIOR`: bits before any evidence, from `prior`;
- `APPLIES_TO`: the cases it can explain at all; outside of them it is not even ranked;
- `evidence(case)`: what the case says for it (positive bits) and against it (negative bits), each piece with the `fact`
  it rests on: of several pieces on one fact only the heaviest counts;
- `locate(case)`: where to change something, which need not be where the bad number was born;
- `EXAMPLES`: names of gallery cases that show it;
- `predict(case)`, if an experiment can tell it from others: the changes with which the step, or the run, would pass;
- `treat(case)`, if there is more that a run could go on with, which only the run can tell.

Bits are log2 of how much more often a fact is seen with this cause than with the others together. They are judgements,
made on one scale so that they can be added: about 8 where the fact all but settles it (255 to 1), 4 for a strong sign,
2 for a fair one, 1 or less for a hint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.location import Location

THREADS = 204
"""Public threads on non-finite training that were read and classified by cause."""
PSEUDO_COUNT = 4
"""Added to every cause. The threads were drawn by topic, so shares are no population rates: with four, the commonest
cause starts only 2.5 bits ahead of one never seen, less than one strong piece of evidence."""
CATALOGUED = 64
"""Causes that share the smoothing mass. A fixed number: a cause more must not move the priors of the others."""


def prior(threads: int) -> float:
    """Prior bits of a cause that was found in `threads` of the classified threads: log2 of its smoothed share."""
    return math.log2((threads + PSEUDO_COUNT) / (THREADS + PSEUDO_COUNT * CATALOGUED))


@dataclass(frozen=True)
class Scope:
    """Which cases a cause can explain at all. An empty set means any.

    **Fields**: `phases` and `kinds` of the origin; `detectors` of the symptom; `messages`, a regular expression: an
    exception whose text matches is covered whatever the rest says. Without an origin, a cause that asks for kinds is
    not covered and one that asks for phases is. `replayed`: the cause is a statement about repetitions, and there were
    some.
    """

    phases: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    detectors: frozenset[str] = frozenset()
    messages: str = ""
    replayed: bool = False

    def covers(self, case: Case) -> bool:
        """True if the cause may be ranked for `case`."""
        if self.replayed and (not case.replay.attempts or case.replay.not_tested is not None):
            return False
        if self.messages and case.exception is not None and re.search(self.messages, case.exception.message):
            return True
        if self.detectors and case.symptom.detector not in self.detectors:
            return False
        if case.origin is None:
            return not self.kinds
        return (not self.phases or case.origin.phase in self.phases) and (
            not self.kinds or case.origin.op in self.kinds
        )


COMPUTED = frozenset({"forward", "loss", "backward"})
"""Phases in which the model and its gradient are computed."""


class Cause(Protocol):
    """The interface of a module in `catalog/causes/`."""

    TITLE: str
    PRIOR: float
    APPLIES_TO: Scope
    EXAMPLES: tuple[str, ...]

    def evidence(self, case: Case) -> Sequence[Evidence]:
        """What speaks for the cause and what against it."""

    def locate(self, case: Case) -> Location:
        """Where to change something."""
