"""Looks back from a located origin: indices in the data set, columns, and who made a value that was bad before the step."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import msgspec
import numpy as np
from torch import Tensor

from stayfinite import shield
from stayfinite.frameworks.torch import describe
from stayfinite.frameworks.torch.lookback.columns import bad_columns
from stayfinite.frameworks.torch.lookback.deliveries import Deliveries, Delivery
from stayfinite.frameworks.torch.lookback.indices import Found, Item, containers, cut_by_hand, items_of, size_of
from stayfinite.frameworks.torch.lookback.rereading import read_again, wanted_for, wanted_of
from stayfinite.frameworks.torch.passes import Scene
from stayfinite.frameworks.torch.tracing.leaves import tensors_in
from stayfinite.records.incident import Case, Origin
from stayfinite.records.location import UNKNOWN_LOCATION
from stayfinite.records.survey import Birth
from stayfinite.records.tensor import TensorStats
from stayfinite.rewrite.births.second_run import Program, Wanted, affordable, find
from stayfinite.rewrite.births.sight import array_of, bad_part, is_array, is_bad
from stayfinite.rewrite.births.slicing import slice_back
from stayfinite.rewrite.project import is_user_file

LONE_ROW = 1e3
"""How many times a typical row the largest one must be to be looked for as the fault of the data: as `catalog.scales.outlier`."""
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))) + os.sep
MOST_ROWS = 16
"""Guilty rows whose items are named."""


class LookBack:
    """Asked once per incident. `program`: what ran, for a second run; ``None`` where there can be none."""

    def __init__(self, relative: Callable[[str], str], program: Program | None) -> None:
        self.deliveries = Deliveries()
        self._relative = relative
        self._program = program
        self._started = time.monotonic()
        self.setup: float | None = None
        """Seconds from the beginning to the first step."""
        self.passes = 0
        """Passes of step blocks so far."""

    def note_pass(self) -> None:
        """A pass of a step block begins."""
        self.passes += 1
        if self.setup is None:
            self.setup = time.monotonic() - self._started

    def __call__(self, case: Case, scene: Scene, seconds: float) -> Case:
        """`case` with what could be found out about its data within `seconds`."""
        if case.origin is None:
            return case
        found = case
        with shield.shielded("looking back at the data", "incidents are told without it"):
            found = _Looking(self, case, case.origin, scene, seconds).look()
        return found

    # -- what one looking needs ----------------------------------------------------------------------------------

    @property
    def last(self) -> list[Delivery]:
        """The last batches of loaders, newest first."""
        return list(reversed(self.deliveries.last))

    @property
    def relative(self) -> Callable[[str], str]:
        """The spelling of paths in records."""
        return self._relative

    def second_run(self, wanted: Wanted, seconds: float) -> Birth | str:
        """Who made `wanted`, asked of a second run where that is worth its time."""
        if self._program is None:
            return "there is no script that could be run again"
        spent = time.monotonic() - self._started
        given = affordable(spent, seconds)
        if given:  # it goes as far as the step: what a loop or a generator makes later is seen as well
            wanted = msgspec.structs.replace(wanted, passes=max(wanted.passes, self.passes - 1))
        else:
            spent = self.setup or 0.0
            given = affordable(spent, seconds)
        if not given:
            return f"a second run is not worth trying: the script took {spent:.0f} s to get here"
        return find(self._program, wanted, given)


class _Looking:
    """One case that is looked back from."""

    def __init__(self, back: LookBack, case: Case, origin: Origin, scene: Scene, seconds: float) -> None:
        self._back = back
        self._case, self._origin, self._scene = case, origin, scene
        self._names = _names_round(scene.frame)
        self._own = {name: value for name, value in scene.frame.f_locals.items() if name in scene.block.stored}
        self._ends = time.monotonic() + seconds
        self._limit = math.inf

    def look(self) -> Case:
        origin = self._origin
        in_data = origin.phase == "data" and origin.op == "input"
        rows: tuple[int, ...] = origin.samples
        batch = self._named_as(origin.inputs[0]) if in_data and origin.inputs else None
        outlier = None if in_data else _lone_row(self._case, rows)
        if outlier is not None:
            self._limit = abs(_largest(outlier)) / 2
            rows, batch = rows or (outlier.absmax_index[0],), self._named(outlier.name)
            in_data = True
        if not in_data and not rows:
            return self._case
        if batch is None and not in_data:
            batch = self._rows_of_size()
        size = self._case.batch_size
        whole = in_data and self._is_whole(batch, size)
        delivery = self._delivery(batch) if not whole or not isinstance(batch, Tensor) or self._held(batch) else None
        items = items_of(delivery, rows[:MOST_ROWS]) if delivery is not None else []
        cut = None
        if delivery is None and is_array(batch) and not whole:
            cut = self._cut(batch, rows)
        indices = tuple(item.inner for item in items) or (cut.indices if cut is not None else ())
        if not indices and delivery is None and len(chosen := self._case.trace.chosen) == size and size:
            indices = tuple(chosen[row] for row in rows if row < size)
        shown = batch
        if whole and delivery is None:  # the step itself cuts its samples from all of the data
            indices, cut = indices or self._rows_used(batch), Found(self._name_of(batch), batch, ())
            shown = array_of(batch)
            shown = shown[list(indices)] if indices and shown is not None else shown
        columns = bad_columns(shown, self._limit, self._places(delivery)) if in_data and is_array(shown) else ()
        birth = self._birth(batch, delivery, items, cut, rows) if in_data else None
        if origin.samples and len(indices) > len(origin.samples):
            indices = ()  # of all the data, and which of them this step read is not known
        changed = msgspec.structs.replace(origin, dataset_indices=indices, columns=columns, birth=birth)
        return msgspec.structs.replace(self._case, origin=changed)

    def _named(self, path: str) -> Any:
        """The array or tensor that `path` leads to among the names of the step."""
        for space in (self._own, self._names):
            for name, value in space.items():
                if path == name or path.startswith((f"{name}[", f"{name}.")):
                    for found, part in tensors_in(value, name):
                        if found == path:
                            return part
        return None

    def _named_as(self, stats: TensorStats) -> Any:
        """What `stats` was taken of; of something that was made inside of a line and has no name, what the line called it."""
        known = self._named(stats.name)
        if known is not None:
            return known
        alike = [value for value in self._own.values()
                 if isinstance(value, Tensor) and tuple(value.shape) == stats.shape and value.is_floating_point()
                 and int((~value.isfinite()).sum()) == stats.nonfinite]
        return alike[0] if len(alike) == 1 and stats.nonfinite else None

    def _rows_of_size(self) -> Any:
        """A tensor of the step's own with a row for each sample."""
        size = self._case.batch_size
        named = describe.tensors_of(self._own)
        parts = [part for name, value in named.items() for _, part in tensors_in(value, name)]
        fitting = [one for one in parts if one.ndim and one.shape[0] == size and getattr(one, "grad_fn", None) is None]
        return next((one for one in fitting if one.ndim > 1), fitting[0] if fitting else None)

    def _delivery(self, batch: Any) -> Delivery | None:
        """The loader's batch that `batch` belongs to: by memory; else the last one of the right size."""
        last = self._back.last
        tensors = [batch] if isinstance(batch, Tensor) else []
        tensors += [part for name, value in self._own.items() for _, part in tensors_in(value, name) if isinstance(part, Tensor)]
        for tensor in tensors:
            for one in last:
                if tensor.layout is not None and one.holds(tensor):
                    return one
        size = self._case.batch_size or (int(batch.shape[0]) if is_array(batch) and batch.ndim else 0)
        return next((one for one in last if size_of(one) == size or (one.indices is None and one.reason)), None) if size else None

    def _cut(self, batch: Any, rows: Sequence[int]) -> Found | None:
        found = cut_by_hand(batch, rows[:MOST_ROWS], self._names) if rows else None
        if found is None and rows and is_array(batch) and batch.ndim:  # a loss may be all that is left of a batch
            for part in self._own.values():
                if is_array(part) and part is not batch and part.ndim and len(part) == len(batch):
                    found = found or cut_by_hand(part, rows[:MOST_ROWS], self._names)
        return found

    def _is_whole(self, batch: Any, size: int | None) -> bool:
        """True if `batch` is no batch, but what the step cuts its batches from."""
        if not is_array(batch) or not batch.ndim:
            return False
        return len(batch) != size or all(batch is not one for one in self._own.values())

    def _held(self, tensor: Tensor) -> bool:
        return any(one.holds(tensor) for one in self._back.last)

    def _name_of(self, value: Any) -> str:
        return next((name for name, one in containers(self._names) if one is value), "?")

    def _rows_used(self, whole: Any) -> tuple[int, ...]:
        """The bad rows of `whole`; of them those that the step's own indices choose, where it has such."""
        values = array_of(whole)
        if values is None or not values.ndim:
            return ()
        bad: list[int] = np.flatnonzero(bad_part(values, self._limit).reshape(len(values), -1).any(axis=1)).tolist()
        for value in self._own.values():
            chosen = array_of(value) if is_array(value) or isinstance(value, (list, tuple)) else None
            if chosen is not None and chosen.ndim == 1 and 1 < len(chosen) < len(values) and set(chosen.tolist()) & set(bad):
                bad = [row for row in chosen.tolist() if row in set(bad)]
        return tuple(int(row) for row in bad) if len(bad) <= MOST_ROWS else ()

    def _places(self, delivery: Delivery | None) -> Mapping[str, Any]:
        """Where names of columns may be found: in the data set, in the script's names."""
        dataset = delivery.dataset() if delivery is not None else None
        inner = getattr(dataset, "dataset", None)
        return {**({"dataset": dataset} if dataset is not None else {}), **({"inner": inner} if inner is not None else {}), **self._names}

    # -- who made it ---------------------------------------------------------------------------------------------

    def _birth(
        self, batch: Any, delivery: Delivery | None, items: Sequence[Item], cut: Found | None, rows: Sequence[int]
    ) -> Birth | None:
        wanted: Wanted | None = None
        reason = "no line of the script's own was seen to make it"
        if delivery is not None and delivery.indices is not None:
            every = items_of(delivery, range(max(size_of(delivery), 1)))
            answer = read_again(delivery, items or every, every, self._back.relative, self._limit, self._names)
            if answer.birth is not None:
                return answer.birth
            wanted, reason = answer.wanted, answer.reason or reason
        elif cut is not None:
            wanted = wanted_for(cut.name, cut.container, self._names, self._limit)
        elif delivery is not None:  # its items have no numbers by which they could be read again
            wanted = wanted_of(delivery.dataset(), self._names, self._limit)
        left = self._ends - time.monotonic()
        if wanted is not None:
            found = self._back.second_run(wanted, left)
            if isinstance(found, Birth):
                return found
            here = self._scene.frame.f_code.co_filename
            sliced = slice_back(wanted.names, here, self._scene.block.line, self._names, self._back.relative, self._limit)
            if sliced is not None:
                return sliced
            reason = found
        elif is_array(batch) and is_bad(batch, self._limit):
            # nobody cut it from anything that lasts: the lines between the steps are watched up to this one
            name = self._origin.inputs[0].name if self._origin.inputs and self._limit == math.inf else "?"
            name = next((own for own, value in self._own.items() if value is batch), name)
            asked = wanted_for(name, batch, self._own, self._limit)
            if any(value is batch for value in self._own.values()):  # the step itself may have made it, from what is no tensor
                asked = msgspec.structs.replace(asked, passes=self._back.passes)
            found = self._back.second_run(asked, left)
            if isinstance(found, Birth):
                return found
            reason = found
        return Birth(location=UNKNOWN_LOCATION, how=f"who made it is not known: {reason}", searched_in="setup")


