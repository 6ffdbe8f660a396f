"""From what the tracer noted to the record of a trace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from stayfinite.frameworks.torch.tracing.drafts import Draft
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.frameworks.torch.tracing.judge import Judge
from stayfinite.frameworks.torch.tracing.phase import Phases
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import CustomFunction, LossTerm, Magnitude, Sink, Trace

_WHOLE = 600
"""Up to this many calls a trace keeps every step of its paths; a longer one keeps only the places where they turn."""

_ASIDE = 100
"""Births and absorptions off the paths that are kept for what they tell beside them."""


def assemble(
    judge: Judge,
    frames: Frames,
    phases: Phases,
    sinks: Sequence[Sink],
    profile: tuple[Magnitude, ...],
    gradient_profile: tuple[Magnitude, ...],
    operations: int,
    unseen: tuple[str, ...],
    model_inputs: tuple[TensorStats, ...] = (),
    terms: tuple[LossTerm, ...] = (),
    functions: tuple[CustomFunction, ...] = (),
) -> Trace:
    """The trace of a step, with the calls that matter: those on a path to a sink, the forward calls that belong to
    their backward, and a number of births and absorptions beside them."""
    drafts = judge.drafts
    ends = {sink.source for sink in sinks if sink.source is not None}
    path = _ancestors(drafts, ends)
    partners = {drafts[index].forward for index in path if drafts[index].born} | {drafts[index].gate for index in path}
    path |= partners & drafts.keys()
    aside = [
        index for index, draft in drafts.items() if index not in path and (draft.born or draft.absorbed or draft.raised)
    ]
    path |= _ancestors(drafts, aside[:_ASIDE])
    if len(path) > _WHOLE:
        path = {
            index
            for index in path
            if not drafts[index].passes or index in ends or any(source < 0 for source in drafts[index].sources)
        }
    sources = _rewired(drafts, path)
    calls = tuple(
        msgspec.structs.replace(drafts[index].record(frames, phases, judge.around.batch_size), sources=sources[index])
        for index in sorted(path)
    )
    leaves = tuple(
        msgspec.structs.replace(leaf, read_by=judge.read_by.get(place, -1))
        for place, leaf in enumerate(judge.around.leaves)
    )
    return Trace(
        calls=calls,
        leaves=leaves,
        sinks=tuple(sinks),
        profile=profile,
        gradient_profile=gradient_profile,
        operations=operations,
        unseen=unseen,
        model_inputs=model_inputs,
        terms=tuple(
            msgspec.structs.replace(term, source=term.source if term.source in path else None) for term in terms
        ),
        flushes=judge.flushes.records(frames, phases),
        wraps=judge.wraps.records(frames, phases),
        functions=functions,
        batch_size=judge.around.batch_size,
        chosen=judge.belonging.chosen,
    )


def _ancestors(drafts: Mapping[int, Draft], ends: Iterable[int]) -> set[int]:
    """The calls that lead to the calls `ends`, these included."""
    found: set[int] = set()
    waiting = [index for index in ends if index in drafts]
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting.extend(source for source in drafts[index].sources if source in drafts)
    return found


def _rewired(drafts: Mapping[int, Draft], kept: set[int]) -> dict[int, tuple[int, ...]]:
    """The sources of each call in `kept`, followed past calls that are not kept."""
    through: dict[int, set[int]] = {}
    for index in sorted(drafts):
        found: set[int] = set()
        for source in drafts[index].sources:
            if source < 0 or source in kept:
                found.add(source)
            elif source < index:
                found |= through.get(source, set())
        through[index] = found
    return {index: tuple(sorted(through[index])) for index in kept}
