"""How a bad value travelled: from the operation that made it, call by call, to where it does harm."""

from __future__ import annotations

from stayfinite.records.incident import Case, Origin
from stayfinite.records.trace import OpCall, Sink, Trace
from stayfinite.reporters.document import Link, Reached
from stayfinite.reporters.excerpt import relative
from stayfinite.reporters.words import nonfinite, was_there

MOST_LINKS = 40
MOST_PLACES = 20


def chain(case: Case, folder: str) -> tuple[Link, ...]:
    """The calls on the shortest recorded path from the origin to a sink; empty if the trace does not hold one.

    Where a path is longer than `MOST_LINKS`, its middle is left out.
    """
    origin = case.origin
    if origin is None:
        return ()
    calls = {call.index: call for call in case.trace.calls}
    start = None if was_there(origin.op) else _origin_call(origin, case.trace)
    if start is None and not was_there(origin.op):
        return ()
    path = next((found for sink in _ordered(case) if (found := _path(sink, calls, start))), [])
    if len(path) > MOST_LINKS:
        path = path[: MOST_LINKS // 2] + path[-MOST_LINKS // 2 :]
    return tuple(_link(calls[index], folder) for index in path)


def reached(trace: Trace) -> tuple[Reached, ...]:
    """The places where non-finite values ended up."""
    return tuple(Reached(kind=s.kind, name=s.name, value=nonfinite(s.stats)) for s in trace.sinks[:MOST_PLACES])


def bad_before(trace: Trace) -> tuple[Reached, ...]:
    """What was non-finite before the step computed anything."""
    return tuple(Reached(kind=x.kind, name=x.name, value=nonfinite(x.stats)) for x in trace.leaves[:MOST_PLACES])


def _ordered(case: Case) -> list[Sink]:
    wanted = case.symptom.detector.removeprefix("nonfinite-")
    return sorted(case.trace.sinks, key=lambda sink: sink.kind != wanted)


def _origin_call(origin: Origin, trace: Trace) -> int | None:
    at = (origin.location.file, origin.location.line)
    same_op = [c for c in trace.calls if c.phase == origin.phase and c.native_op == origin.native_op]
    for call in same_op:
        if (call.location.file, call.location.line) == at:
            return call.index
    return same_op[0].index if len(same_op) == 1 else None


def _path(sink: Sink, calls: dict[int, OpCall], start: int | None) -> list[int]:
    """Indices from `start` (or, if it is ``None``, from any call that read a bad leaf) to the call that fed `sink`."""
    if sink.source is None or sink.source not in calls:
        return []
    queue = [sink.source]
    towards: dict[int, int | None] = {sink.source: None}
    while queue:
        index = queue.pop(0)
        sources = calls[index].sources
        if index == start or (start is None and any(source < 0 for source in sources)):
            path: list[int] = []
            step: int | None = index
            while step is not None:
                path.append(step)
                step = towards[step]
            return path
        for source in sources:
            if source in calls and source not in towards:
                towards[source] = index
                queue.append(source)
    return []


def _link(call: OpCall, folder: str) -> Link:
    return Link(
        op=call.kind, native_op=call.native_op, phase=call.phase, module=call.module,
        file=relative(call.location.file, folder), line=call.location.line, code=call.location.code,
        value=nonfinite(call.output) if call.output is not None else (call.raised or ""),
    )
