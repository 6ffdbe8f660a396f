"""From a trace to the origin: the first operation that made harm.

"The first non-finite value" is the wrong question. A causal mask is full of infinities that no one minds, and a
function evaluated outside of its domain is harmless if nothing asks for the result. So the search goes backwards: from
the place where a non-finite value does harm (the loss, a gradient, a buffer, a parameter, a moment, an exception) along
the values it was made of, to where they began.

- A **birth** on that path is the origin; of several, the earliest.
- A **sentinel** (an infinity the author wrote) is stepped over to the call that turned it into harm: a softmax over a
  row that is masked entirely, a loss that picks a masked class, infinity minus infinity. So is a mask that was there
  before the step.
- A **leaf** (a value that was non-finite before the step) is an origin without an operation.
- A birth in **backward** is where the derivative broke; the line to change is the forward one, so the origin takes its
  place and its operands. If a `where` or a mask hid the value in forward, that line is named too.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from stayfinite.catalog.ops import op_kind
from stayfinite.records.incident import Absorbed, ExceptionInfo, Origin, Symptom
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.trace import Half, Leaf, OpCall, Phase, Sink, SinkKind, Trace

_ORDER: tuple[SinkKind, ...] = ("exception", "loss", "gradient", "buffer", "parameter", "moment")
_SINKS: dict[str, SinkKind] = {
    "numeric-exception": "exception",
    "nonfinite-loss": "loss",
    "nonfinite-evaluation": "loss",
    "nonfinite-gradient": "gradient",
    "nonfinite-buffer": "buffer",
    "nonfinite-parameter": "parameter",
    "nonfinite-moment": "moment",
    "frozen-moment": "moment",
}

_MASK_READERS = frozenset({"softmax", "log_softmax", "logsumexp", "attention", "max", "max_pool", "sort"})
"""Kinds for which minus infinity is the ordinary way to say "not this one"."""

_MIXERS = frozenset({"matmul", "conv", "rnn"})
"""Kinds that weigh and add all they are given: nobody hands them a mask."""

_LEAF_OPS = {
    "batch": "input",
    "parameter": "parameter",
    "buffer": "buffer",
    "gradient": "gradient",
    "moment": "moment",
    "scalar": "input",
    "other": "input",
}


class Localized(NamedTuple):
    """**Fields**: `origin`, or ``None`` and the `reason` in words; `path`: indices of the calls from the origin to the
    harm, in the order they ran."""

    origin: Origin | None
    reason: str
    path: tuple[int, ...] = ()


class _Graph:
    """A trace, indexed."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.calls = {call.index: call for call in trace.calls}
        self.readers: dict[int, list[int]] = {}
        for call in trace.calls:
            for source in call.sources:
                self.readers.setdefault(source, []).append(call.index)

    def ancestors(self, source: int) -> set[int]:
        """`source` and everything its value was made of: indices of calls, and negative numbers of leaves."""
        found: set[int] = set()
        waiting = [source]
        while waiting:
            node = waiting.pop()
            if node in found:
                continue
            found.add(node)
            if node in self.calls:
                waiting.extend(self.calls[node].sources)
        return found

    def between(self, node: int, region: set[int]) -> list[OpCall]:
        """The calls in `region` that the value of `node` went through, in the order they ran."""
        found: set[int] = set()
        waiting = [node]
        while waiting:
            for reader in self.readers.get(waiting.pop(), ()):
                if reader in region and reader not in found:
                    found.add(reader)
                    waiting.append(reader)
        return [self.calls[index] for index in sorted(found)]

    def leaf(self, node: int) -> Leaf:
        """The leaf that the negative number `node` stands for."""
        return self.trace.leaves[-1 - node]