def _names_round(frame: FrameType) -> dict[str, Any]:
    """The names of the user's frames from `frame` outwards, inner ones first, and the globals of each; what called us to run
    the script is not the script."""
    found: dict[str, Any] = {}
    here: FrameType | None = frame
    while here is not None and not here.f_code.co_filename.startswith(_OURS):
        if is_user_file(here.f_code.co_filename):
            for space in (here.f_locals, here.f_globals):
                for name, value in list(space.items()):
                    found.setdefault(name, value)
        here = here.f_back
    return found


def _lone_row(case: Case, rows: Sequence[int]) -> TensorStats | None:
    """The tensor of the batch with a row a thousand times larger than a typical one, if there is one: one of `rows`, if any
    are known to be guilty."""
    found = [
        stats for stats in case.batch
        if isinstance(stats.typical_row, float) and stats.typical_row > 0 and stats.absmax_index
        and stats.shape[:1] == (case.batch_size,) and abs(_largest(stats)) >= LONE_ROW * stats.typical_row
    ]
    return next((one for one in found if not rows or one.absmax_index[0] in rows), None)


def _largest(stats: TensorStats) -> float:
    numbers = [float(one) for one in (stats.min, stats.max) if not isinstance(one, str)]
    return max(numbers, key=abs, default=0.0)


