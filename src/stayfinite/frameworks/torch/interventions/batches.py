"""The batch of a step, changed: samples replaced by others, or the values of a tensor.

A batch is bound to names, lies in containers, attributes and objects of the user's own, comes as arrays, or is cut from a table
inside the step. Instead of finding all the ways to it, every call of a torch function is looked at while the step runs: what is
handed to it and was not made by the step itself comes from outside, and the function is handed a changed copy. The user's own
tensors are never written.
"""

from __future__ import annotations

import inspect
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.interventions.matching import name_of
from stayfinite.frameworks.torch.interventions.performing import Calls, Given, Performer
from stayfinite.frameworks.torch.marks import ITEM
from stayfinite.frameworks.torch.tracing.counting import count_rows, has_time_first
from stayfinite.frameworks.torch.tracing.leaves import tensors_in
from stayfinite.records.intervention import Effect, Rows, Values

_CUTTING = frozenset({"getitem", "index_select", "narrow", "take", "gather", "stack", "cat", "concat", "tensor", "as_tensor", "asarray"})
"""Functions that cut a batch out of something larger, or build it of single samples."""
_NO_BATCH = "no tensor of the step has as many rows as its batch"
_UNEVEN = "the samples of this batch are of different sizes and lie one after the other: none can stand in the place of another"


