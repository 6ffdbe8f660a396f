"""Which rows of the batch the elements of a traced step belong to.

Rows begin in the tensors of the batch, in what a model is given, and where the step itself cuts its batch out of something
larger (``X[rows]``, ``X[i : i + 32]``, a stack of single samples). From there each operator carries them on (`carrying`).
Gradients have the rows of the forward tensor they are the gradient of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch._C._functorch import is_functorch_wrapped_tensor

from stayfinite import shield
from stayfinite.frameworks.torch.stats import bad_mask, bad_rows, dense, is_bad, is_number, quietly
from stayfinite.frameworks.torch.tracing.carrying import Carried, by_position, carried
from stayfinite.frameworks.torch.tracing.drafts import Call
from stayfinite.frameworks.torch.tracing.flow import Flow, Record, covers
from stayfinite.frameworks.torch.tracing.labels import (
    MOST,
    MOST_ROWS,
    Labels,
    Pattern,
    along,
    combine,
    explain,
    of_rows,
    overlaid,
    overlaps,
    pattern_of,
    place_of,
    read,
    reduce,
)
from stayfinite.frameworks.torch.tracing.recipes import argument, outputs_of

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.tracing.leaves import Surroundings

_CUTTING = frozenset({"index", "index_select", "stack", "slice", "lift_fresh", "to_copy"})
_CHOOSING = frozenset({"index", "index_select"})
_LONGEST = 1 << 16
"""Most rows of a batch whose numbers are kept."""
_OWNED = frozenset({"parameter", "buffer", "gradient", "moment", "scalar"})


class Belonging:
    """Keeps the labels of a step's tensors in the ledger `flow`. `around` knows the size of the batch."""

    def __init__(self, flow: Flow, around: Surroundings) -> None:
        self._flow, self._around = flow, around
        self._lists: dict[tuple[int, ...], set[int]] = {}
        """Lists of row numbers: the memories they chose from, -1 among them for a list that the step made itself."""

    @property
    def chosen(self) -> tuple[int, ...]:
        """The numbers by which the step chose the rows of its batch from all of the data; empty unless there is one such list.
        One that was given with the batch has to choose from two tensors: labels choose weights as well."""
        found = [
            one for one, sources in self._lists.items()
            if len(one) == self._around.batch_size and (-1 in sources or len(sources) > 1)
        ]
        return found[0] if len(found) == 1 else ()

    # -- where rows begin ----------------------------------------------------------------------------------------

    def begin(self, part: torch.Tensor, members: torch.Tensor | None = None) -> None:
        """The rows of the batch run along the first dimension of a dense `part`, or else its second one. `members`: the row
        of each element along the first one."""
        size = self._around.batch_size
        if size is None or not 1 < size <= MOST_ROWS or self.labels(part) is not None:
            return
        if members is not None:
            labels = of_rows(members.numpy()).reshape((-1, *[1] * (part.dim() - 1)))
        elif size in part.shape[:2]:
            labels = along(size, 0 if part.shape[0] == size else 1, part.dim())
        else:
            return
        if overlaps(labels, place_of(part)):
            return
        if covers(part):
            self._note(part, labels)
        elif (found := pattern_of(labels, here := place_of(part))) is not None:
            # beside it may lie other batches, or it may be seen again, shifted: the memory as a whole has no rows
            self._flow.record(part).regions[here] = found

    def cut(self, call: Call, result: Any) -> None:
        """A call whose operands have no rows: does it cut the batch out of something larger?"""
        part = dense(result) if isinstance(result, torch.Tensor) else None
        if part is None or not part.dim() or call.module is not None or call.phase in ("backward", "optimizer"):
            return
        base, size = call.recipe.base, int(part.shape[0])
        source = dense(call.operands[0].tensor) if call.operands else None
        if source is None or source.requires_grad or self._around.kind_of(source) in _OWNED:
            return
        if base == "lift_fresh" or (base == "to_copy" and self._flow.get(source) is None):
            if size == self._around.batch_size:
                self.begin(part)
            return
        if base == "stack":
            chosen = part.dim() > 0 and size == len(call.operands)
        elif base == "slice":
            chosen = size < source.shape[0] and (source.dim() > 1 or size == self._around.batch_size)
        else:
            chosen = source.dim() > 0 and self._lists_rows(call, source, size)
        if chosen and size > 1 and self._around.note_cut(size):
            self.begin(part)

    def _note_list(self, call: Call, result: Any, *, made: bool) -> None:
        """Keep the numbers by which a call outside of models chose rows of what is no parameter."""
        source = dense(call.operands[0].tensor)
        if source is None or source.requires_grad or call.module is not None or self._around.kind_of(source) in _OWNED:
            return
        if source.dim() and isinstance(result, torch.Tensor) and self._lists_rows(call, source, int(result.shape[0])):
            numbers = dense(call.operands[1].tensor)
            if numbers is not None and numbers.numel() <= _LONGEST:
                found = tuple(int(one) % source.shape[0] for one in numbers.tolist())
                given = not made or self._around.kind_of(numbers) is not None
                self._lists.setdefault(found, set()).add(Flow.key(source) if given else -1)

    @staticmethod
    def _lists_rows(call: Call, source: torch.Tensor, size: int) -> bool:
        """True if one list of row numbers chose all rows of the result."""
        lists = [operand.tensor for operand in call.operands[1:]]
        return len(lists) == 1 and lists[0].dim() == 1 and not lists[0].dtype.is_floating_point and (
            lists[0].dtype is not torch.bool and int(lists[0].shape[0]) == size
        )

    # -- from operands to outputs --------------------------------------------------------------------------------

    def carry(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Give what `call` gave out its labels."""
        if call.phase in ("backward", "optimizer") or call.recipe.listed:
            return
        if call.recipe.view and call.recipe.base != "slice":
            return
        given = [self._of(operand.tensor) for operand in call.operands]
        if call.recipe.base in _CHOOSING and given[0] is None:
            self._note_list(call, result, made=all(one is None for one in given))
        if all(one is None for one in given):
            if call.recipe.base in _CUTTING:
                self.cut(call, result)
            return
        if call.recipe.view:
            self._note_empty(call, given, result)
            return
        names = call.recipe.written
        outputs = [operand.tensor for operand in call.operands if operand.name in names] or outputs_of(result)
        held = {Flow.key(part) for operand in call.operands if operand.name not in names and (part := dense(operand.tensor)) is not None}
        parts = [part for one in outputs if (part := dense(one)) is not None]
        found = self._carried(call, given, args, kwargs, parts)
        for part, labels in zip(parts, found, strict=False):
            # what has no rows leaves those of the place it is written to
            if labels is not None and Flow.key(part) not in held:
                self._note(part, labels)
        if call.remember is not None:
            pairs = [(dense(operand.tensor), one) for operand, one in zip(call.operands, given, strict=True)]
            for part_, labels in [*pairs, *zip(parts, found, strict=False)]:
                if part_ is not None and labels is not None and is_number(part_):
                    known = call.remember.labels.get(part_.shape)
                    call.remember.labels[part_.shape] = labels if known is None else combine(known, labels)

    def _note_empty(self, call: Call, given: Sequence[Labels | None], result: Any) -> None:
        """A slice without an element has the row of what it was cut from, if that is one: memory does not tell it."""
        part = dense(result) if isinstance(result, torch.Tensor) else None
        whole = reduce(given[0]) if part is not None and not part.numel() else None
        if part is not None and whole is not None and whole.size:
            self._flow.record(part).empty[place_of(part)] = whole.reshape([1] * part.dim())

    @staticmethod
    def _carried(
        call: Call, given: Sequence[Labels | None], args: Sequence[Any], kwargs: Mapping[str, Any],
        parts: Sequence[torch.Tensor],
    ) -> list[Labels | None]:
        try:
            wrapped = any(is_functorch_wrapped_tensor(operand.tensor) for operand in call.operands)
            one = Carried(call.func, call.recipe, call.operands, given, args, kwargs, parts)
            return by_position(one) if wrapped else carried(one)
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):
            # an operator in a form that no rule foresaw: its rows are not known, all else is
            if shield.strict():
                raise
            return [None] * len(parts)

    def _of(self, tensor: torch.Tensor) -> Labels | None:
        part = dense(tensor)
        return self.labels(part) if part is not None else None

    def labels(self, part: torch.Tensor) -> Labels | None:
        """The reduced labels of a dense `part`; ``None`` if it has none."""
        record = self._flow.get(part)
        if record is None:
            return None
        if record.empty and not part.numel():
            return record.empty.get(place_of(part))
        if record.labels is not None:
            here = place_of(part)
            if record.labels[0] == here:
                return record.labels[1]
            record.pattern = _pattern(record)
        if record.pattern is not None:
            return read(record.pattern, place_of(part))
        if not record.regions:
            return None
        here = place_of(part)
        exact = record.regions.get(here)
        begin, end = here.stretch()
        holding = [exact] if exact is not None else [
            pattern for place, pattern in record.regions.items()
            if begin >= (one := place.stretch())[0] and end <= one[1]
        ]
        return read(holding[0], here) if len(holding) == 1 else None

    def _note(self, part: torch.Tensor, labels: Labels) -> None:
        record = self._flow.record(part)
        here = place_of(part)
        if covers(part):
            record.labels, record.pattern = (here, labels), None
            return
        before = _pattern(record)
        record.labels, record.pattern = None, overlaid(labels, here, part.untyped_storage().nbytes(), before)

    def forget(self) -> None:
        """The batch has another size than was thought: nothing of what was noted holds."""
        for record in self._flow.records():
            record.pattern = record.labels = None
            record.regions.clear()
            record.empty.clear()

    # -- from elements to rows -----------------------------------------------------------------------------------

    def rows(self, part: torch.Tensor, mask: torch.Tensor) -> tuple[int, ...] | None:
        """The rows behind the elements of a dense `part` where `mask` is true; empty if all are, or some belong to none
        in particular; ``None`` if nothing is known of `part`."""
        return self.rows_like(self.labels(part), mask)

    def rows_like(self, labels: Labels | None, mask: torch.Tensor) -> tuple[int, ...] | None:
        """The same for something with known reduced `labels`."""
        return self._explained(labels, mask) if labels is not None else None

    def _explained(self, labels: Labels, mask: torch.Tensor) -> tuple[int, ...]:
        size = self._around.batch_size
        still = tuple(at for at, extent in enumerate(labels.shape) if extent == 1)
        hit = mask.cpu().numpy().any(axis=still, keepdims=True) if still else mask.cpu().numpy()
        found = explain(labels[hit])
        return found if size is not None and len(found) < size else ()

    def lone_row(self, part: torch.Tensor, values: torch.Tensor, squared: bool) -> tuple[int, ...]:
        """The one row of a finite dense `part`, which held `values`, without which a sum over it (`squared`: over its squares)
        would not have overflown its dtype; empty if there is none."""
        labels = self.labels(part)
        if labels is None or not 0 < part.numel() <= MOST:
            return ()
        sizes = values.detach().abs().cpu().to(torch.float64).numpy().reshape(-1)
        owners = np.broadcast_to(labels, tuple(part.shape)).reshape(-1)
        rows, places = np.unique(owners, return_inverse=True)
        totals = np.bincount(places, weights=sizes**2 if squared else sizes)
        worst, whole = int(totals.argmax()), float(totals.sum())
        largest = torch.finfo(part.dtype if part.is_floating_point() else torch.float32).max
        alone = whole > largest >= whole - float(totals[worst])
        found = explain(rows[worst : worst + 1]) if alone else ()
        return found if len(found) == 1 else ()

    def unreduced(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
        """The rows behind the non-finite value of a loss that adds up its elements: it is computed once more without that.
        (It is a function of its operands alone.)"""
        if "reduction" not in call.recipe.arguments or not argument(call.recipe, args, kwargs, "reduction"):
            return ()
        place = call.recipe.arguments.index("reduction")
        args = [0 if at == place else one for at, one in enumerate(args)]
        kwargs = {name: 0 if name == "reduction" else one for name, one in kwargs.items()}
        given = [self._of(operand.tensor) for operand in call.operands]
        if all(one is None for one in given):
            return ()
        with quietly():
            each = next((dense(one) for one in outputs_of(call.func(*args, **kwargs))), None)
        if each is None or not each.dim() or not is_bad(each):
            return ()
        labels = self._carried(call, given, args, kwargs, [each])[0]
        return self._explained(labels, bad_mask(each)) if labels is not None else ()


def _pattern(record: Record) -> Pattern | None:
    """The labels of a record as they lie in memory."""
    if record.pattern is None and record.labels is not None:
        return pattern_of(record.labels[1], record.labels[0])
    return record.pattern


def rows_of(belonging: Belonging, part: torch.Tensor, mask: torch.Tensor, batch_size: int | None) -> tuple[int, ...]:
    """The rows behind the elements of a dense `part` where `mask` is true, by its labels; by its shape if it has none."""
    found = belonging.rows(part, mask)
    return bad_rows(mask, batch_size) if found is None else found
