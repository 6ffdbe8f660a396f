"""The guilty item of a data set once more, read in this process under the microscope.

Random states are put back, output is muted, and what a repetition must not do is refused. An item that is finite this time
was made at random: it is read a few times more. If every item of the batch is finite, what puts them together is watched.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from stayfinite.errors import LeaveAttempt
from stayfinite.frameworks.torch.generators import generator_states
from stayfinite.frameworks.torch.lookback.deliveries import Delivery
from stayfinite.frameworks.torch.lookback.indices import Item, containers, innermost
from stayfinite.records.numbers import to_number
from stayfinite.records.survey import Birth
from stayfinite.rewrite.births.microscope import Event, Microscope, OutOfTime
from stayfinite.rewrite.births.second_run import Wanted
from stayfinite.rewrite.births.sight import array_of, bad_part, is_array, is_bad, memory_of
from stayfinite.rewrite.births.telling import tell
from stayfinite.rewrite.quiet import quiet

SECONDS = 10.0
"""Longest time for reading items again."""
DRAWS = 24
"""Readings of an item that is made at random."""
MOST_ITEMS = 512
"""Items of a batch that are read again to watch how they are put together."""


class Answer(NamedTuple):
    """A `birth`; or what was bad already and is to be looked for in the set-up (`wanted`); or a `reason` in words."""

    birth: Birth | None = None
    wanted: Wanted | None = None
    reason: str = ""


def read_again(
    delivery: Delivery, guilty: Sequence[Item], every: Sequence[Item], relative: Callable[[str], str], limit: float,
    names: Mapping[str, Any],
) -> Answer:
    """Who made the bad values of the `guilty` items. `every`: all items of their batch; `names`: those of the script."""
    dataset = delivery.dataset()
    if dataset is None or not guilty:
        return Answer(reason="the data set is gone")
    deadline = time.monotonic() + SECONDS
    back = generator_states()
    grad = torch.is_grad_enabled()
    try:
        with quiet() as silence:
            try:
                return _read(delivery, dataset, guilty, every, relative, limit, names, deadline)
            except LeaveAttempt:
                return Answer(reason=f"the item could not be read again: {silence.refused}")
            except OutOfTime:
                return Answer(reason=f"reading the item again took longer than {SECONDS:.0f} s")
            except Exception as error:
                return Answer(reason=f"reading the item again ended in {type(error).__name__}: {error}")
    finally:
        torch.set_grad_enabled(grad)
        back()


def _read(
    delivery: Delivery, dataset: Any, guilty: Sequence[Item], every: Sequence[Item], relative: Callable[[str], str], limit: float,
    names: Mapping[str, Any], deadline: float,
) -> Answer:
    first = guilty[0]
    for draw in range(DRAWS):
        with Microscope(limit, deadline) as scope:
            value = dataset[first.outer]
        if any(is_bad(part, limit) for part in _parts(value)):
            owner, _ = innermost(dataset, first.outer)
            drawn = f", in reading {draw + 1} of it: it is made at random" if draw else ""
            return _answer(scope, value, owner, f"item {first.inner} of `{type(owner).__name__}`{drawn}", relative, limit, names)
        if draw == 0 and not _draws(first, dataset):
            break
    if delivery.collate is not None and 0 < len(every) <= MOST_ITEMS:
        items = [dataset[one.outer] for one in every]
        with Microscope(limit, deadline) as scope:
            batch = delivery.collate(items)
        if any(is_bad(part, limit) for part in _parts(batch)):
            return _answer(scope, batch, None, "the items of this batch together", relative, limit, names)
    return Answer(reason=f"item {first.inner} was finite when it was read again")


def _draws(item: Item, dataset: Any) -> bool:
    """True if reading `item` draws a random number from a generator of the process."""
    before = torch.get_rng_state(), random.getstate(), _numpy_state()
    dataset[item.outer]
    return not torch.equal(before[0], torch.get_rng_state()) or before[1:] != (random.getstate(), _numpy_state())


def _numpy_state() -> tuple[bytes, int]:
    state: Any = np.random.get_state(legacy=True)
    return state[1].tobytes(), int(state[2])


def _answer(
    scope: Microscope, value: Any, owner: Any, aside: str, relative: Callable[[str], str], limit: float, names: Mapping[str, Any]
) -> Answer:
    events: list[Event] = [event for part in _parts(value) if is_bad(part, limit) for event in scope.of(part)] or scope.events[-1:]
    roots = scope.roots(events[0]) if events else []
    births = [root for root in roots if not root.foreign]
    if births:
        return Answer(birth=tell(scope, births[0], relative, "data set", aside))
    for root in roots:
        for text, held in root.held:
            if is_array(held) or isinstance(held, (list, dict, float)):
                kind = type(owner).__name__ if text.startswith("self.") and owner is not None else ""
                return Answer(wanted=wanted_for(text, held, names, limit, kind))
    held_bad = wanted_of(owner, names, limit)
    if held_bad is not None:
        return Answer(wanted=held_bad)
    return Answer(reason=f"{aside} is bad where no line of the script's own was seen to make it")


def wanted_of(dataset: Any, names: Mapping[str, Any], limit: float = math.inf) -> Wanted | None:
    """The first bad array that a data set holds itself; ``None`` if it holds none."""
    found = containers({"dataset": dataset}) if dataset is not None else ()
    return next((wanted_for(name, container, names, limit) for name, container in found if is_bad(container, limit)), None)


def wanted_for(text: str, value: Any, names: Mapping[str, Any], limit: float = math.inf, owner: str = "") -> Wanted:
    """What to look for in a second run: `value`, known as `text` here and by other names elsewhere."""
    known = [text.partition("[")[0].rpartition(".")[2]]
    place = memory_of(value)
    for name, container in containers(names):
        last = name.partition("[")[0].rpartition(".")[2]
        if memory_of(container) == place and last not in known:
            known.append(last)
    array = array_of(value)
    return Wanted(
        names=tuple(known[:8]), shape=tuple(array.shape) if array is not None else (),
        dtype=str(getattr(value, "dtype", "")).removeprefix("torch."),
        nonfinite=int(bad_part(array, limit).sum()) if array is not None else 0, owner=owner, limit=to_number(limit),
    )


def _parts(value: Any, depth: int = 4) -> Iterator[Any]:
    """The arrays and numbers of an item or batch."""
    if is_array(value) or isinstance(value, (float, int)):
        yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _parts(item, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        yield value
        for item in value:
            yield from _parts(item, depth - 1)
    elif depth and isinstance(getattr(value, "__dict__", None), dict):
        for item in vars(value).values():
            yield from _parts(item, depth - 1)