def localize(trace: Trace, symptom: Symptom, exception: ExceptionInfo | None = None) -> Localized:
    """The origin of `symptom` in `trace`.

    **Arguments**: `exception`: what ended the step, if anything did; its location is used where the trace has none.
    """
    spoiled = _spoiled(trace, symptom)
    if spoiled is not None:
        return spoiled
    sinks = _choose(trace, symptom)
    if not sinks:
        if exception is not None:
            return Localized(None, f"no operation of the traced step explains {exception.type}")
        return Localized(None, "the traced step made no non-finite loss, gradient, buffer, parameter or moment")
    followed = [sink for sink in sinks if sink.source is not None]
    if not followed:
        names = ", ".join(sink.name for sink in sinks[:3])
        seen = f" (not looked into: {trace.unseen[0]})" if trace.unseen else ""
        return Localized(None, f"{sinks[0].kind} {names} became non-finite where the tracer could not look{seen}")
    graph = _Graph(trace)
    answers = [answer for sink in followed if (answer := _from_sink(graph, sink, exception)) is not None]
    if not answers:
        return Localized(None, "the non-finite values could not be followed to where they began")
    return min(answers, key=lambda answer: answer[0])[1]


def _spoiled(trace: Trace, symptom: Symptom) -> Localized | None:
    """The origin of a symptom that names state which was bad before the step computed anything: that state, at the line that
    read it first. Whatever harm it did comes after it, if it did any."""
    wanted = _SINKS.get(symptom.detector)
    if wanted not in ("parameter", "buffer", "moment"):
        return None
    for place, leaf in enumerate(trace.leaves):
        if leaf.kind == wanted and leaf.name in symptom.names:
            node = -1 - place
            sink = Sink(kind=wanted, name=leaf.name, stats=leaf.stats, source=node)
            graph = _Graph(trace)
            return _at_leaf(graph, node, sink, set(graph.calls), None)
    return None


def _choose(trace: Trace, symptom: Symptom) -> list[Sink]:
    """The sinks that `symptom` is about: of its kind and names, else of its kind, else of the first kind there is."""
    wanted = _SINKS.get(symptom.detector)
    kinds = ([wanted] if wanted in ("exception", "loss") else ["loss", wanted] if wanted else []) + list(_ORDER)
    for kind in kinds:
        found = [sink for sink in trace.sinks if sink.kind == kind]
        named = [sink for sink in found if sink.name in symptom.names]
        followed = [sink for sink in named if sink.source is not None]
        if found:
            return followed or found
    return []


def _from_sink(graph: _Graph, sink: Sink, exception: ExceptionInfo | None) -> tuple[int, Localized] | None:
    """The origin of one sink, with the position in the step where it lies."""
    assert sink.source is not None
    region = graph.ancestors(sink.source)
    calls = [graph.calls[node] for node in sorted(region) if node in graph.calls]
    leaves = [node for node in region if node < 0 and -1 - node < len(graph.trace.leaves)]
    harmful = [node for node in leaves if not _is_mask(graph, node, region)]
    births = [call for call in calls if call.born and (not call.sentinel or _spoils(graph, call, region))]
    # A call that raised over finite values has no birth before it: it is where things went wrong itself.
    if sink.kind == "exception" and not births and not harmful:
        last = graph.calls.get(sink.source)
        if last is not None:
            return last.index, _at_call(graph, last, last, sink, region, exception)
    candidates: list[tuple[int, Localized]] = []
    if harmful:
        node = min(harmful, key=lambda one: _reading(graph, one))
        candidates.append((_reading(graph, node), _at_leaf(graph, node, sink, region, exception)))
    if births:
        birth = births[0]
        candidates.append((birth.index, _at_call(graph, birth, birth, sink, region, exception)))
    if candidates:
        return min(candidates, key=lambda candidate: candidate[0])
    masks = [call.index for call in calls if call.sentinel] + [node for node in leaves if node not in harmful]
    turned = [call for node in masks if (call := _turning(graph, node, region)) is not None]
    if turned:
        first = min(turned, key=lambda call: call.index)
        return first.index, _at_call(graph, first, first, sink, region, exception)
    if masks and masks[0] in graph.calls:
        call = graph.calls[masks[0]]
        return call.index, _at_call(graph, call, call, sink, region, exception)
    if masks:
        return _reading(graph, masks[0]), _at_leaf(graph, masks[0], sink, region, exception)
    return None


