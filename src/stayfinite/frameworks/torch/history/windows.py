"""What a window was given, kept so that it can be repeated from an earlier state: its batches, names and generators.

Only what lies outside the block is kept: what `next` gave, and names that the block reads and does not bind itself. What it
binds carries over from the repeated step before. A value that holds a graph is not kept, nor one that others may still change.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import FrameType, FunctionType, GeneratorType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from stayfinite.frameworks.torch.marks import Marks
from stayfinite.frameworks.torch.passes import Pass, Window
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.undo import Undo

OF_GENERATORS = 32 * 2**10
"""Bytes that the states of the generators of one pass take: torch's 5 kB, NumPy's 3, and 625 integers of Python's own."""
LONGEST = 512
"""Items of a container that are looked into one by one; a longer one may hold plain values only."""
_SIMPLE = frozenset({int, float, complex, str, bytes, bool, type(None)})
_PLAIN: tuple[Any, ...] = (*_SIMPLE, type, ModuleType, FunctionType)
_REFUSED = (FrameType, GeneratorType)
_DEPTH = 3


@dataclass(slots=True)
class Given:
    """What one pass was given. `names`: those the block reads and does not bind; `first`: those it binds, and reads before, as they
    were: needed where a repetition begins here. `generators`: puts their states back."""

    names: dict[str, Any]
    first: dict[str, Any]
    items: list[Any]
    generators: Undo
    marks: Marks
    nbytes: int

    def is_changed(self) -> bool:
        """True if a tensor it was given has been written since."""
        return bool(self.marks.moved(()))


@dataclass(slots=True)
class Remembered:
    """A window that took its update. `block`: id of its block; `first`: number of its first update, `last`: of the first one after
    it; `rates`: the scalars of each optimizer's groups when it began; `refused`: why it cannot be repeated, in words."""

    block: int
    first: int
    last: int
    passes: list[Given] = field(default_factory=list)
    rates: list[list[dict[str, Any]]] = field(default_factory=list)
    losses: tuple[float, ...] = ()
    refused: str = ""
    nbytes: int = 0


def remember(window: Window, block: Block, last: int) -> Remembered:
    """What there is to keep of a healthy `window` that has ended."""
    losses = window.losses
    kept = Remembered(block.id, window.first, last, rates=window.rates)
    if any(loss.tensor is not None for loss in losses):
        kept.refused = "its losses were not read yet"
    else:
        kept.losses = tuple(loss.value for loss in losses)
    for one in window.passes:
        given = _given(one, block)
        if isinstance(given, str):
            kept.refused = kept.refused or given
        else:
            kept.passes.append(given)
            kept.nbytes += given.nbytes
    return kept


def scalars_of(optimizers: Iterable[Optimizer]) -> list[list[dict[str, Any]]]:
    """Rates, momentums and the like of every group of `optimizers`."""
    return [
        [{key: value for key, value in group.items() if not isinstance(value, (list, dict, Tensor))} for group in one.param_groups]
        for one in optimizers
    ]


def _given(one: Pass, block: Block) -> Given | str:
    if one.item_undo or one.changed_unseen():
        return "what a pass was given is changed in place by it"
    saved, needed = one.saved.names, block.needed
    names: dict[str, Any] = {}
    first: dict[str, Any] = {}
    nbytes = OF_GENERATORS
    for name, value in saved.items():
        if name not in needed:
            continue
        size = size_of(value)
        if size is None:
            if name in block.bound:
                continue
            return f"`{name}` cannot be kept"
        (first if name in block.bound else names)[name] = value
        nbytes += size
    for kind, item in one.items:
        size = size_of(item) if kind == "item" else 0
        if size is None:
            return "what `next` gave cannot be kept"
        nbytes += size
    marks = Marks([*names.items(), *(("next", item) for kind, item in one.items if kind == "item")], ())
    return Given(names, first, list(one.items), one.generators, marks, nbytes)


def size_of(value: Any, depth: int = 0) -> int | None:
    """Bytes that keeping `value` keeps; ``None`` if it must not be kept: it holds a graph or a frame, or is too deep to tell."""
    if isinstance(value, _PLAIN):
        return 0
    if isinstance(value, Tensor):
        return value.nbytes if value.grad_fn is None else None
    if isinstance(value, (nn.Module, Optimizer)):
        return 0  # the block has them as well
    if isinstance(value, _REFUSED) or depth > _DEPTH:
        return None
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        items = value.values() if isinstance(value, dict) else value
        if _SIMPLE.issuperset(map(type, items)):
            return 64 * len(value)
        if len(value) > LONGEST:
            return None
        return _sum((size_of(item, depth + 1) for item in items), len(value))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return int(value.nbytes)
    inner = getattr(value, "__dict__", None)
    return _sum((size_of(item, depth + 1) for item in inner.values()), len(inner)) if isinstance(inner, dict) else None


def _sum(sizes: Iterable[int | None], count: int) -> int | None:
    total = 64 * count
    for size in sizes:
        if size is None:
            return None
        total += size
    return total
