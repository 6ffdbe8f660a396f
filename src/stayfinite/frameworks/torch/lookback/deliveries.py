"""Remembers, for the last batches that data loaders gave, which indices they were made of.

A loader asks its sampler for the indices of a batch when it sends for it, and gives the batch later: with workers, some
batches later. Both ends are listened to (one append and one pop per batch), and the order in between is the loader's own.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import dataloader

KEPT = 32
"""Batches remembered: a prefetcher of the user's own holds some back, and windows of accumulation are short."""
_TENSORS = 8


@dataclass(frozen=True)
class Delivery:
    """One batch. `indices`: what the sampler gave for it, ``None`` where `reason` says why it is not known."""

    dataset: Callable[[], Any]
    collate: Callable[[Any], Any] | None
    indices: Any
    reason: str
    tensors: tuple[weakref.ref[Tensor], ...]
    workers: int

    def holds(self, tensor: Tensor) -> bool:
        """True if `tensor` lies in the memory of this batch."""
        place = tensor.untyped_storage().data_ptr()
        held = [one for ref in self.tensors if (one := ref()) is not None]
        return place != 0 and any(one.untyped_storage().data_ptr() == place for one in held)


class Deliveries:
    """The last batches of all loaders, newest last."""

    def __init__(self) -> None:
        self.last: deque[Delivery] = deque(maxlen=KEPT)
        self._asked: weakref.WeakKeyDictionary[Any, deque[Any]] = weakref.WeakKeyDictionary()

    def listen(self, wrap: Callable[..., None]) -> None:
        """Hook the iterators of loaders by `wrap(owner, name, before, after)`."""
        base = dataloader._BaseDataLoaderIter
        # the sampler is asked here by iterators with and without workers
        wrap(base, "_next_index", None, lambda index, own, *_args, **_kwargs: self._note_asked(own, index))
        # persistent workers serve the next epoch by the same iterator, which may have been left before its end
        wrap(base, "_reset", lambda own, *_args, **_kwargs: self._asked.pop(own, None), None)
        wrap(base, "__next__", None, lambda batch, own: self._note_given(own, batch))

    def _note_asked(self, iterator: Any, index: Any) -> None:
        waiting = self._asked.get(iterator)
        if waiting is None:
            waiting = self._asked[iterator] = deque()
        waiting.append(index)

    def _note_given(self, iterator: Any, batch: Any) -> None:
        waiting = self._asked.get(iterator)
        indices = waiting.popleft() if waiting else None
        reason = ""
        if iterator._dataset_kind == dataloader._DatasetKind.Iterable:
            indices, reason = None, "the data set is iterable: its items have no index"
        elif not getattr(iterator, "_in_order", True):
            indices, reason = None, "the loader gives batches in no fixed order (`in_order=False`)"
        dataset = iterator._dataset
        try:
            held: Callable[[], Any] = weakref.ref(dataset)
        except TypeError:  # a list, a tuple: alive as long as the iterator is
            held = _through(weakref.ref(iterator))
        tensors: list[weakref.ref[Tensor]] = []
        _collect(batch, tensors, 3)
        collate = getattr(iterator, "_collate_fn", None)
        self.last.append(Delivery(held, collate, indices, reason, tuple(tensors), getattr(iterator, "_num_workers", 0)))


def _through(iterator: weakref.ref[Any]) -> Callable[[], Any]:
    def dataset() -> Any:
        own = iterator()
        return own._dataset if own is not None else None

    return dataset


def _collect(batch: Any, found: list[weakref.ref[Tensor]], depth: int) -> None:
    if isinstance(batch, Tensor):
        if type(batch) in (torch.Tensor, torch.nn.Parameter) and len(found) < _TENSORS and batch.layout is torch.strided:
            found.append(weakref.ref(batch))
    elif depth and isinstance(batch, (list, tuple)):
        for item in batch[:_TENSORS]:
            _collect(item, found, depth - 1)
    elif depth and isinstance(batch, dict):
        for item in list(batch.values())[:_TENSORS]:
            _collect(item, found, depth - 1)
    elif depth and hasattr(batch, "__dict__"):
        for item in list(vars(batch).values())[:_TENSORS]:
            _collect(item, found, depth - 1)
