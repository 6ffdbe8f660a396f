"""Incidents full of hostile text and extreme numbers."""

from __future__ import annotations

from hypothesis import strategies as st

from stayfinite.records.diagnosis import Diagnosis, Evidence, Experiment, Hypothesis, Remedy, Trial
from stayfinite.records.fix import Fix
from stayfinite.records.incident import Case, ExceptionInfo, Incident, Origin, ReplaySummary, Symptom
from stayfinite.records.location import Location
from stayfinite.records.numbers import Number, to_number
from stayfinite.records.series import Window
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, OpCall, Sink, Trace

HOSTILE = [
    "[bold red]x[/]", "[link=file:///etc]x[/link]", "\x1b[2J\x1b]8;;x\x1b\\", "a\nb\r\tc", "\0", "名前",
    "😀👨‍👩‍👧", "e\u0301",
    "\u202egnp.exe", "| a | b |", "```", "`", "<script>alert(1)</script>", "![x](y)", "@everyone #1", "x" * 300, " ",
    "", "\\", "${HOME}", "%s %d {0}", "\ud800", "\u2028", "a" * 50 + "名" * 40,
]
text = st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=30)
numbers: st.SearchStrategy[Number] = st.floats().map(to_number)
counts = st.integers(0, 10**12)
locations = st.builds(
    Location, file=text, line=st.integers(-1, 10**9), column=st.integers(-1, 400), end_line=st.integers(-1, 10**9),
    end_column=st.integers(-1, 400), function=text, code=text, expression=text, library=st.none() | text,
)
tensors = st.builds(
    TensorStats, name=text, shape=st.lists(st.integers(0, 10**6), max_size=5).map(tuple), dtype=text, nan=counts,
    posinf=counts, neginf=counts, zero=counts, min=numbers, max=numbers,
    culprit_index=st.lists(st.integers(0, 10**6), max_size=5).map(tuple), culprit=st.none() | numbers,
)
indices = st.lists(st.integers(0, 10**9), max_size=20).map(tuple)
phases = st.sampled_from(["data", "load", "forward", "loss", "backward", "optimizer"])
origins = st.builds(
    Origin, phase=phases, op=text, native_op=text, location=locations, module=st.none() | text, samples=indices,
    parameter=st.none() | text, dataset_indices=indices, columns=st.lists(text, max_size=12).map(tuple),
    inputs=st.lists(tensors, max_size=3).map(tuple), output=st.none() | tensors, absorbed_at=st.none() | locations,
    absorbed=st.sampled_from(["value", "gradient"]),
)
calls = st.builds(
    OpCall, index=st.integers(0, 5), kind=text, native_op=text, phase=phases, location=locations,
    output=st.none() | tensors, sources=st.lists(st.integers(-3, 5), max_size=3).map(tuple),
)
traces = st.builds(
    Trace, calls=st.lists(calls, max_size=5, unique_by=lambda call: call.index).map(tuple),
    leaves=st.lists(st.builds(Leaf, kind=st.just("batch"), name=text, stats=tensors), max_size=2).map(tuple),
    sinks=st.lists(
        st.builds(
            Sink, kind=st.sampled_from(["loss", "gradient"]), name=text, stats=tensors,
            source=st.none() | st.integers(-2, 5),
        ),
        max_size=3,
    ).map(tuple),
    unseen=st.lists(text, max_size=2).map(tuple),
)
windows = st.lists(numbers, max_size=70).flatmap(
    lambda values: st.builds(
        Window, series=text, steps=st.just(tuple(range(len(values)))), values=st.just(tuple(values))
    )
)
experiments = st.builds(
    Experiment, change=text, outcome=text, control=text, placebo=text, steps=st.integers(0, 10**6), seconds=st.floats(0, 1e6),
    placebo_change=text, note=text, replays=st.integers(0, 10**6),
)
trials = st.builds(
    Trial, change=text, status=st.sampled_from(["finite", "failed", "ended", "broken", "not_run"]), steps=st.integers(0, 10**9),
    symptom=text, step=st.integers(-1, 10**9), losses=st.lists(numbers, max_size=70).map(tuple), seconds=st.floats(0, 1e6), note=text,
    stride=st.integers(1, 10**4),
)
remedies = st.builds(
    Remedy, remedy=text, title=text, applicability=st.sampled_from(["safe", "unsafe", "display-only"]),
    causes=st.lists(text, max_size=2).map(tuple), reason=text, cost=text,
    verdict=st.sampled_from(["verified", "refused", "failed", "inconclusive", "not_tested"]),
    fix=st.none() | st.builds(Fix, diff=st.lists(text, max_size=30).map("\n".join)), trial=st.none() | trials,
)
hypotheses = st.builds(
    Hypothesis, cause=text, title=text, score=st.floats(), probability=st.floats(), location=locations,
    verdict=st.sampled_from(["confirmed", "refuted", "inconclusive", "not_reproduced", "not_tested"]),
    verdict_reason=text,
    evidence=st.lists(st.builds(Evidence, claim=text, bits=st.floats(), fact=text), max_size=3).map(tuple),
    experiments=st.lists(experiments, max_size=3).map(tuple),
)


def incidents() -> st.SearchStrategy[Incident]:
    known = ["nonfinite-loss", "nonfinite-gradient", "nonfinite-buffer", "numeric-exception"]
    detectors = st.sampled_from(known) | text
    symptoms = st.builds(
        Symptom, detector=detectors, step=st.integers(0, 10**9), series=text, value=numbers, limit=text,
        limit_source=text, names=st.lists(text, max_size=10).map(tuple),
    )
    cases = st.builds(
        Case, symptom=symptoms, origin=st.none() | origins, trace=traces,
        windows=st.lists(windows, max_size=3).map(tuple), batch_size=st.none() | counts,
        exception=st.none() | st.builds(ExceptionInfo, type=text, message=text, location=locations),
        replay=st.builds(ReplaySummary, attempts=st.integers(0, 3), not_tested=st.none() | text),
    )
    diagnoses = st.builds(
        Diagnosis, st.lists(hypotheses, max_size=4).map(tuple), st.lists(remedies, max_size=3).map(tuple), st.integers(0, 99),
        st.floats(0, 1e6),
    )
    return st.builds(
        Incident, id=text, case=cases, diagnosis=diagnoses, stopped=st.booleans(), harmless=st.booleans(),
        held=st.booleans(), hold_note=text, reproduced=st.booleans(),
    )
