"""From the suspicion that nothing is learned, or that something explodes, to an incident: one survey, the mechanism, the
causes. The numbers of the step are finite, so nothing is held and nothing stops.
"""

from __future__ import annotations

import time
from collections.abc import Container, Generator, Mapping
from typing import TYPE_CHECKING

import msgspec

from stayfinite.engine.ports import Examination, Examined, FindMakings, Listener, Outcome, ReplayRequest, TryOut
from stayfinite.records.diagnosis import Diagnosis
from stayfinite.records.incident import Case, Incident, ReplaySummary
from stayfinite.records.trace import Trace

if TYPE_CHECKING:
    from stayfinite.engine.experiments import Judge
    from stayfinite.engine.mechanisms import Mechanism
    from stayfinite.engine.over_steps import Rerun
    from stayfinite.records.diagnosis import Diagnosis

REPLAYS = 12
"""Repetitions that experiments on one finite failure may take: the training goes on, and a survey costs several steps."""
RUNS = 0.5
"""Share of the budget that runs from the start may take after a divergence: the training waits, and may yet fail for good."""
PATIENCE = 45
"""Updates after its first sign within which a finite failure is told: two surveys 20 apart, and the 20 a gradient stays dead."""
TOLD_ANYWAY = frozenset({"divergence", "loss-spike", "gradient-spike"})
"""Symptoms that are facts by themselves: they are told whatever the survey says."""


def examine(
    case: Case, listener: Listener, *, repeatable: str | None, makings: FindMakings | None = None, budget: float = 0.0,
    try_out: TryOut | None = None, suspected: Container[str] = (), sources: Mapping[str, str] | None = None,
    tried: Container[str] = (), treat: bool = False,
) -> Examination:
    """Survey a step after the symptom of `case`.

    **Arguments**: `repeatable`: ``None`` if the step can be repeated, else why not. `makings`: finds the lines that made
    what failed. `budget`: seconds for experiments. `try_out`: runs the script again from its start, with one change. `suspected`:
    ids of incidents that an earlier survey showed: what a single survey does not prove is tried when a second one shows it too.
    `sources`: text of the user's files, by file as in `Location`; ``None``: no remedies are looked for.
    `tried`: ids of incidents that were experimented on before: several symptoms may be one failure.
    `treat`: changes are looked for that the run may go on with.

    **Returns** a generator of replay requests whose value says what there is to tell.
    """
    # imported here: a run without suspicions loads no catalog
    from stayfinite.engine.experiments import experiment
    from stayfinite.engine.investigate import incident_id
    from stayfinite.engine.mechanisms import mechanism
    from stayfinite.engine.over_steps import Rerun
    from stayfinite.engine.rank import rank
    from stayfinite.engine.sharpness import with_sharpness

    started = time.monotonic()
    reason = repeatable
    if reason is None:
        outcome = yield ReplayRequest("survey")
        reason = outcome.unrepeatable
        if reason is None and outcome.failed:
            return Examined()  # the step is not finite: what watches for that has the word
        case = msgspec.structs.replace(case, survey=outcome.survey, trace=outcome.trace or Trace())
    case = msgspec.structs.replace(case, replay=ReplaySummary(same_inputs=reason is None, not_tested=reason))
    if reason is not None:
        case = msgspec.structs.replace(case, survey=None, not_located=f"no step could be looked into: {reason}")
        told = case.symptom.detector in TOLD_ANYWAY or _is_whole(case)
        if not told:
            return Examined()
        if makings is not None:
            case = msgspec.structs.replace(case, makings=makings(case))
        return Examined(Incident(id=incident_id(case), case=case, diagnosis=rank(case), stopped=False), certain=True)
    found = mechanism(case)
    if found is not None:
        case = msgspec.structs.replace(case, origin=found.origin, not_located=found.reason)
    elif case.symptom.detector in TOLD_ANYWAY:
        case = msgspec.structs.replace(case, not_located="every operation of the step gave finite values")
    else:
        return Examined()
    if makings is not None:
        case = msgspec.structs.replace(case, makings=makings(case))
    if budget > 0.0 and case.symptom.detector == "divergence":
        case = yield from with_sharpness(case)
    diagnosis = rank(case)
    rerun = Rerun(case, try_out, patience=PATIENCE) if try_out is not None else None
    settled = found is None or found.certain or incident_id(case) in suspected
    if not settled or incident_id(case) in tried:
        budget = 0.0
    if found is not None and budget > 0.0:
        diagnosis = yield from experiment(case, diagnosis, budget=budget, replays=REPLAYS, judge=_judge(case, found))
        if case.symptom.detector not in TOLD_ANYWAY and _disproven(diagnosis):
            return Examined()  # the mechanism was read out of the survey, and it is not what does it
        if treat:
            from stayfinite.engine.treat import treatments

            left = RUNS * max(budget - (time.monotonic() - started), RUNS * budget)
            treated = yield from treatments(case, diagnosis, sources or {}, budget=left, replays=REPLAYS, judge=_judge(case, found))
            diagnosis = msgspec.structs.replace(diagnosis, treatments=treated)
    elif found is None and budget > 0.0 and rerun is not None and case.symptom.detector == "divergence":
        diagnosis = yield from experiment(case, diagnosis, budget=RUNS * budget, rerun=rerun, runs_only=True)
    if sources is not None and rerun is not None:
        left = RUNS * (budget - (time.monotonic() - started))
        diagnosis = yield from _prescribed(case, diagnosis, sources, rerun, left)
    if treat:
        from stayfinite.engine.treat import with_cure

        diagnosis = with_cure(case, diagnosis)
    incident = Incident(
        id=incident_id(case), case=case, diagnosis=diagnosis, stopped=False, seconds=time.monotonic() - started
    )
    return Examined(incident, certain=found is None or found.certain, whole=found is not None and found.whole)


