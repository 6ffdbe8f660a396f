"""What was concluded from a case, and how sure we are."""

from __future__ import annotations

from typing import Literal

import msgspec

from stayfinite.records.fix import Fix
from stayfinite.records.intervention import Effect, Intervention
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import Number

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
    """One change, replayed beside a control and a placebo.

    `change` in words; `outcome`, `control` and `placebo`: ``"finite"``, ``"nan"`` and the like, ``"rising"`` where repeated steps
    stayed finite and their loss went on to rise a thousandfold, ``"elsewhere"`` where another
    operation failed instead, ``"not performed"`` with the reason in `note`. `replays`: how many repetitions it took.
    """

    change: str
    outcome: str
    control: str
    placebo: str
    steps: int = 1
    seconds: float = 0.0
    placebo_change: str = ""
    note: str = ""
    replays: int = 0


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


Judged = Literal["verified", "refused", "failed", "inconclusive", "not_tested"]
"""`verified`: seen to cure and to go on learning; `refused`: it only hides the failure; `failed`: the failure came back."""


class Trial(msgspec.Struct, frozen=True):
    """The user's script, run again from its start with one change.

    - `status`: ``"finite"`` if it passed the step where it had failed, ``"failed"`` with `symptom` and `step` where it did not,
      ``"ended"`` if it ended before, ``"broken"`` if it raised something of its own, ``"not_run"`` if it could not be tried.
    - `symptom`, `step`: what was seen, if anything; a run that counts as finite may have had a finite one.
    - `losses`: one reading per `stride` updates, from update 0 on; the last one is always there.
    - `steps`: updates that were taken. `note`: how it ended, in words.
    """

    change: str
    status: Literal["finite", "failed", "ended", "broken", "not_run"]
    steps: int = 0
    symptom: str = ""
    step: int = -1
    losses: tuple[Number, ...] = ()
    seconds: float = 0.0
    note: str = ""
    stride: int = 1


class Remedy(msgspec.Struct, frozen=True):
    """A cure that was tried: `remedy` is its id; `causes`: ids it is a cure for; `interventions`: what is done to a running
    training; `fix`: what is changed in the source. `reason`: why the verdict is what it is. `cost`: what it may cost, in words.
    `effect`: of performing it on the held step."""

    remedy: str
    title: str
    applicability: Applicability
    causes: tuple[str, ...] = ()
    verdict: Judged = "not_tested"
    reason: str = ""
    interventions: tuple[Intervention, ...] = ()
    fix: Fix | None = None
    trial: Trial | None = None
    effect: Effect | None = None
    cost: str = ""


class Treatment(msgspec.Struct, frozen=True):
    """A change that a run may go on with, performed in every step: with it the held step passes, and nothing is hidden by it.

    `origin`: id of the cause or remedy that asks for it, ``""`` where the failing operator does. `steps`: how many steps have to be
    taken anew with it; 0: nobody knows. `tried`: it was seen on the held step, or on those; else only the run can tell. `exact`: it
    trains as before wherever that was finite. `sure`: it need not wait for a second failure: it is exact, or its cause is
    confirmed.
    """

    origin: str
    interventions: tuple[Intervention, ...]
    steps: int = 1
    tried: bool = True
    exact: bool = False
    sure: bool = False

    @property
    def told(self) -> str:
        """The change in words."""
        return "; ".join(one.told for one in self.interventions)


class Diagnosis(msgspec.Struct, frozen=True, tag="diagnosis"):
    """Hypotheses, best first; remedies, best first; `replays`, `seconds`: what the experiments took."""

    hypotheses: tuple[Hypothesis, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    replays: int = 0
    seconds: float = 0.0
    narrowed: tuple[Experiment, ...] = ()
    """What the held step still fails with, where no cause could be confirmed."""
    treatments: tuple[Treatment, ...] = ()
    """What a run that recovers may go on with, best first; looked for only in one."""
    again: str = ""
    """Id of the verified remedy with whose patch a run that recovers had better begin again; empty where it need not."""
