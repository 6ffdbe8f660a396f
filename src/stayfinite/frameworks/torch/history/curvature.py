"""The largest eigenvalue of a loss's Hessian, as an optimizer meets it, measured in a repeated step.

The first backward pass of the repetition is where it can be had: the graph of the loss is whole there. The gradient is
differentiated again along one direction after the other, and the steepest of their combinations is sought. Nothing of it reaches the
script: gradients are asked for without being accumulated, and its own backward pass runs afterwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch.interventions.performing import Calls, Given, Performer, begins_backward
from stayfinite.frameworks.torch.stats import quietly
from stayfinite.records.sharpness import Sharpness

DIRECTIONS, LEAST = 30, 3
"""Directions at most, and where `BYTES` allow fewer."""
FIRST = 8
"""Directions before an eigenvalue counts as the largest: a start that has next to nothing of it settles on another one."""
BYTES = 256 * 2**20
"""What the directions may take."""
SETTLED = 0.01
"""Error of the eigenvalue, as a share of it, with which it counts as found."""
SECONDS = 3.0
"""No further direction is begun after that long."""
SQUARES = {"Adam": "exp_avg_sq", "AdamW": "exp_avg_sq", "NAdam": "exp_avg_sq", "RAdam": "exp_avg_sq", "RMSprop": "square_avg"}
"""Optimizers that divide by the root of a running mean of squares, and what they call it."""

Vector = list[Tensor]


class Curvature(Performer):
    """Measures at the first backward pass, for the optimizer that has most numbers in its graph. Changes nothing."""

    def __init__(self, given: Given) -> None:
        super().__init__()
        self._optimizers = given.subjects.optimizers
        self._over = False
        self._found: _Found | None = None

    def entered(self) -> AbstractContextManager[Any]:
        return Calls(self)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`function(*args, **kwargs)`, after a look if it begins a backward pass."""
        if not self._over and begins_backward(function):
            self._over = True
            loss = args[0] if args else None
            if isinstance(loss, Tensor) and loss.numel() == 1:
                with _apart():
                    self._found = self._measured(loss)
        return function(*args, **kwargs)

    def before_step(self, optimizer: Optimizer) -> None:
        """What the script does to the gradients until here (clipping, above all) shortens the step."""
        found = self._found
        if found is None or found.kept is not None or found.optimizer is not optimizer:
            return
        with quietly():
            norm = _length([p.grad for p in found.parameters if p.grad is not None])
        found.kept = min(1.0, norm / found.norm) if found.norm > 0.0 else 1.0

    def sharpness(self, step: int) -> Sharpness | None:
        found = self._found
        if found is None or found.kept is None:
            return None
        return Sharpness(step, found.eigenvalue * found.kept, found.limit, type(found.optimizer).__name__)

    def _measured(self, loss: Tensor) -> _Found | None:
        try:
            found = [self._of(optimizer, loss) for optimizer in self._optimizers]
        except RuntimeError as reason:  # an operation that can be differentiated once only
            self.refused = str(reason).partition("\n")[0]
            return None
        return max((one for one in found if one is not None), key=lambda one: one.size, default=None)

    def _of(self, optimizer: Optimizer, loss: Tensor) -> _Found | None:
        owned = [(p, group) for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        first = optimizer.param_groups[0]
        limit = limit_of(type(optimizer).__name__, first)
        if limit is None or not owned or first.get("maximize") or any("lr" not in group for _, group in owned):
            return None
        slopes = torch.autograd.grad(loss, [p for p, _ in owned], create_graph=True, allow_unused=True)
        used = [(p, group, slope) for (p, group), slope in zip(owned, slopes, strict=True) if slope is not None and slope.requires_grad]
        if not used:
            return None
        weights = [(group["lr"] * _speed(optimizer, p, group, slope)) ** 0.5 for p, group, slope in used]
        parameters, gradients = [p for p, _, _ in used], [slope for _, _, slope in used]

        def times_hessian(direction: Vector) -> Vector:
            along = [w * d for w, d in zip(weights, direction, strict=True)]
            product = torch.autograd.grad(gradients, parameters, along, retain_graph=True, allow_unused=True)
            return [w * (torch.zeros_like(p) if h is None else h).detach()
                    for w, p, h in zip(weights, parameters, product, strict=True)]

        value, norm = largest_eigenvalue(times_hessian, parameters), _length([slope.detach() for slope in gradients])
        return _Found(optimizer, parameters, value, limit, norm) if math.isfinite(value) and math.isfinite(norm) else None


@dataclass
class _Found:
    """What was measured for one optimizer. `norm`: of the gradient of the loss; `kept`: the share of it that the update was made from,
    once that is known."""

    optimizer: Optimizer
    parameters: list[Tensor]
    eigenvalue: float
    limit: float
    norm: float
    kept: float | None = None

    @property
    def size(self) -> int:
        return sum(p.numel() for p in self.parameters)


def limit_of(kind: str, group: dict[str, Any]) -> float | None:
    """The stable limit (`Sharpness.limit`) of an optimizer of class `kind`; ``None`` if none is known for it."""
    if kind == "SGD":
        momentum, share = float(group["momentum"]), 1.0 - float(group["dampening"]) * bool(group["momentum"])
        return 2.0 * (1.0 + momentum) / (share + 2.0 * momentum * bool(group["nesterov"])) if share > 0.0 else None
    if kind == "RMSprop":
        return 2.0 * (1.0 + float(group.get("momentum", 0.0)))
    if kind in SQUARES:
        beta = float(group["betas"][0])
        return 2.0 * (1.0 + beta) / (1.0 - beta)
    return None


def _speed(optimizer: Optimizer, parameter: Tensor, group: dict[str, Any], slope: Tensor) -> Tensor | float:
    """What the optimizer multiplies each element of the gradient with, beside the rate. Before its first update the squares are
    those of this very gradient."""
    kind = type(optimizer).__name__
    if kind not in SQUARES:
        return 1.0
    state = optimizer.state.get(parameter, {})
    squares, step = state.get(SQUARES[kind]), float(state.get("step", 0))
    if squares is None or step < 1:
        squares = slope.detach().square()
    elif kind != "RMSprop":
        squares = squares / (1.0 - float(group["betas"][1]) ** step)
    return 1.0 / (squares.detach().sqrt() + max(float(group["eps"]), 1e-12))


def largest_eigenvalue(times: Callable[[Vector], Vector], like: Vector) -> float:
    """The largest eigenvalue of the symmetric matrix that `times` multiplies with, by the method of Lanczos from a fixed random start.

    `like`: tensors of the shapes, dtypes and devices of a direction. Every direction is made orthogonal to all before it, so that
    rounding invents no eigenvalues (Golub and Van Loan, Matrix Computations, 4th ed., section 10.3). The value errs downwards: by at
    most `SETTLED` of itself, unless the directions or the time were at their end.
    """
    until = time.monotonic() + SECONDS
    numbers = sum(one.numel() for one in like)
    most = min(DIRECTIONS, numbers, max(LEAST, BYTES // sum(one.nbytes for one in like)))
    random = torch.Generator().manual_seed(0)
    direction = [torch.randn(one.shape, generator=random).to(one.device, one.dtype) for one in like]
    basis: list[Vector] = []
    diagonal: list[float] = []
    beside = [_length(direction)]
    value = math.nan
    while len(basis) < most and 0.0 < beside[-1] < math.inf:
        basis.append([one / beside[-1] for one in direction])
        direction = times(basis[-1])
        diagonal.append(_product(direction, basis[-1]))
        if not math.isfinite(diagonal[-1]):
            return math.nan
        for _ in range(2):  # once leaves what rounding of the first subtraction put in
            for known in basis:
                share = _product(direction, known)
                direction = [one - share * other for one, other in zip(direction, known, strict=True)]
        beside.append(_length(direction))
        small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        for place, length in enumerate(beside[1:-1]):
            small[place, place + 1] = small[place + 1, place] = length
        values, vectors = torch.linalg.eigh(small)
        value = float(values[-1])
        settled = beside[-1] * abs(float(vectors[-1, -1])) <= SETTLED * abs(value)
        if (settled and len(basis) >= FIRST) or time.monotonic() > until:
            break
        if beside[-1] <= 1e-6 * abs(float(values.abs().max())):
            break  # nothing is left outside of these directions
    return value


def _product(one: Vector, other: Vector) -> float:
    return sum(float((a.double() * b.double()).sum()) for a, b in zip(one, other, strict=True))


def _length(vector: Vector) -> float:
    return math.sqrt(sum(float(one.double().square().sum()) for one in vector))


@contextmanager
def _apart() -> Iterator[None]:
    """A block whose operations no mode of anybody sees, in which gradients can be taken."""
    with quietly(), torch.enable_grad():
        yield
