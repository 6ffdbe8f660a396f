"""The pulse of single parameters, taken every so often: which get no gradient at all, and whether updates move any.

A norm over everything cannot see that a part of a network is dead. Each look costs one reduction per parameter, so it is
taken at a few early updates and then every fiftieth.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.engine.ports import Readings
from stayfinite.frameworks.torch import hold
from stayfinite.records.incident import Symptom

EARLY = (5, 20)
"""Updates of the first looks: what begins at zero on purpose (a branch, a warm-up) has moved by then."""
APART = 15
"""Updates between two looks that must agree, at least."""
MOST_NAMES = 10
SOURCE = "a sum of products is exactly 0 only where every term is; two looks that are at least 15 updates apart are no chance"


class Pulse:
    """`every`: updates between looks; `name`: of a parameter."""

    def __init__(self, readings: Readings, name: Callable[[Tensor], str], every: int) -> None:
        self._readings = readings
        self._name = name
        self._every = max(every, APART)
        self._silent: dict[int, tuple[int, frozenset[int]]] = {}
        self._told: set[int] = set()
        self._sums: tuple[list[int], list[float]] = [], []
        self.found: list[Symptom] = []

    def take(self) -> list[Symptom]:
        """Suspicions since the last call."""
        if not self.found:
            return []
        found, self.found = self.found, []
        return found

    def due(self, step: int) -> bool:
        """True if update number `step` is looked at."""
        return step in EARLY or (step > 0 and not step % self._every)

    def gradients(self, optimizer: Optimizer, step: int) -> None:
        """`optimizer` is about to step: which of its parameters get nothing?"""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        got = [p for p in parameters if p.grad is not None]
        largest = _largest([*hold.dense([p.grad for p in got])])  # type: ignore[list-item]
        lively = {id(p) for p, value in zip(got, largest, strict=True) if value != 0.0}
        silent = frozenset(id(p) for p in parameters) - lively
        before, known = self._silent.get(id(optimizer), (step, frozenset()))
        if step - before >= APART or not known:
            self._silent[id(optimizer)] = step, silent
        both = silent & known - self._told
        if step - before < APART or not both or not lively:
            return  # where none is lively the norm of all says so
        self._told |= both
        names = tuple(self._name(p) for p in parameters if id(p) in both)[:MOST_NAMES]
        self.found.append(Symptom("dead-gradient", step, "gradient", 0.0, "more than 0", SOURCE, names))

    def parameters(self, optimizers: list[Optimizer], step: int) -> None:
        """Updates were taken: how many of their parameters differ from the last look?"""
        parameters = [p for o in optimizers for group in o.param_groups for p in group["params"]]
        if not parameters or not any(any(hold.rates(optimizer)) for optimizer in optimizers):
            return
        identities = [id(p) for p in parameters]
        with torch.no_grad():
            sums = _sums(parameters)
        before, self._sums = self._sums, (identities, sums)
        if before[0] == identities:
            moved = sum(one != other for one, other in zip(sums, before[1], strict=True))
            self._readings.read("moved_share", step, moved / len(sums))


def _largest(tensors: list[Tensor]) -> list[float]:
    """The largest magnitude of each; one read from each device."""
    with torch.no_grad():
        found = [torch.linalg.vector_norm(t, float("inf")) if t.numel() else t.new_zeros(()) for t in tensors]
        return _read(found)


def _sums(tensors: list[Tensor]) -> list[float]:
    """A number of each that nearly always changes when an element does, which is enough for a suspicion."""
    plain = [t.detach() for t in tensors if t.layout is torch.strided and t.numel()]
    norms = [torch.linalg.vector_norm(t) for t in plain]
    return _read(norms)


def _read(scalars: list[Tensor]) -> list[float]:
    by_device: dict[torch.device, list[int]] = {}
    for place, scalar in enumerate(scalars):
        by_device.setdefault(scalar.device, []).append(place)
    numbers = [0.0] * len(scalars)
    for places in by_device.values():
        values = torch.stack([scalars[place].double() for place in places]).tolist()
        for place, value in zip(places, values, strict=True):
            numbers[place] = value
    return numbers
