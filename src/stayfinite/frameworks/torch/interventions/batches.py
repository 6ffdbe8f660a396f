"""The batch of a step, changed: samples replaced by others, or the values of a tensor.

A batch is bound to names, lies in containers and attributes, or is cut from a table inside the step. Instead of finding all the
ways to it, every torch function that is handed one of its tensors is handed the changed copy. Arrays are met where torch
takes them over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from stayfinite.frameworks.torch.interventions.matching import kinds_of
from stayfinite.frameworks.torch.interventions.performing import Given, Performer
from stayfinite.records.intervention import Effect, Rows, Values

_NOBODY = "no tensor of the step has as many rows as its batch"


class Substituted(Performer):
    """Hands functions changed copies of the tensors for which `changed` gives one."""

    def __init__(self, given: Given) -> None:
        super().__init__()
        self.given = given
        self._copies: dict[int, tuple[Any, Any]] = {}
        """`id` of what the user's code has -> itself, which must stay alive, and what functions are handed."""

    def rebind(self, names: dict[str, Any], items: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        for name, value in (*self.given.named.items(), *names.items(), *(("", item) for kind, item in items if kind == "item")):
            for path, leaf in _leaves(name, value):
                if id(leaf) not in self._copies:
                    copy = self.changed(path, leaf)
                    if copy is not None:
                        self._copies[id(leaf)] = leaf, copy
        return names, items

    def entered(self) -> AbstractContextManager[Any]:
        return _Mode(self)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What stands for `function(*args, **kwargs)`."""
        handed = False

        def substitute(value: Any) -> Any:
            nonlocal handed
            known = self._copies.get(id(value))
            if known is None or known[0] is not value:
                return value
            handed = True
            return known[1]

        new_args, new_kwargs = tree_map(substitute, args), tree_map(substitute, kwargs)
        if handed:
            self.applied += 1
            return function(*new_args, **new_kwargs)
        result = function(*args, **kwargs)
        return self.cut(function, args, result)

    def changed(self, name: str, value: Any) -> Any:
        """The changed copy of `value`, or ``None`` if it stays as it is."""
        raise NotImplementedError

    def cut(self, function: Any, args: tuple[Any, ...], result: Any) -> Any:
        """What stands for a `result` of `function`, none of whose arguments was changed."""
        return result


class _Mode(TorchFunctionMode):
    """Hands every call to a performer."""

    def __init__(self, owner: Substituted) -> None:
        super().__init__()
        self._owner = owner

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._owner.call(func, args, kwargs or {})


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Tensors and arrays in `value`, with what they are called."""
    if isinstance(value, (list, tuple, dict)):
        if len(value) <= 64:
            for leaf in tree_leaves(value):
                if _is_array(leaf):
                    yield name, leaf
    elif hasattr(value, "__dataclass_fields__") or hasattr(value, "_asdict"):
        for field, item in vars(value).items() if hasattr(value, "__dict__") else value._asdict().items():
            if _is_array(item):
                yield f"{name}.{field}", item
    elif _is_array(value):
        yield name, value


def _is_array(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.layout is torch.strided and not value.requires_grad
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray" and value.dtype.kind in "fiub"


class Replaced(Substituted):
    """Performs `Rows`: each of them becomes a copy of a row that stays, in turn."""

    def __init__(self, intervention: Rows, given: Given) -> None:
        super().__init__(given)
        self._size = intervention.size
        left = [row for row in range(intervention.size) if row not in intervention.rows]
        self._source = list(range(intervention.size))
        for place, row in enumerate(sorted(intervention.rows)):
            if left and row < intervention.size:
                self._source[row] = left[place * 7 % len(left)]
        if not left:
            self.refused = "every sample of the batch would have to be replaced"

    def changed(self, name: str, value: Any) -> Any:
        if self.refused or value.ndim == 0 or value.shape[0] != self._size:
            return None
        if isinstance(value, Tensor):
            return value[torch.tensor(self._source, device=value.device)]
        return value[self._source]

    def cut(self, function: Any, args: tuple[Any, ...], result: Any) -> Any:
        cuts = kinds_of(function) & {"index"} and isinstance(result, Tensor) and not result.requires_grad
        if self.refused or not cuts or not isinstance(args[0], Tensor) or args[0].requires_grad or result.dim() == 0:
            return result
        if result.shape[0] != self._size or args[0].shape[0] == self._size or not self._is_table(args[0]):
            return result
        self.applied += 1
        return result[torch.tensor(self._source, device=result.device)]

    def _is_table(self, value: Tensor) -> bool:
        return value.is_leaf and id(value) not in self.given.subjects.parameter_names

    def effect(self) -> Effect:
        return Effect(applied=self.applied, refused=self.refused or ("" if self.applied else _NOBODY))


class Changed(Substituted):
    """Performs `Values`."""

    def __init__(self, intervention: Values, given: Given) -> None:
        super().__init__(given)
        self._what = intervention

    def changed(self, name: str, value: Any) -> Any:
        if (self._what.name and name != self._what.name) or not isinstance(value, Tensor) or not value.is_floating_point():
            return None
        if value.dim() == 0 or id(value) in self.given.subjects.parameter_names:
            return None
        columns = value.detach().double().reshape(len(value), -1) if value.dim() > 1 else value.detach().double().reshape(-1, 1)
        good = torch.isfinite(columns)
        mean = torch.where(good, columns, 0.0).sum(0) / good.sum(0).clamp(min=1)
        new = torch.where(good, columns, mean)
        if self._what.how == "standardised":
            spread = new.std(0, correction=0)
            new = (new - mean) / torch.where(spread > 0, spread, 1.0)
        elif self._what.how == "clipped":
            middle = new.median(0).values
            spread = 1.4826 * (new - middle).abs().median(0).values
            spread = torch.where(spread > 0, spread, new.std(0, correction=0))
            new = torch.minimum(torch.maximum(new, middle - 4 * spread), middle + 4 * spread)
        new = new.reshape(value.shape).to(value.dtype)
        return None if torch.equal(new, value) else new
