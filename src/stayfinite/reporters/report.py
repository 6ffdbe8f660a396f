"""From a recording to the report: all counting, matching, wording and reading of source happens here, once.

Reporters only lay out what they are given, so no two of them can disagree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from stayfinite.records.diagnosis import Evidence, Hypothesis, Remedy
from stayfinite.records.encoding import text
from stayfinite.records.finding import NOT_WATCHED
from stayfinite.records.incident import ExceptionInfo, Incident, Origin, Symptom
from stayfinite.records.manifest import Status
from stayfinite.records.numbers import Number, is_finite, to_number
from stayfinite.records.recording import Record, Recording, Repeats, gather
from stayfinite.records.survey import Birth
from stayfinite.reporters.chain import bad_before, chain, reached
from stayfinite.reporters.document import (
    REPORT_SCHEMA,
    BornReport,
    CauseReport,
    EvidenceReport,
    ExceptionReport,
    IncidentReport,
    OriginReport,
    RemedyReport,
    Report,
    RunReport,
    Series,
    TrialReport,
    WarningReport,
)
from stayfinite.reporters.excerpt import place, read_excerpt, relative
from stayfinite.reporters.recoveries import recovery
from stayfinite.reporters.symptoms import finite_incidents, unfinished_incident
from stayfinite.reporters.words import comparison, conclusion, consequence, headline, outcome, reproduction

__all__ = ["Report", "build_report"]


def build_report(recording: Recording | Iterable[Record]) -> Report:
    """The report of a run, from a recording read back or kept in memory, or from its bare records.

    Source excerpts are read from the script's folder as it is now; a line that is no longer what ran is not shown.

    **Raises**: `ValueError` if bare records do not begin with a manifest.
    """
    if not isinstance(recording, Recording):
        recording = gather(recording)
    folder = recording.manifest.folder
    with suppress(OSError):  # the working directory may be gone
        folder = folder and os.path.abspath(folder)
    unfinished = unfinished_incident(recording)
    finite, finite_counts = finite_incidents(recording)
    kept = [*recording.incidents, *finite, *([unfinished] if unfinished else [])]
    kept.sort(key=lambda incident: incident.case.symptom.step)
    counts = {repeats.incident: repeats for repeats in (*recording.repeats, *finite_counts)}
    incidents = tuple(_incident(incident, counts.get(incident.id), folder) for incident in kept)
    return Report(
        schema=REPORT_SCHEMA,
        version=recording.manifest.version,
        status=_status(recording, incidents),
        recording=recording.folder,
        run=_run(recording, incidents),
        incidents=incidents,
        warnings=_warnings(recording, incidents, unfinished),
        findings=(),
        recovery=recovery(recording),
    )


def _status(recording: Recording, incidents: tuple[IncidentReport, ...]) -> Status:
    closing = recording.closing
    if incidents:
        endings = {incident.outcome for incident in incidents if not incident.harmless}
        overcome = bool(endings) and endings <= {"skipped", "cured", "recovered"}
        given_up = bool(recording.measures) and recording.measures[-1].kind == "gave-up"
        overcome = overcome and not given_up
        claimed = closing is not None and closing.status == "recovered" and not endings & {"stopped", "raised"}
        return "recovered" if overcome or claimed else "incident"
    if closing is None or any(warning.id == NOT_WATCHED for warning in recording.warnings):
        return "failed"
    return closing.status


def _run(recording: Recording, incidents: tuple[IncidentReport, ...]) -> RunReport:
    manifest, closing = recording.manifest, recording.closing
    seen = [incident.last_step for incident in incidents]
    return RunReport(
        script=manifest.script,
        module=manifest.module,
        argv=manifest.argv,
        folder=manifest.folder,
        started=manifest.started,
        framework=(closing and closing.framework) or manifest.framework,
        framework_version=(closing and closing.framework_version) or manifest.framework_version,
        steps=closing.steps if closing else max(seen, default=-1) + 1,
        seconds=closing.seconds if closing else None,
        exit_code=closing.exit_code if closing else None,
    )


def _incident(incident: Incident, repeats: Repeats | None, folder: str) -> IncidentReport:
    case, symptom = incident.case, incident.case.symptom
    error = case.exception
    located = _origin(case.origin, folder) if case.origin is not None else None
    return IncidentReport(
        id=incident.id,
        symptom=symptom.detector,
        stopped=incident.stopped,
        harmless=incident.harmless,
        outcome=outcome(incident),
        step=symptom.step,
        epoch=symptom.epoch,
        value=_number(symptom.value),
        series=symptom.series,
        limit=symptom.limit,
        limit_source=symptom.limit_source,
        names=symptom.names,
        held=incident.held,
        hold_note=incident.hold_note,
        reproduced=incident.reproduced,
        replay=case.replay,
        count=repeats.count if repeats else 1,
        last_step=max(repeats.last_step if repeats else 0, symptom.step),
        headline=headline(symptom, (error.type, error.message) if error else None),
        consequence=consequence(incident),
        reproduction=reproduction(case.replay, incident.reproduced, surveyed=case.survey is not None),
        origin=located,
        origin_reason=None if located else _why_not_located(incident),
        chain=chain(case, folder),
        reached=reached(case.trace),
        bad_before=bad_before(case.trace),
        unseen=case.trace.unseen,
        batch_size=case.batch_size,
        windows=tuple(_series(w.series, w.steps, w.values) for w in case.windows if w.values),
        exception=_exception(error, folder, excerpt=located is None) if error else None,
        configuration=case.configuration,
        causes=tuple(_cause(hypothesis, case.origin, folder) for hypothesis in incident.diagnosis.hypotheses),
        narrowed=incident.diagnosis.narrowed,
        remedies=tuple(_remedy(one, incident) for one in incident.diagnosis.remedies),
        conclusion=conclusion(incident.diagnosis),
        replays=incident.diagnosis.replays,
        tested_seconds=incident.diagnosis.seconds,
        seconds=incident.seconds,
    )


def _origin(origin: Origin, folder: str) -> OriginReport:
    at = origin.location
    return OriginReport(
        phase=origin.phase,
        op=origin.op,
        native_op=origin.native_op,
        file=relative(at.file, folder),
        line=at.line,
        column=at.column,
        end_line=at.end_line,
        end_column=at.end_column,
        function=at.function,
        library=at.library,
        code=at.code,
        expression=at.expression,
        excerpt=read_excerpt(at, folder) if at.line > 0 else None,
        module=origin.module,
        parameter=origin.parameter,
        buffer=origin.buffer,
        samples=origin.samples,
        dataset_indices=origin.dataset_indices,
        columns=origin.columns,
        inputs=origin.inputs,
        scalars=origin.scalars,
        output=origin.output,
        absorbed_at=place(origin.absorbed_at, folder),
        absorbed=origin.absorbed,
        born_at=_born(origin.birth, folder) if origin.birth is not None else None,
    )


def _born(birth: Birth, folder: str) -> BornReport:
    return BornReport(
        location=place(birth.location, folder), how=birth.how, searched_in=birth.searched_in, step=birth.step, op=birth.op,
        inputs=birth.inputs,
    )


def _exception(error: ExceptionInfo, folder: str, *, excerpt: bool) -> ExceptionReport:
    at = place(error.location, folder, excerpt=excerpt)
    return ExceptionReport(type=error.type, message=error.message, location=at)


def _cause(hypothesis: Hypothesis, origin: Origin | None, folder: str) -> CauseReport:
    at = hypothesis.location
    elsewhere = origin is None or (at.file, at.line) != (origin.location.file, origin.location.line)
    return CauseReport(
        cause=hypothesis.cause,
        title=hypothesis.title,
        probability=hypothesis.probability,
        score=hypothesis.score,
        verdict=hypothesis.verdict,
        verdict_reason=hypothesis.verdict_reason,
        location=place(at, folder, excerpt=elsewhere),
        evidence=tuple(_evidence(item, folder) for item in sorted(hypothesis.evidence, key=lambda item: -item.bits)),
        experiments=hypothesis.experiments,
    )


def _remedy(one: Remedy, incident: Incident) -> RemedyReport:
    trial = one.trial
    return RemedyReport(
        remedy=one.remedy,
        title=one.title,
        applicability=one.applicability,
        verdict=one.verdict,
        reason=one.reason,
        cost=one.cost,
        causes=one.causes,
        interventions=tuple(change.told for change in one.interventions),
        diff=one.fix.diff if one.fix is not None else "",
        effect=one.effect,
        trial=None if trial is None else TrialReport(
            change=trial.change, status=trial.status, steps=trial.steps, symptom=trial.symptom, step=trial.step,
            losses=tuple(map(_number, trial.losses)), stride=trial.stride, seconds=trial.seconds, note=trial.note,
        ),
        comparison=comparison(trial, incident) if trial is not None else "",
    )


def _evidence(item: Evidence, folder: str) -> EvidenceReport:
    at = place(item.location, folder, excerpt=False)
    return EvidenceReport(claim=item.claim, bits=item.bits, fact=item.fact, location=at)


def _series(name: str, steps: tuple[int, ...], values: tuple[Number, ...]) -> Series:
    shared = min(len(steps), len(values))
    return Series(series=name, steps=steps[:shared], values=tuple(_number(value) for value in values[:shared]))


def _number(value: Number) -> Number:
    return value if isinstance(value, str) else to_number(value)


def _why_not_located(incident: Incident) -> str:
    case = incident.case
    if case.replay.not_tested:
        return f"the step could not be replayed: {case.replay.not_tested}"
    if is_finite(case.symptom.value) and case.exception is None:
        return "every value of the step is finite, so no operation made the first bad one"
    if case.replay.attempts and not incident.reproduced:
        return "it did not happen again when the step was replayed"
    if case.not_located:
        return case.not_located
    if case.trace.unseen:
        return f"the tracer could not look into {', '.join(case.trace.unseen)}"
    if not case.trace.operations:
        return "the step was not traced"
    count = case.trace.operations
    return f"none of the {count} operations of the replayed step turned finite values into non-finite ones"


def _warnings(
    recording: Recording, incidents: tuple[IncidentReport, ...], unfinished: Incident | None
) -> tuple[WarningReport, ...]:
    found = [_warning(warning.id, warning.message) for warning in recording.warnings]
    if unfinished is not None:
        found.append(_warning(
            "investigation-unfinished",
            f"the process ended while {_at(unfinished.case.symptom)} was being investigated",
            incident=unfinished.id,
        ))
    found += [
        _warning("origin-unknown", "no origin could be located", incident=x.id, reason=x.origin_reason)
        for x in incidents if x.origin is None
    ]
    found += [
        _warning(
            "incidents-not-stored",
            f"{repeats.count} further incidents (steps {repeats.first_step} to {repeats.last_step}) of other origins "
            "were counted, not stored",
        )
        for repeats in recording.repeats if not repeats.incident
    ]
    found += [_warning("recording-damaged", f"the recording is not whole: {note}") for note in recording.damaged]
    return tuple(found)


def _warning(name: str, message: str, incident: str | None = None, reason: str | None = None) -> WarningReport:
    return WarningReport(id=name, message=text(message), incident=incident, reason=reason)


def _at(symptom: Symptom) -> str:
    return f"{symptom.detector} at step {symptom.step}"
