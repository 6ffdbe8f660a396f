"""Who made a value, which parameters it depends on, and where that dependence was cut.

Values travel through views, so what is known is kept per storage, not per tensor; `Flow` keeps the identity of a storage
from being used again.
"""

from __future__ import annotations

import torch

from stayfinite.frameworks.torch.stats import dense, is_number
from stayfinite.frameworks.torch.tracing.drafts import Call
from stayfinite.frameworks.torch.tracing.flow import Flow
from stayfinite.frameworks.torch.tracing.frames import Spot
from stayfinite.frameworks.torch.tracing.recipes import outputs_of
from stayfinite.frameworks.torch.tracing.units import kind_of_activation

_CARRYING = frozenset({"move", "cast"})
_AVERAGING = frozenset({"mean", "sum", "index"})
_ONE_SIDED = frozenset({"relu", "softplus", "logsigmoid"})
_TWO_SIDED = frozenset({"sigmoid", "tanh"})
"""A softmax is left out: what is summed over a part of it is no softmax any more."""


class Made:
    """Who made the values in one piece of memory. `behind`: bits of the parameters they depend on; `cut`: the place where
    that dependence was cut, if a gradient cannot come back to here; `over`: extent it normalises over; `given`: what its
    first operand was made by."""

    __slots__ = ("behind", "cut", "given", "index", "kind", "over", "spot")

    def __init__(self, kind: str, spot: Spot | None, index: int, behind: int, given: Made | None) -> None:
        self.kind, self.spot, self.index, self.behind, self.given = kind, spot, index, behind, given
        self.cut: Cut | None = None
        self.over = 0


class Cut:
    """A call behind which no gradient comes back. `behind`: bits of the parameters that were cut off, as far as what came
    after it was used."""

    __slots__ = ("behind", "call", "kind")

    def __init__(self, call: Call, kind: str) -> None:
        self.call, self.kind, self.behind = call, kind, 0


class Provenance:
    """**Arguments**: `flow`; `bits`, of each parameter's storage.

    **Fields**: `read`: bits of the parameters that a forward call read; `cuts`: in the order they were made.
    """

    def __init__(self, flow: Flow, bits: dict[int, int]) -> None:
        self._flow = flow
        self._bits = bits
        self._made: dict[int, Made] = {}
        self._detached: dict[int, Cut] = {}
        self.read = 0
        self.cuts: list[Cut] = []

    def of(self, part: torch.Tensor) -> Made | None:
        """Who made the values of a dense `part`."""
        return self._made.get(self._flow.key(part))

    def saw(self, call: Call, result: object) -> Made | None:
        """A forward call ran. **Returns** who made its first operand."""
        behind, alive, given, cut = self._read_operands(call)
        kind = call.recipe.kind
        if call.recipe.view and not call.recipe.written:
            if call.recipe.base == "detach" and behind and call.operands:
                part = dense(call.operands[0].tensor)
                if part is not None:
                    self._flow.record(part)
                    self._detached[self._flow.key(part)] = self._cut(call, "detach")
            return given
        for tensor in outputs_of(result):
            part = dense(tensor)
            if part is None:
                continue
            self._flow.record(part)
            made = self._made[self._flow.key(part)] = self._maker(call, kind, behind, given, tensor)
            if behind and not (alive and is_number(tensor)):
                made.cut = cut or self._cut(call, kind)
        return given

    def _maker(self, call: Call, kind: str, behind: int, given: Made | None, tensor: torch.Tensor) -> Made:
        if kind in _CARRYING and given is not None and is_number(tensor):
            made = Made(given.kind, given.spot, given.index, behind, given.given)
            made.over = given.over
            return made
        return Made(kind_of_activation(call) or kind, call.spot, call.index, behind, given)

    def _read_operands(self, call: Call) -> tuple[int, bool, Made | None, Cut | None]:
        """What the operands depend on, whether a gradient can come back through one, who made the first, and where the
        dependence of the others was cut."""
        behind, alive = 0, False
        first: Made | None = None
        cut: Cut | None = None
        enabled = torch.is_grad_enabled()
        for operand in call.operands:
            part = dense(operand.tensor)
            if part is None:
                continue
            key = self._flow.key(part)
            bit = self._bits.get(key, 0)
            made = self._made.get(key)
            self.read |= bit
            first = first or (made if made is not None else Made("parameter", None, -1, bit, None) if bit else None)
            depends = bit | (made.behind if made is not None else 0)
            if depends and operand.tensor.requires_grad and enabled:
                alive = True
            elif depends and (made is None or not operand.tensor.requires_grad):
                found = (made.cut if made is not None else None) or self._detached.get(key)
                if found is not None:
                    found.behind |= depends
                    cut = cut or found
            behind |= depends
        return behind, alive, first, cut

    def _cut(self, call: Call, kind: str) -> Cut:
        cut = Cut(call, kind)
        self.cuts.append(cut)
        return cut


def last_limit(made: Made) -> Made:
    """Who limited the range of what `made` made, where averages and sums since keep what it gives on one side or between its
    limits; else `made` itself."""
    found: Made | None = made
    summed = False
    for _ in range(6):
        if found is None:
            break
        if found.kind in _ONE_SIDED or (found.kind in _TWO_SIDED and not summed):
            return found
        if found.kind not in _AVERAGING:
            break
        summed = summed or found.kind == "sum"
        found = found.given
    return made


def was_convolved(made: Made | None) -> bool:
    """True if a convolution is among the last operators a value went through: its dimension 1 counts channels."""
    for _ in range(6):
        if made is None:
            return False
        if made.kind == "conv":
            return True
        made = made.given
    return False