def _spoils(graph: _Graph, call: OpCall, region: set[int]) -> bool:
    """True if the infinity that `call` wrote was no mask: it went into a parameter or a gradient, or it was multiplied by
    weights before anything else asked for it."""
    turned = _turning(graph, call.index, region)
    if turned is not None and turned.phase == "backward" and turned.kind == "add" and not turned.born:
        return True  # the next backward pass adds to the gradient it was written into
    reached = turned is not None and not any(one.nan for one in turned.inputs)  # a NaN that came first has another origin
    if turned is not None and reached and turned.phase != "backward" and turned.kind in _MIXERS:
        return True
    spoiled = {leaf.name for leaf in graph.trace.leaves if leaf.kind == "parameter" and leaf.stats.nonfinite}
    readers = (graph.calls[index] for index in graph.readers.get(call.index, ()) if index in region)
    return bool(spoiled) and any(one.parameter in spoiled and one.phase != "backward" for one in readers)


def _reading(graph: _Graph, node: int) -> int:
    """When leaf `node` was read first; -1 if the trace does not know."""
    return graph.leaf(node).read_by


def _is_mask(graph: _Graph, node: int, region: set[int]) -> bool:
    """True if leaf `node` holds infinities of one kind only and the call that turned it into harm is one that expects
    them: an additive attention mask kept as a buffer or handed over with the batch. What was kept and holds nothing but 0 beside
    them is a mask whoever reads it."""
    leaf = graph.leaf(node)
    if leaf.kind not in ("buffer", "batch", "other") or leaf.stats.nan or leaf.stats.posinf:
        return False
    turned = _turning(graph, node, region)
    if turned is not None and leaf.kind != "batch" and leaf.stats.min == 0.0 == leaf.stats.max:
        return True
    return turned is not None and turned.kind in _MASK_READERS


def _turning(graph: _Graph, node: int, region: set[int]) -> OpCall | None:
    """The call that turned the infinities of `node` into harm: the first that made a NaN of them, else the first that
    reduced or selected from them, else the last they went through."""
    through = graph.between(node, region)
    for call in through:
        if call.output is not None and call.output.nan and call.inputs and not any(one.nan for one in call.inputs):
            return call
    for call in through:
        kind = op_kind(call.kind)
        reduces = call.output is not None and call.output.size < max(
            (one.size for one in call.inputs if one.nonfinite), default=0
        )
        if kind.has("loss") or (reduces and kind.name not in _MASK_READERS):
            return call
    return through[-1] if through else None


def _hidden(graph: _Graph, node: int) -> Location | None:
    """The line that hid the non-finite value of `node`, a forward call or a leaf, from the rest of the forward pass."""
    seen: set[int] = set()
    waiting = [node]
    absorbing: list[OpCall] = []
    while waiting:
        for reader in graph.readers.get(waiting.pop(), ()):
            one = graph.calls[reader]
            if reader in seen or one.phase in ("backward", "optimizer"):
                continue
            seen.add(reader)
            if one.absorbed:
                absorbing.append(one)
            else:
                waiting.append(reader)
    if not absorbing:
        return None
    return min(absorbing, key=lambda one: one.index).location


def _path(graph: _Graph, node: int, region: set[int]) -> tuple[int, ...]:
    own = (node,) if node >= 0 else ()
    return (*own, *(call.index for call in graph.between(node, region)))


