"""Incidents of which a recording holds the symptom only: finite ones that stop nothing, and one that was cut short."""

from __future__ import annotations

import hashlib

from stayfinite.records.incident import Case, Incident, Symptom
from stayfinite.records.numbers import is_finite
from stayfinite.records.recording import Recording, Repeats
from stayfinite.records.trace import Trace


def finite_incidents(recording: Recording) -> tuple[list[Incident], list[Repeats]]:
    """An incident for each detector and series of finite symptoms that no stored incident covers, and their counts."""
    covered = {incident.case.symptom.detector for incident in recording.incidents}
    groups: dict[tuple[str, str], list[Symptom]] = {}
    for symptom in recording.symptoms:
        if symptom.detector not in covered and not _is_fatal(symptom):
            groups.setdefault((symptom.detector, symptom.series), []).append(symptom)
    incidents, counts = [], []
    for key, symptoms in groups.items():
        identity = hashlib.sha256("\0".join(key).encode("utf-8", "backslashreplace")).hexdigest()[:12]
        incidents.append(Incident(id=identity, case=Case(symptom=symptoms[0]), stopped=False))
        counts.append(Repeats(identity, len(symptoms), symptoms[0].step, max(symptom.step for symptom in symptoms)))
    return incidents, counts


def unfinished_incident(recording: Recording) -> Incident | None:
    """The symptom whose investigation had not ended when the process did, with what was known of it by then."""
    fatal = [symptom for symptom in recording.symptoms if _is_fatal(symptom)]
    if recording.closing is not None or not fatal:
        return None
    last = fatal[-1]
    known = [incident.case.symptom for incident in recording.incidents]
    if any((other.detector, other.step) == (last.detector, last.step) for other in known):
        return None
    stage = recording.stages[-1] if recording.stages else None
    if stage is None and any(other.detector == last.detector for other in known):
        return None
    if stage is not None and (stage.name == "done" or any(stage.incident == x.id for x in recording.incidents)):
        return None  # a repetition of a known incident, which is counted
    told = [incident.case.trace for incident in recording.incidents]
    trace = next((trace for trace in recording.traces[-1:] if trace not in told), Trace())
    case = next((case for case in reversed(recording.cases) if case.symptom == last), Case(symptom=last, trace=trace))
    identity = stage.incident if stage is not None else f"unfinished-{last.detector}-{last.step}"
    return Incident(id=identity, case=case, stopped=False, outcome="stopped")


def _is_fatal(symptom: Symptom) -> bool:
    return not is_finite(symptom.value) or symptom.detector == "numeric-exception"
