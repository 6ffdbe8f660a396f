"""From a held step to an incident: control replays, a replay under the microscope, the origin, the causes.

Each stage takes records and returns records, and is on disk before the next one starts, so that a run that dies here
still tells what was known.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping

import msgspec

from stayfinite.engine.ports import FindBirth, FindMakings, Investigation, Listener, Outcome, ReplayRequest, TryOut
from stayfinite.records.incident import Case, Incident, Origin, Repeated, ReplaySummary, Symptom
from stayfinite.records.numbers import Number
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Trace

EXPERIMENTS, NARROWING = 0.6, 0.1
"""Shares of the budget that experiments may take, and the bisection of what they left open; the rest is for trying cures."""
TREATING, CURES = 0.2, 0.5
"""For what a run may go on with: the share of the budget that is there in any case, and the share of what experiments left."""
CONTROLS = 2
"""Control replays before anything is concluded: one could agree by luck with a race, two rarely do."""


def investigate(
    case: Case,
    live: Outcome,
    listener: Listener,
    *,
    repeatable: str | None,
    budget: float,
    look_back: Callable[[Case], Case] | None = None,
    birth: FindBirth | None = None,
    makings: FindMakings | None = None,
    try_out: TryOut | None = None,
    sources: Mapping[str, str] | None = None,
    treat: bool = False,
) -> Investigation:
    """Replay the held step of `case` and say where and why it failed.

    **Arguments**

    - `live`: what the step came to when it ran for the user.
    - `repeatable`: ``None`` if the step can be repeated, else why not.
    - `budget`: seconds for replays; no new one is begun once they are spent.
    - `look_back`: adds to a located case which items of the data set it concerns and who made what was bad before.
    - `birth`: finds out who made the value at the origin, where it was bad before the step.
    - `makings`: finds the lines that made what failed.
    - `try_out`: runs the script again from its start, with one change.
    - `sources`: text of the user's files, by file as in `Location`; ``None``: no remedies are looked for.
    - `treat`: the run is to go on, so changes are looked for that it may go on with.

    **Returns** a generator of replay requests whose value is the incident, `held` and `stopped` still open.
    """
    # imported here: a run without incidents loads no catalog
    from stayfinite.engine.experiments import REPLAYS, experiment
    from stayfinite.engine.localize import localize
    from stayfinite.engine.narrowing import narrow
    from stayfinite.engine.over_steps import Rerun
    from stayfinite.engine.prescribe import prescribe
    from stayfinite.engine.rank import rank
    from stayfinite.engine.sharpness import with_sharpness
    from stayfinite.engine.treat import REPLAYS as TREATED
    from stayfinite.engine.treat import treatments, with_cure

    started = time.monotonic()
    listener.stage(incident_id(case), "replay")
    outcomes: list[Outcome] = []
    trace: Trace | None = None
    if repeatable is None:
        for _ in range(CONTROLS):
            if time.monotonic() - started > budget:
                break
            outcomes.append((yield ReplayRequest("control")))
            if outcomes[-1].unrepeatable:
                break
        unscaled = None
        scaling = case.configuration.loss_scaling
        if scaling is not None and scaling.in_a_row and case.symptom.detector == "nonfinite-gradient":
            unscaled = yield ReplayRequest("unscaled")
        traced = yield ReplayRequest("trace")
        trace = traced.trace
    summary = _summarise(live, outcomes, repeatable)
    if repeatable is None and summary.not_tested is None:
        eager = _repeated(traced) if case.configuration.compiled else ""
        summary = msgspec.structs.replace(summary, unscaled=_repeated(unscaled), eager=eager)
    case = msgspec.structs.replace(case, replay=summary, trace=trace or Trace())
    if trace is not None:
        listener.stage(incident_id(case), "locate")
        found = localize(trace, case.symptom, case.exception)
        case = msgspec.structs.replace(
            case, symptom=_before_clipping(case.symptom, trace), origin=found.origin or case.origin,
            not_located=found.reason, path=found.path,
        )
        if trace.batch_size is not None and case.origin is not None and case.origin.samples:
            case = msgspec.structs.replace(case, batch_size=trace.batch_size)  # what the samples count in
    if case.origin is None and case.symptom.detector == "nonfinite-learning-rate":
        # no operation of the step makes a rate: it is where the step was asked for that it does harm
        rate = Origin(
            phase="optimizer", op="learning_rate", native_op="", location=case.symptom.location,
            inputs=(_number("lr", case.symptom.value),),
        )
        case = msgspec.structs.replace(case, origin=rate, not_located="")
    if case.origin is not None and not case.origin.location.file and case.symptom.location.file:
        case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, location=case.symptom.location))
    if look_back is not None and case.origin is not None:
        case = look_back(case)
    if case.origin is not None and birth is not None:
        born = birth(case)
        if born is not None:
            case = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, birth=born))
    if makings is not None:
        case = msgspec.structs.replace(case, makings=makings(case))
    if trace is not None and summary.not_tested is None and time.monotonic() - started < budget:
        case = yield from with_sharpness(case)
    listener.located(case)
    listener.stage(incident_id(case), "rank")
    diagnosis = rank(case)
    rerun = Rerun(case, try_out) if try_out is not None else None
    if repeatable is None and trace is not None:
        listener.stage(incident_id(case), "experiment")
        left = budget - (time.monotonic() - started)
        diagnosis = yield from experiment(case, diagnosis, budget=EXPERIMENTS * left, rerun=rerun)
        narrowed = yield from narrow(case, diagnosis, budget=NARROWING * left, replays=REPLAYS - diagnosis.replays)
        diagnosis = msgspec.structs.replace(diagnosis, narrowed=narrowed)
    if treat:
        left = max(TREATING * budget, CURES * (budget - (time.monotonic() - started)))
        able = repeatable is None and case.replay.not_tested is None and bool(outcomes)
        treated = yield from treatments(case, diagnosis, sources or {}, budget=left, replays=TREATED if able else 0)
        diagnosis = msgspec.structs.replace(diagnosis, treatments=treated)
    left = budget - (time.monotonic() - started)
    if sources is not None and left > 0 and diagnosis.hypotheses:
        listener.stage(incident_id(case), "cure")
        remedies = yield from prescribe(case, diagnosis, sources, rerun=rerun, budget=left, steps=repeatable is None)
        diagnosis = msgspec.structs.replace(diagnosis, remedies=remedies)
    if treat:
        diagnosis = with_cure(case, diagnosis)
    return Incident(
        id=incident_id(case),
        case=case,
        diagnosis=diagnosis,
        reproduced=bool(outcomes) and all(outcome.failed for outcome in outcomes) and summary.not_tested is None,
        seconds=time.monotonic() - started,
    )


def _before_clipping(symptom: Symptom, trace: Trace) -> Symptom:
    """`symptom` with the parameters whose gradients were bad as they arrived: clipping by a norm that is not finite has
    spread the damage to all, or wiped it out, before the step could look."""
    names = tuple(sink.name for sink in trace.sinks if sink.kind == "gradient")[:10]
    if symptom.detector != "nonfinite-gradient" or symptom.names or not names:
        return symptom
    return msgspec.structs.replace(symptom, names=names)


def _summarise(live: Outcome, outcomes: list[Outcome], repeatable: str | None) -> ReplaySummary:
    reason = repeatable or next((outcome.unrepeatable for outcome in outcomes if outcome.unrepeatable), None)
    if reason is None and not outcomes:
        reason = "the replay budget was spent before the first replay"
    agreed = all(outcome.failed == live.failed for outcome in outcomes)
    return ReplaySummary(attempts=len(outcomes), same_inputs=reason is None, agreed=agreed, not_tested=reason)


def _repeated(outcome: Outcome | None) -> Repeated:
    if outcome is None or outcome.unrepeatable:
        return ""
    return "nonfinite" if outcome.failed else "finite"


def incident_id(case: Case) -> str:
    """Equal origin, equal id; without an origin, equal symptom and names."""
    if case.origin is not None:
        return case.origin.identity
    parts = (case.symptom.detector, *case.symptom.names, case.exception.type if case.exception else "")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _number(name: str, value: Number) -> TensorStats:
    """A non-finite plain number as the tensor without dimensions it would be."""
    return TensorStats(
        name=name, shape=(), dtype="float64", nan=int(value == "nan"), posinf=int(value == "+inf"),
        neginf=int(value == "-inf"), culprit=value,
    )
