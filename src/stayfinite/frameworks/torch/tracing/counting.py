"""How many samples the batch of a step has, by the extents of its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn


class Counted(NamedTuple):
    """`size` of the batch, ``None`` if no tensor tells it; `votes` for each extent; `members`, where samples are of different
    sizes and lie one after the other: the sample of each element (shape (elements,), whole numbers from 0)."""

    size: int | None
    votes: Counter[int]
    members: torch.Tensor | None


def has_time_first(roots: Sequence[nn.Module]) -> bool:
    """True if layers of a model expect the batch along the second dimension."""
    kinds = (nn.RNNBase, nn.MultiheadAttention)
    return any(isinstance(layer, kinds) and not layer.batch_first for root in roots for layer in root.modules())


def count_rows(values: Sequence[Any], time_first: bool) -> Counted:
    """The commonest first extent of `values` (tensors and arrays), counting those with several dimensions twice. Where layers
    expect time first, an extent also counts as the second of three."""
    votes: Counter[int] = Counter()
    for value in values:
        if value.ndim and value.shape[0] > 0:
            votes[int(value.shape[0])] += 2 if value.ndim > 1 else 1
    if time_first:
        seconds = [int(value.shape[1]) for value in values if value.ndim > 2 and value.shape[0] != value.shape[1]]
        votes.update({extent: 2 * count for extent, count in Counter(seconds).items() if extent in votes})
    members = _members(values, votes)
    if members is not None:
        return Counted(int(members[-1]) + 1, votes, members)
    return Counted(max(votes, key=lambda extent: (votes[extent], extent)) if votes else None, votes, None)


def _members(values: Sequence[Any], votes: Counter[int]) -> torch.Tensor | None:
    """The list that says which sample each element belongs to, as graphs of different sizes are batched: 0, 0, 0, 1, 1, 2, ...
    up to the number of samples, with which another tensor begins; the elements themselves have several numbers each."""
    wide = {int(value.shape[0]) for value in values if value.ndim > 1}
    for value in values:
        if isinstance(value, torch.Tensor) and value.dim() == 1 and not value.dtype.is_floating_point and len(value) in wide:
            list_ = value.detach().cpu().to(torch.int64)
            last = int(list_[-1]) + 1
            if 1 < last < len(list_) and votes[last] and int(list_[0]) == 0 and bool(((list_.diff() == 0) | (list_.diff() == 1)).all()):
                return list_
    return None
