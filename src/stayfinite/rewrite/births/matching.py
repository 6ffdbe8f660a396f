"""Which of the bad values a second run made is the one that was asked for, and who made it."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from stayfinite.records.survey import SearchedIn
from stayfinite.rewrite.births.microscope import Event, Microscope
from stayfinite.rewrite.births.second_run import Answer, Wanted
from stayfinite.rewrite.births.sight import array_of, bad_part
from stayfinite.rewrite.births.telling import tell

_ENOUGH = 4
"""Points from which an event is taken for the value that was asked for: a name and a shape, or shape and number."""


def match(scope: Microscope, wanted: Wanted, relative: Callable[[str], str], ended: str, set_up: int | None) -> Answer:
    """The birth of what was `wanted` among the events of `scope`. `ended`: how the second run came to its end; `set_up`: how
    many of the events lie before its first step, ``None`` for all."""
    if not scope.events:
        return Answer(reason=f"in a second run no line was seen to make such a value ({ended})")
    scored = [(_points(event, wanted), at) for at, event in enumerate(scope.events)]
    best, at = max(scored)
    if best >= _ENOUGH:
        roots = scope.roots(scope.events[at])
        births = [root for root in roots if not root.foreign] or roots
        return Answer(birth=tell(scope, births[0], relative, _when(scope, births[0], set_up)))
    alone = {(event.filename, event.line) for event in scope.events if not event.parents and not event.foreign}
    if len(alone) == 1:
        only = next(event for event in scope.events if not event.parents and not event.foreign)
        born = tell(scope, only, relative, _when(scope, only, set_up))
        return Answer(birth=msgspec.structs.replace(born, how=f"{born.how}; no other line seen made such a value"))
    return Answer(reason=f"in a second run {len(alone)} lines made such values, and none of them is known to be the one ({ended})")


def _when(scope: Microscope, event: Event, set_up: int | None) -> SearchedIn:
    return "setup" if set_up is None or any(event is one for one in scope.events[:set_up]) else "between steps"


def _points(event: Event, wanted: Wanted) -> int:
    array = array_of(event.value)
    if array is None:
        return 0
    name = event.target.partition("[")[0].rpartition(".")[2]
    points = 0
    if name in wanted.names:
        points += 3 if not wanted.owner or event.owner == wanted.owner else 2
    if wanted.shape and tuple(array.shape) == wanted.shape:
        points += 2
    if wanted.nonfinite and int(bad_part(array, math.inf if wanted.limit == "+inf" else float(wanted.limit)).sum()) == wanted.nonfinite:
        points += 2
    dtype = str(getattr(event.value, "dtype", array.dtype)).removeprefix("torch.")
    return points + int(bool(points) and dtype == wanted.dtype)
