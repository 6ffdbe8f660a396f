"""What a recording holds: every record of a run, in memory or read back from disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Union

import msgspec

from stayfinite.records.finding import Warning
from stayfinite.records.incident import Case, Incident, Symptom
from stayfinite.records.manifest import Closing, Manifest
from stayfinite.records.recovery import Measure, Toll
from stayfinite.records.trace import Trace

StageName = Literal["symptom", "replay", "locate", "rank", "experiment", "cure", "done"]


class Stage(msgspec.Struct, frozen=True, tag="stage"):
    """A stage of an investigation begins (`done`: all have ended); what was found by then stands before it."""

    incident: str
    name: StageName


class Repeats(msgspec.Struct, frozen=True, tag="repeats"):
    """How often the incident `incident` happened in all, first time included; ``""`` counts incidents of origins that
    were not stored at all. A later record replaces an earlier one of the same incident."""

    incident: str
    count: int
    first_step: int
    last_step: int


Record = Union[Manifest, Symptom, Trace, Case, Incident, Warning, Stage, Repeats, Measure, Toll, Closing]


class Recording(msgspec.Struct, frozen=True):
    """Everything known of one run, in the order it became known.

    `incidents` holds each id once, its latest version; `cases` what was known before causes were ranked. `closing` is
    ``None`` while the run goes on and for a process that was killed. `damaged` says in words which lines could not be
    read; `folder` is where it was read from.
    """

    manifest: Manifest
    symptoms: tuple[Symptom, ...] = ()
    traces: tuple[Trace, ...] = ()
    cases: tuple[Case, ...] = ()
    incidents: tuple[Incident, ...] = ()
    warnings: tuple[Warning, ...] = ()
    stages: tuple[Stage, ...] = ()
    repeats: tuple[Repeats, ...] = ()
    measures: tuple[Measure, ...] = ()
    """What was done so that the run could go on; `toll`: how much in all, ``None`` if nothing was or the run goes on."""
    toll: Toll | None = None
    closing: Closing | None = None
    damaged: tuple[str, ...] = ()
    folder: str | None = None


def gather(records: Iterable[Record], *, damaged: tuple[str, ...] = (), folder: str | None = None) -> Recording:
    """The recording that `records` amount to. The first must be a `Manifest`; a later one replaces it.

    **Raises**: `ValueError` if there is no manifest.
    """
    manifest: Manifest | None = None
    closing: Closing | None = None
    toll: Toll | None = None
    measures: list[Measure] = []
    symptoms: list[Symptom] = []
    traces: list[Trace] = []
    cases: list[Case] = []
    stages: list[Stage] = []
    incidents: dict[str, Incident] = {}
    repeats: dict[str, Repeats] = {}
    warnings: dict[Warning, None] = {}
    for record in records:
        if isinstance(record, Manifest):
            manifest = record
        elif isinstance(record, Symptom):
            symptoms.append(record)
        elif isinstance(record, Trace):
            traces.append(record)
        elif isinstance(record, Case):
            cases.append(record)
        elif isinstance(record, Incident):
            incidents[record.id] = record
        elif isinstance(record, Warning):
            warnings[record] = None
        elif isinstance(record, Stage):
            stages.append(record)
        elif isinstance(record, Repeats):
            repeats[record.incident] = record
        elif isinstance(record, Measure):
            measures.append(record)
        elif isinstance(record, Toll):
            toll = record.after(toll)
        else:
            closing = record
    if manifest is None:
        raise ValueError("a recording begins with a manifest")
    return Recording(
        manifest=manifest, symptoms=tuple(symptoms), traces=tuple(traces), cases=tuple(cases),
        incidents=tuple(incidents.values()),
        warnings=tuple(warnings), stages=tuple(stages), repeats=tuple(repeats.values()), measures=tuple(measures),
        toll=toll, closing=closing,
        damaged=damaged, folder=folder,
    )
