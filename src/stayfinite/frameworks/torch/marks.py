"""Notices tensors that a step changed in place although nothing in its source says so.

``flat = x.reshape(-1); flat[k] = 0`` changes `x`, and a batch taken with `next` may be augmented where it lies. A repetition
that began with the changed values would be another step, and would leave the user's data changed twice. Version counters
tell: they cost a read per tensor. The first step in which it happens is not repeated; after it the tensor is copied.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from stayfinite.frameworks.torch.state import Copy
from stayfinite.rewrite.undo import Undo

ITEM = "next()"
"""Stands for the name of what `next` gave."""
FEW = 16
"""Items of a container that are looked at: a batch has a handful of tensors."""


class Marks:
    """The tensors behind `names` (values by name, containers opened once) with their versions. `passed_over`: `id` of
    tensors that others put back."""

    __slots__ = ("_marks",)

    def __init__(self, names: Iterable[tuple[str, Any]], passed_over: Container[int]) -> None:
        self._marks = [
            (name, tensor, tensor._version)
            for name, value in names
            for tensor in _tensors(value)
            if id(tensor) not in passed_over
        ]

    def content_undo(self) -> Undo:
        """An undo for the content of all of them."""
        return Copy([tensor for _, tensor, _ in self._marks]).restore

    def moved(self, kept: Container[int]) -> set[str]:
        """Names whose tensors were written since, but for those whose `id` is in `kept`."""
        return {name for name, tensor, version in self._marks if tensor._version != version and id(tensor) not in kept}


def _tensors(value: Any) -> Iterator[Tensor]:
    kind = type(value)
    if kind is Tensor:
        if not value.is_inference():
            yield value
    elif kind is tuple or kind is list or kind is dict:
        if len(value) <= FEW:
            for item in value.values() if kind is dict else value:
                if type(item) is Tensor and not item.is_inference():
                    yield item


def bound(names: Iterable[str], local_names: Mapping[str, Any], global_names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of those of `names` that are bound."""
    for name in names:
        if name in local_names:
            yield name, local_names[name]
        elif name in global_names:
            yield name, global_names[name]


def content_undo(value: Any) -> Undo:
    """An undo for the content of the tensors in `value`."""
    return Copy([*_tensors(value)]).restore
