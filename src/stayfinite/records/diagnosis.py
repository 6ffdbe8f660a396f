"""What was concluded from a case, and how sure we are."""

from __future__ import annotations

from typing import Literal

import msgspec

from stayfinite.records.location import UNKNOWN_LOCATION, Location

VerdictName = Literal["confirmed", "refuted", "inconclusive", "not_reproduced", "not_tested"]
Applicability = Literal["safe", "unsafe", "display-only"]


class Evidence(msgspec.Struct, frozen=True):
    """A claim in words, its weight in bits (log2 of the likelihood ratio), and the `fact` it rests on.

    One fact counts once: where two pieces of evidence for a hypothesis name the same `fact`, the heavier one counts.
    """

    claim: str
    bits: float
    fact: str
    location: Location | None = None


class Experiment(msgspec.Struct, frozen=True):
    """One change, replayed beside a control and a placebo."""

    change: str
    outcome: str
    control: str
    placebo: str
    steps: int = 1
    seconds: float = 0.0


class Hypothesis(msgspec.Struct, frozen=True):
    """A cause and what speaks for it. `score` = prior bits + sum of evidence bits; `probability` over all hypotheses."""

    cause: str
    title: str
    score: float
    probability: float
    verdict: VerdictName = "not_tested"
    verdict_reason: str = ""
    location: Location = UNKNOWN_LOCATION
    evidence: tuple[Evidence, ...] = ()
    experiments: tuple[Experiment, ...] = ()


class Diagnosis(msgspec.Struct, frozen=True, tag="diagnosis"):
    """Hypotheses, best first."""

    hypotheses: tuple[Hypothesis, ...] = ()