def _disproven(diagnosis: Diagnosis) -> bool:
    """True if experiments refuted what the mechanism stands for, and no known cause is left before the unknown ones."""
    first = next(iter(diagnosis.hypotheses), None)
    return first is not None and first.cause == "unknown" and any(one.verdict == "refuted" for one in diagnosis.hypotheses)


def _prescribed(
    case: Case, diagnosis: Diagnosis, sources: Mapping[str, str], rerun: Rerun, budget: float
) -> Generator[ReplayRequest, Outcome, Diagnosis]:
    """`diagnosis` with remedies that runs from the start have judged: a single step whose numbers are finite cannot."""
    from stayfinite.engine.prescribe import prescribe

    if budget <= 0 or not diagnosis.hypotheses:
        return diagnosis
    remedies = yield from prescribe(case, diagnosis, sources, rerun=rerun, budget=budget, steps=False)
    return msgspec.structs.replace(diagnosis, remedies=remedies)


def _judge(case: Case, found: Mechanism) -> Judge:
    """Whether the repeated step still shows what was `found`."""
    from stayfinite.engine.experiments import SAME
    from stayfinite.engine.mechanisms import mechanism

    def judge(outcome: Outcome) -> str:
        if outcome.survey is None:
            return "the step could not be looked into"
        again = mechanism(msgspec.structs.replace(case, survey=outcome.survey, trace=outcome.trace or Trace()))
        if again is None:
            return ""
        if again.origin is None or found.origin is None:
            return SAME if again.origin is None and found.origin is None else "it is held back in another way"
        if again.origin.identity == found.origin.identity:
            return SAME
        at = again.origin.location
        return f"that is gone, and {again.origin.op}{f' at {at.file}:{at.line}' if at.file else ''} holds it back"

    return judge


def _is_whole(case: Case) -> bool:
    """True if the symptom itself says that no gradient arrives anywhere, with a loss that asks for one."""
    losses = case.window("loss").values
    series = case.symptom.series.startswith("gradient_norm")
    return case.symptom.detector == "dead-gradient" and series and bool(losses) and losses[-1] != 0.0