def _at_call(
    graph: _Graph, call: OpCall, shown: OpCall, sink: Sink, region: set[int], exception: ExceptionInfo | None
) -> Localized:
    """The origin at an operator call."""
    path = _path(graph, call.index, region)
    phase: Phase = call.phase
    parameter = call.parameter
    absorbed: Location | None = None
    kind: Absorbed = "value"
    if call.phase == "backward":
        forward = graph.calls.get(call.forward)
        if forward is not None:
            shown = forward
            parameter = forward.parameter or parameter
            absorbed = (
                _hidden(graph, forward.index) if forward.output is not None and forward.output.nonfinite else None
            )
        gate = graph.calls.get(call.gate)
        if absorbed is None and gate is not None and gate.location != shown.location:
            absorbed, kind = gate.location, "gradient"
    elif call.phase in ("forward", "loss") and sink.kind != "exception":
        absorbed = None if _loss_is_bad(graph) else _hidden(graph, call.index)
        if absorbed is not None and sink.kind == "gradient":
            phase = "backward"
    location = shown.location
    if not location.file and exception is not None:
        location = exception.location
    origin = Origin(
        phase=phase,
        op="optimizer_update" if phase == "optimizer" and shown.kind != "unscale" else shown.kind,
        native_op=shown.native_op,
        location=location,
        module=shown.module or call.module,
        parameter=_parameter(call, parameter, sink),
        buffer=sink.name if sink.kind == "buffer" and _only(graph, "buffer") else None,
        samples=call.samples or shown.samples,
        inputs=shown.inputs or call.inputs,
        output=call.output or shown.output,
        absorbed_at=absorbed,
        scalars=shown.scalars or call.scalars,
        absorbed=kind,
    )
    return Localized(origin, "", path)


def _parameter(call: OpCall, parameter: str | None, sink: Sink) -> str | None:
    """The parameter an origin names: the one the call works on; for an update, the one that went bad by it."""
    if call.phase == "optimizer" and parameter is None and sink.kind in ("parameter", "moment"):
        return sink.name.rpartition(" of ")[2]
    return parameter


def _loss_is_bad(graph: _Graph) -> bool:
    return any(sink.kind == "loss" for sink in graph.trace.sinks)


def _only(graph: _Graph, kind: SinkKind) -> bool:
    return all(sink.kind == kind for sink in graph.trace.sinks)


def _inside(trace: Trace, location: Location) -> Half | None:
    """The half of a custom function that `location` lies in, of those that made non-finite numbers of finite ones."""
    names = {f"{used.name.rpartition('.')[2]}.{used.half}": used.half for used in trace.functions}
    return next((half for name, half in names.items() if location.function.endswith(name)), None)


def _at_leaf(graph: _Graph, node: int, sink: Sink, region: set[int], exception: ExceptionInfo | None) -> Localized:
    """The origin at a value that was non-finite before the step computed anything."""
    leaf = graph.leaf(node)
    # Others may have read it before, to print it or to test it; the place to name is on the way to the harm.
    reader = next(iter(graph.between(node, region)), None) or graph.calls.get(leaf.read_by)
    phase: Phase = "load" if leaf.kind in ("parameter", "buffer", "gradient", "moment") else "data"
    op = _LEAF_OPS[leaf.kind]
    if leaf.kind == "scalar" and reader is not None and reader.phase == "optimizer":
        phase, op = "optimizer", "learning_rate" if leaf.name == "lr" else "optimizer_update"
    location = reader.location if reader is not None else UNKNOWN_LOCATION
    half = _inside(graph.trace, location) if leaf.kind == "other" else None
    if half is not None:  # made outside the framework, by a kernel: no data, though nothing saw it being made
        phase, op = half, "custom"
    if not location.file and exception is not None:
        location = exception.location
    name = leaf.name
    named = name.rpartition(" of ")[2] if leaf.kind == "moment" else name
    origin = Origin(
        phase=phase,
        op=op,
        native_op=reader.native_op if reader is not None else "",
        location=location,
        module=reader.module if reader is not None else None,
        parameter=named if leaf.kind in ("parameter", "gradient", "moment") else None,
        buffer=name if leaf.kind == "buffer" else None,
        samples=leaf.samples or next((call.samples for call in graph.between(node, region) if call.samples), ()),
        inputs=(msgspec.structs.replace(leaf.stats, name=name),),
        output=reader.output if reader is not None else None,
        absorbed_at=_hidden(graph, node) if sink.kind == "gradient" and not _loss_is_bad(graph) else None,
    )
    return Localized(origin, "", _path(graph, node, region))
