"""The shape of `report.json`: what machines read, and the only thing a reporter sees.

Field names and nesting are a contract: fields are added, never renamed or removed, and every field is always present.
Non-finite numbers are the words ``"nan"``, ``"+inf"``, ``"-inf"``. Lines are 1-based; columns are 0-based and count
UTF-8 bytes; steps are 0-based and count attempted updates. Times are seconds.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from stayfinite.records.diagnosis import Applicability, Experiment, Judged, VerdictName
from stayfinite.records.incident import Absorbed, Configuration, Outcome, ReplaySummary
from stayfinite.records.intervention import Effect
from stayfinite.records.manifest import Status
from stayfinite.records.numbers import Number
from stayfinite.records.recovery import Measure
from stayfinite.records.survey import SearchedIn
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import LeafKind, Phase, Scalar, SinkKind

REPORT_SCHEMA = "stayfinite.report/1"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A guilty stretch of an excerpt: characters `start` to `end` (exclusive) of its line number `line`."""

    line: int
    start: int
    end: int


class Excerpt(msgspec.Struct, frozen=True, kw_only=True):
    """Source text around a place. `note` says what is not as it was in the run (``None``: the source is unchanged)."""

    first_line: int
    lines: tuple[str, ...]
    marks: tuple[Mark, ...]
    note: str | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the user's source; `library` is the library frame inside it that ran the operation."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    function: str
    library: str | None
    code: str
    expression: str
    excerpt: Excerpt | None


class BornReport(msgspec.Struct, frozen=True, kw_only=True):
    """Who made a value that was bad before the step: the place, `how` in words, how it was found, the earlier step it happened
    after (``None``: before the first), and the operation with its operands where it is known."""

    location: Place | None
    how: str
    searched_in: SearchedIn
    step: int | None
    op: str
    inputs: tuple[TensorStats, ...]


class OriginReport(Place, frozen=True, kw_only=True):
    """The first operation that turned finite values into non-finite ones on a path that matters."""

    phase: Phase
    op: str
    native_op: str
    module: str | None
    parameter: str | None
    buffer: str | None
    samples: tuple[int, ...]
    dataset_indices: tuple[int, ...]
    columns: tuple[str, ...]
    inputs: tuple[TensorStats, ...]
    scalars: tuple[Scalar, ...]
    output: TensorStats | None
    absorbed_at: Place | None
    absorbed: Absorbed
    born_at: BornReport | None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An operation the bad value went through, from the origin on. `value` says in words what came out of it."""

    op: str
    native_op: str
    phase: Phase
    module: str | None
    file: str
    line: int
    code: str
    value: str


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """A place where a non-finite value does harm, or one that was bad before the step began. `value` in words."""

    kind: SinkKind | LeafKind
    name: str
    value: str


class EvidenceReport(msgspec.Struct, frozen=True, kw_only=True):
    """A claim, its weight in bits (log2 of the likelihood ratio) and the fact it rests on."""

    claim: str
    bits: float
    fact: str
    location: Place | None


class CauseReport(msgspec.Struct, frozen=True, kw_only=True):
    """A possible cause. `location` is where to look or change something first; it may differ from the origin."""

    cause: str
    title: str
    probability: float
    score: float
    verdict: VerdictName
    verdict_reason: str
    location: Place | None
    evidence: tuple[EvidenceReport, ...]
    experiments: tuple[Experiment, ...]


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    """The script, run again from its start with a remedy: how it ended, and a loss for every `stride` updates from 0 on."""

    change: str
    status: Literal["finite", "failed", "ended", "broken", "not_run"]
    steps: int
    symptom: str
    step: int
    losses: tuple[Number, ...]
    stride: int
    seconds: float
    note: str


class RemedyReport(msgspec.Struct, frozen=True, kw_only=True):
    """A cure. `diff` is relative to the script's folder, with ``a/`` and ``b/``; `interventions`: what is done to a running
    training, in words; `comparison`: a run with it beside the one that failed, in a sentence."""

    remedy: str
    title: str
    applicability: Applicability
    verdict: Judged
    reason: str
    cost: str
    causes: tuple[str, ...]
    interventions: tuple[str, ...]
    diff: str
    effect: Effect | None
    trial: TrialReport | None
    comparison: str


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """The readings before and at the incident, oldest first; `steps` and `values` have equal length."""

    series: str
    steps: tuple[int, ...]
    values: tuple[Number, ...]


class ExceptionReport(msgspec.Struct, frozen=True, kw_only=True):
    """The exception that ended the step."""

    type: str
    message: str
    location: Place | None


class IncidentReport(msgspec.Struct, frozen=True, kw_only=True):
    """One failure. `headline`, `consequence`, `reproduction` and `conclusion` say in sentences what the fields say. `replays`,
    `tested_seconds`: what all experiments and trials took."""

    id: str
    symptom: str
    stopped: bool
    harmless: bool
    outcome: Outcome
    step: int
    epoch: int | None
    value: Number
    series: str
    limit: str
    limit_source: str
    names: tuple[str, ...]
    held: bool
    hold_note: str
    reproduced: bool
    replay: ReplaySummary
    count: int
    last_step: int
    headline: str
    consequence: str
    reproduction: str
    origin: OriginReport | None
    origin_reason: str | None
    chain: tuple[Link, ...]
    reached: tuple[Reached, ...]
    bad_before: tuple[Reached, ...]
    unseen: tuple[str, ...]
    batch_size: int | None
    windows: tuple[Series, ...]
    exception: ExceptionReport | None
    configuration: Configuration
    causes: tuple[CauseReport, ...]
    narrowed: tuple[Experiment, ...]
    remedies: tuple[RemedyReport, ...]
    conclusion: str
    replays: int
    tested_seconds: float
    seconds: float


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ran. `seconds` and `exit_code` are ``None`` if the recording has no closing: killed, or running still."""

    script: str
    module: str | None
    argv: tuple[str, ...]
    folder: str
    started: str
    framework: str | None
    framework_version: str | None
    steps: int
    seconds: float | None
    exit_code: int | None


class WarningReport(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth knowing beside the incidents. `incident` is the id of the one it is about, if any."""

    id: str
    message: str
    incident: str | None
    reason: str | None


class FindingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a static rule says of a place in source, model, configuration or data."""

    rule: str
    severity: Literal["error", "warning", "note"]
    message: str
    file: str
    line: int | None
    column: int | None
    node: str | None
    place: dict[str, Any] | None
    fix: dict[str, Any] | None
    evidence: dict[str, Any]


class RecoveryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was done so that the run could go on: how often, and one by one (the first hundred of each kind)."""

    left_out: int
    mended: int
    rewound: int
    remedied: int
    begun_again: int
    """How often the script began again with the patch of a verified cure."""
    rate: float
    """The share of the script's own learning rate at the end."""
    told: str
    measures: tuple[Measure, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it. `recording` is the folder it was read from, if any."""

    schema: str
    version: str
    status: Status
    recording: str | None
    run: RunReport
    incidents: tuple[IncidentReport, ...]
    warnings: tuple[WarningReport, ...]
    findings: tuple[FindingReport, ...]
    recovery: RecoveryReport | None = None
    """``None`` where nothing was done."""
