"""What is known of a bad step, part by part: a description that breaks is missing, because the rest is worth telling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from stayfinite import shield
from stayfinite.frameworks.torch import describe
from stayfinite.frameworks.torch.passes import Failure
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.records.incident import Case, Incident, Origin, ReplaySummary, Symptom
from stayfinite.records.numbers import to_number
from stayfinite.records.tensor import TensorStats

INVESTIGATION = "investigation"
"""What repeats and explains a step; once it broke, bad steps are held and told without it."""
WITHOUT = "incidents are told without it"

T = TypeVar("T")


def part(what: str, look: Callable[[], T], missing: T) -> T:
    """What `look` finds out about a bad step; `missing` if it breaks, because the rest is worth telling without it."""
    with shield.shielded(f"the description of the {what}", WITHOUT):
        return look()
    return missing


def broke() -> str:
    return f"the investigation broke: {shield.failures.get(INVESTIGATION, 'it was left')}"


def unexplained(case: Case, reason: str) -> Incident:
    """An incident of which nothing is known but `case`."""
    case = msgspec.structs.replace(case, replay=ReplaySummary(same_inputs=False, not_tested=reason), not_located=reason)
    return Incident(id=f"{case.symptom.detector}-{case.symptom.series}", case=case)


def is_explained(case: Case) -> bool:
    """True if the exception that ended the step is known, and what the step computed explains it."""
    with shield.shielded(INVESTIGATION, WITHOUT):
        return case.exception is not None and describe.explains(case)
    return False


def symptom_of(failure: Failure) -> Symptom:
    if failure.finite is not None:
        return failure.finite
    return Symptom(
        failure.detector, failure.step, failure.series, to_number(failure.value), names=failure.names,
        location=failure.location,
    )


def origin_in_state(failure: Failure, subjects: Subjects) -> Origin | None:
    """The origin of a failure that is bad state and no operation: the state itself, where it was seen."""
    if not failure.before or not failure.names:
        return None
    name = failure.names[0]
    kind = failure.series
    known: tuple[TensorStats, ...] = ()
    stats = next((s for s in part("parameters", lambda: describe.parameters(subjects), known) if s.name == name), None)
    return Origin(
        phase="load", op=kind, native_op="", location=failure.location,
        parameter=name.rpartition(" of ")[2] if kind != "buffer" else None, buffer=name if kind == "buffer" else None,
        inputs=(stats,) if stats is not None else (),
    )