class Substituted(Performer, ABC):
    """Hands functions changed copies of what comes from outside, where `changed` gives one."""

    def __init__(self, given: Given) -> None:
        super().__init__()
        self.given = given
        self._copies: dict[int, tuple[Any, Any]] = {}
        """`id` of what the user's code has -> itself, which must stay alive, and what functions are handed."""
        self._made = WeakTensorKeyDictionary()
        """What functions of the step gave."""
        self._own = self._state()

    def _state(self) -> frozenset[int]:
        """`id` of parameters, buffers, gradients and moments: no data."""
        subjects = self.given.subjects
        gradients = [p.grad for p in subjects.parameters if p.grad is not None]
        moments = [value for optimizer in subjects.optimizers for _, value in hold.state_tensors(optimizer)]
        return subjects.known | frozenset(map(id, (*subjects.parameters, *gradients, *moments)))

    def entered(self) -> AbstractContextManager[Any]:
        return Calls(self)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What stands for `function(*args, **kwargs)`."""
        if self.refused or torch._C._current_graph_task_id() != -1:
            return function(*args, **kwargs)
        handed = False

        def substitute(value: Any) -> Any:
            nonlocal handed
            new = self._stand_in(value)
            handed |= new is not value
            return new

        result = function(*tree_map(substitute, args), **tree_map(substitute, kwargs))
        if not handed and isinstance(result, Tensor) and not result.requires_grad and result.layout is torch.strided:
            new = self.cut(name_of(function), args, result)
            if new is not None:
                self.applied += 1
                result = new
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, Tensor) and id(one) not in self._own:
                self._made[one] = True
        return result

    def _stand_in(self, value: Any) -> Any:
        """What functions are handed for `value`."""
        if not _is_array(value):
            return value
        known = self._copies.get(id(value))
        if known is None or known[0] is not value:
            new = self.changed(value) if self._is_outside(value) else None
            if new is None:
                return value
            self.applied += 1
            if isinstance(new, Tensor):
                new = new.requires_grad_(value.requires_grad)
                self._made[new] = True
            known = self._copies[id(value)] = value, new
        return known[1]

    def _is_outside(self, value: Any) -> bool:
        if not isinstance(value, Tensor):
            return True
        return value.is_leaf and id(value) not in self._own and value not in self._made

    @abstractmethod
    def changed(self, value: Any) -> Any:
        """The changed copy of a tensor or an array that comes from outside, or ``None`` if it stays as it is."""

    def cut(self, name: str, args: tuple[Any, ...], result: Tensor) -> Tensor | None:
        """What stands for the `result` of the function `name`, none of whose arguments was changed, or ``None`` if it stays as it
        is: it may be the batch, cut out of something larger."""
        return None


def _is_array(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.layout is torch.strided
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray" and value.dtype.kind in "fiub"


class Replaced(Substituted):
    """Performs `Rows`: each of them becomes a copy of a row that stays, in turn."""

    def __init__(self, intervention: Rows, given: Given) -> None:
        super().__init__(given)
        self._size = size = intervention.size
        left = [row for row in range(size) if row not in intervention.rows]
        self._source = list(range(size))
        for place, row in enumerate(sorted(intervention.rows)):
            if left and row < size:
                self._source[row] = left[place * 7 % len(left)]
        self._time_first = has_time_first(given.subjects.roots)
        if not left:
            self.refused = "every sample of the batch would have to be replaced"
        counted = count_rows([array for one in given.window.passes for _, item in one.items for _, array in tensors_in(item, ITEM)], False)
        if counted.members is not None and counted.size == size:
            self.refused = _UNEVEN

    def rebind(self, names: dict[str, Any], items: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        if self.refused:
            return names, items
        return names, [(kind, self._listed(item)) if kind == "item" else (kind, item) for kind, item in items]

    def _listed(self, item: Any, depth: int = 0) -> Any:
        """`item` with its lists of samples (boxes, texts: what no tensor holds) in their new order."""
        if depth > 2 or type(item) not in (list, tuple, dict):
            return item
        if type(item) is dict:
            return {key: self._listed(value, depth + 1) for key, value in item.items()}
        if len(item) == self._size and not all(_is_array(one) and self._axis(one) is not None for one in item):
            self.applied += 1
            return type(item)(item[row] for row in self._source)
        return type(item)(self._listed(one, depth + 1) for one in item)

    def _axis(self, value: Any) -> int | None:
        """Along which dimension the rows of the batch run."""
        if value.ndim and value.shape[0] == self._size:
            return 0
        return 1 if self._time_first and value.ndim > 1 and value.shape[1] == self._size else None

    def _reordered(self, value: Any) -> Any:
        axis = self._axis(value)
        if axis is None:
            return None
        if isinstance(value, Tensor):
            return value.detach().index_select(axis, torch.tensor(self._source, device=value.device))
        return value.take(self._source, axis)

    def changed(self, value: Any) -> Any:
        return self._reordered(value)

    def cut(self, name: str, args: tuple[Any, ...], result: Tensor) -> Tensor | None:
        if name not in _CUTTING or not result.dim() or result.shape[0] != self._size:
            return None
        table = args[0] if args else None
        if isinstance(table, Tensor):
            if table.requires_grad or id(table) in self._own or (table.dim() and table.shape[0] == self._size):
                return None
        elif isinstance(table, (list, tuple)) and len(table) != self._size:
            return None
        return result.index_select(0, torch.tensor(self._source, device=result.device))

    def effect(self) -> Effect:
        return Effect(applied=self.applied, refused=self.refused or ("" if self.applied else _NO_BATCH))


class Changed(Substituted):
    """Performs `Values`: of tensors that are known by name, wherever they are made, or of all that models are given.

    A tensor is known by what it holds. What the step itself makes may come out otherwise where earlier steps are taken with the
    change: then it is known by the call that was seen to make it in the step as it was.
    """

    def __init__(self, intervention: Values, given: Given) -> None:
        super().__init__(given)
        self._what = intervention
        bound = dict(_named(given.named))
        # what is an expression (`table[i : i + 50]`) is reached through the name it begins with
        names = [name if name in bound else _root(name) for name in (intervention.name, *intervention.also) if name]
        self._known = [(name, bound[name].detach().clone()) for name in names if name in bound]
        missing = [name for name in names if name not in bound]
        self._by_models = not names or any(_is_argument(name, given.subjects.roots) for name in missing)
        if missing and not self._by_models:
            self.refused = f"`{missing[0]}` is no name of the code that takes the steps"

    def rebind(self, names: dict[str, Any], items: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        if not self.refused:  # of several passes each has a batch of its own
            wanted = (self._what.name, *self._what.also)
            self._known += [(name, array.detach().clone()) for name, array in _named(names) if name in wanted and not self._knows(array)]
        return names, items

    def _knows(self, value: Tensor) -> str:
        """The name under which `value` is known; empty if it is not."""
        return next((name for name, known in self._known if _is_same(value, known)), "")

    def entered(self) -> AbstractContextManager[Any]:
        stack = ExitStack()
        if self._known:
            stack.enter_context(Calls(self))
        for root in self.given.subjects.roots if self._by_models else ():
            stack.callback(root.register_forward_pre_hook(self._given_to, with_kwargs=True).remove)
        return stack

    def _given_to(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        def substitute(value: Any) -> Any:
            new = self._new(value) if isinstance(value, Tensor) and value.grad_fn is None and id(value) not in self._own else None
            self.applied += new is not None
            return value if new is None else new.requires_grad_(value.requires_grad)

        return tree_map(substitute, args), tree_map(substitute, kwargs)

    def changed(self, value: Any) -> Any:
        array = value if isinstance(value, Tensor) else torch.from_numpy(value)
        if not self._knows(array):
            return None
        new = self._new(array)
        return new if isinstance(value, Tensor) or new is None else new.numpy()

    def cut(self, name: str, args: tuple[Any, ...], result: Tensor) -> Tensor | None:
        called, births = self._knows(result), self.given.births
        if called:
            births.setdefault(called, set()).add(self._call(name, result))
        elif births and any(self._call(name, result) in births.get(one, ()) for one, _ in self._known):
            return self._new(result)
        return self.changed(result)

    def _call(self, name: str, result: Tensor) -> tuple[Any, ...]:
        """The call that made `result`: function, line, and what kind of tensor came of it."""
        spot = self.given.frames.spot(sys._getframe(3), False)
        return name, spot.line_key, result.dim(), result.dtype

    def _new(self, value: Tensor) -> Tensor | None:
        counts = self._what.how == "filled" and self._what.above and value.dtype in (torch.int64, torch.int32)
        if not (value.is_floating_point() or counts) or value.dim() == 0 or not value.numel():
            return None
        if self._what.how == "levelled":
            return _levelled(value, self._what.columns)
        with torch.no_grad():
            columns = value.detach().double().reshape(len(value), -1)
            new = _filled(columns, self._what) if self._what.how == "filled" else _scaled(columns, self._what)
            new = new.reshape(value.shape).to(value.dtype)
        return None if torch.equal(new, value) else new

    def effect(self) -> Effect:
        return Effect(applied=self.applied, refused=self.refused)


def _filled(columns: Tensor, what: Values) -> Tensor:
    """Missing elements, or as many others, as the mean of the rest of their column; (rows, columns)."""
    missing = ~torch.isfinite(columns) | (columns.abs() >= what.above if what.above else torch.zeros_like(columns, dtype=torch.bool))
    rest = ~missing
    mean = torch.where(rest, columns, 0.0).sum(0) / rest.sum(0).clamp(min=1)
    if what.others:
        free = torch.nonzero(rest.reshape(-1)).reshape(-1)
        count = min(int(missing.sum()), len(free))
        missing = torch.zeros_like(missing).reshape(-1)
        missing[free[:: max(1, len(free) // max(count, 1))][:count]] = True
        missing = missing.reshape(rest.shape)
    return torch.where(missing, mean.expand_as(columns), columns)


def _levelled(value: Tensor, columns: Sequence[int]) -> Tensor | None:
    """`value` with each of the `columns` of its last dimension at the mean of its finite elements; ``None`` if it has them not."""
    if value.dim() < 2 or not columns or value.shape[-1] <= max(columns):
        return None
    new = value.detach().clone()
    some = new[..., list(columns)].reshape(-1, len(columns)).double()
    good = torch.isfinite(some)
    mean = torch.where(good, some, 0.0).sum(0) / good.sum(0).clamp(min=1)
    new[..., list(columns)] = mean.to(new.dtype)
    return new


def _scaled(columns: Tensor, what: Values) -> Tensor:
    """Columns standardised or clipped; or, with `others`, each moved on by one row: as much changes, and the scale does not."""
    if what.others:
        return columns.roll(1, 0)
    good = torch.isfinite(columns)
    mean = torch.where(good, columns, 0.0).sum(0) / good.sum(0).clamp(min=1)
    new = torch.where(good, columns, mean)
    if what.how == "standardised":
        spread = new.std(0, correction=0)
        return (new - mean) / torch.where(spread > 0, spread, 1.0)
    middle = new.median(0).values
    spread = 1.4826 * (new - middle).abs().median(0).values
    spread = torch.where(spread > 0, spread, new.std(0, correction=0))
    return torch.minimum(torch.maximum(new, middle - 4 * spread), middle + 4 * spread)


def _is_argument(name: str, roots: Sequence[nn.Module]) -> bool:
    """True if a model calls something by `name` that it is given: what has no name of the script's own, ``model(table[rows])``."""
    for root in roots:
        with suppress(TypeError, ValueError):
            if name in inspect.signature(root.forward).parameters:
                return True
    return False


def _root(name: str) -> str:
    found = re.match(r"\w+", name)
    return found.group() if found is not None else name


def _is_same(value: Tensor, known: Tensor) -> bool:
    if value.shape != known.shape or value.dtype != known.dtype or value.device != known.device:
        return False
    return bool(torch.equal(value.detach().nan_to_num(0.125), known.nan_to_num(0.125)))


def _named(names: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Tensors and arrays by name, as traces call them."""
    for name, value in names.items():
        for path, array in tensors_in(value, name):
            if _is_array(array):
                yield path, array if isinstance(array, Tensor) else torch.from_numpy(array)
