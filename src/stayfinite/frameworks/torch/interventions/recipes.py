"""How the tensors of a step were made, as far as Python called torch: what a stable form needs to begin further back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stayfinite.frameworks.torch.interventions.matching import is_in_place, kinds_of, name_of

_MOST = 100_000
"""Tensors that are remembered at most."""


@dataclass(frozen=True)
class Recipe:
    """A call and what came of it; `part`: which element of a tuple of results, -1 if there is one result."""

    made: Tensor
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    part: int = -1

    @property
    def name(self) -> str:
        """What the function is called."""
        return name_of(self.function)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that it computes."""
        return kinds_of(self.function)

    def again(self, first: Any) -> Any:
        """The call with `first` in the place of its first argument."""
        if self.args:
            result = self.function(first, *self.args[1:], **self.kwargs)
        else:
            key = next(iter(self.kwargs))
            result = self.function(**{**self.kwargs, key: first})
        return result[self.part] if self.part >= 0 else result

    @property
    def first(self) -> Any:
        """The first argument."""
        return self.args[0] if self.args else next(iter(self.kwargs.values()), None)

    def argument(self, place: int, *names: str, otherwise: Any = None) -> Any:
        """An argument by its place or one of its names."""
        if place < len(self.args):
            return self.args[place]
        return next((self.kwargs[name] for name in names if name in self.kwargs), otherwise)


class Recipes:
    """Remembers calls; their operands stay alive as long as it does."""

    def __init__(self) -> None:
        self._made: dict[int, Recipe] = {}

    def note(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """`function` was called and gave `result`."""
        if is_in_place(function):
            if args and isinstance(args[0], Tensor):
                self._made.pop(id(args[0]), None)  # it is not what it was made as any more
            return
        if len(self._made) >= _MOST:
            return
        if isinstance(result, Tensor):
            self._made[id(result)] = Recipe(result, function, args, kwargs)
        elif isinstance(result, (tuple, list)):
            for part, one in enumerate(result):
                if isinstance(one, Tensor):
                    self._made[id(one)] = Recipe(one, function, args, kwargs, part)

    def of(self, value: Any) -> Recipe | None:
        """How `value` was made; ``None`` if nobody saw it."""
        known = self._made.get(id(value))
        return known if known is not None and known.made is value else None
