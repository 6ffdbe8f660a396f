"""Parameters, buffers, moments and gradients, changed before a repeated step begins; a snapshot puts them back afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stayfinite.frameworks.torch.fresh import ONES, SEED, made_anew, vector_start
from stayfinite.frameworks.torch.interventions.performing import Given, Performer
from stayfinite.frameworks.torch.subjects import Owners
from stayfinite.records.intervention import State

_SQUARES = ("avg_sq", "square_avg", "sum")
"""How the names of moments end that are never negative."""


class _Held(NamedTuple):
    """A tensor of the state under its name, and the module that has it as `attribute`; ``None`` for what has no module."""

    name: str
    tensor: Tensor
    owner: nn.Module | None
    attribute: str


class Restated(Performer):
    """Performs `State`."""

    def __init__(self, intervention: State, given: Given) -> None:
        super().__init__()
        self._what = intervention
        self._given = given
        self._begun = False
        self._random = torch.Generator().manual_seed(SEED)
        self._named: list[_Held] = []
        self._others: list[_Held] = []
        self._stack = ExitStack()

    def _look(self) -> None:
        """Find what is meant, in the state that the step begins with."""
        names = self._what.names
        held = list(self._held())
        known = {one.name for one in held}
        missing = [name for name in names if name not in known]
        if missing:
            self.refused = f"nothing that the step begins with is called `{missing[0]}`"
        self._named = [one for one in held if not names or one.name in names]
        self._others = [one for one in held if one.name not in names]

    def _held(self) -> Iterator[_Held]:
        what, subjects = self._what.what, self._given.subjects
        owners = {
            id(tensor): (module, attribute) for root in subjects.roots for module in root.modules()
            for attribute, tensor in (*module._parameters.items(), *module._buffers.items()) if tensor is not None
        }
        if what == "moments":
            for optimizer in subjects.optimizers:
                for parameter, state in optimizer.state.items():
                    for key, value in state.items() if isinstance(state, dict) else ():
                        if isinstance(value, Tensor) and value.is_floating_point():
                            owner = subjects.parameter_names.get(id(parameter), "a parameter")
                            yield _Held(f"{key} of {owner}", value, None, key)
            return
        either = bool(self._what.names) or self._what.others  # what has a name is meant, whichever it is
        pairs = [(subjects.buffer_names.get(id(one), ""), one) for one in subjects.buffers if what == "buffers" or either]
        if what == "buffers" or either:
            yield from self._assigned()
        pairs += [(subjects.parameter_names.get(id(one), ""), one) for one in subjects.parameters if what != "buffers" or either]
        for name, tensor in pairs:
            if what == "gradients":
                if tensor.grad is not None and not tensor.grad.is_sparse:
                    yield _Held(name, tensor.grad, None, name)
            else:
                yield _Held(name, tensor, *owners.get(id(tensor), (None, name)))

    def _assigned(self) -> Iterator[_Held]:
        """Buffers that were assigned anew since the block was met first. No snapshot has them, so a copy takes their place while the
        change is performed."""
        subjects = self._given.subjects
        for prefix, root in zip(subjects.prefixes, subjects.roots, strict=True):
            for path, module in root.named_modules():
                for attribute, buffer in module._buffers.items():
                    if buffer is not None and id(buffer) not in subjects.known:
                        module._buffers[attribute] = buffer.clone()
                        self._stack.callback(module._buffers.__setitem__, attribute, buffer)
                        yield _Held(f"{prefix}{path}{'.' if path else ''}{attribute}", module._buffers[attribute], module, attribute)

    def entered(self) -> AbstractContextManager[Any]:
        stack = self._stack
        if self._what.how in ("frozen", "thawed"):
            self._look()
            for one in self._named:
                if one.tensor.is_leaf and one.tensor.requires_grad != (self._what.how == "thawed"):
                    stack.callback(one.tensor.requires_grad_, one.tensor.requires_grad)
                    one.tensor.requires_grad_(self._what.how == "thawed")
                    self.applied += 1
        elif self._what.how == "adopted":
            self._look()
            self._adopt(stack)
        return stack

    def _adopt(self, stack: ExitStack) -> None:
        """Give what is meant, and no optimizer has, to the first of them."""
        optimizers = self._given.subjects.optimizers
        alone = [one.tensor for one in self._named if one.tensor.requires_grad and id(one.tensor) not in Owners(optimizers)]
        if optimizers and alone:
            optimizers[0].add_param_group({"params": alone})
            stack.callback(optimizers[0].param_groups.pop)
            self.applied += len(alone)

    def rebind(self, names: dict[str, Any], items: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        if not self._begun:  # and not earlier: what a pass is given back may be the state itself
            self._begun = True
            # in a run gradients are changed after its updates, not between micro-batches
            if not self.living or self.fresh or self._what.what != "gradients":
                self._look()
                self._change()
        return names, items

    def after_step(self, optimizer: Optimizer) -> None:
        if self._what.what == "gradients" and not self.refused:  # where several steps are repeated: before each of them
            self._look()
            self._change()

    def _change(self) -> None:
        how = self._what.how
        with torch.no_grad():
            left = sum(self._count_bad(one) for one in self._named)
            for one in self._others if self._what.others else self._named:
                tensor = one.tensor.detach()
                if self.refused or not tensor.is_floating_point() or tensor.layout is not torch.strided or not tensor.numel():
                    continue
                if how == "mended" and self._what.others:
                    left -= self._some_fresh(one, left)
                elif how == "mended":
                    self._mend(one)
                elif how == "zeroed":
                    self.applied += int(torch.count_nonzero(tensor))
                    tensor.zero_()
                elif how in ("redrawn", "scaled-draw", "shuffled"):
                    new = self._shuffled(tensor) if how == "shuffled" else self._drawn(one, plainly=how == "scaled-draw")
                    self.applied += int((new != tensor).sum())
                    tensor.copy_(new)

    def _mend(self, one: _Held) -> None:
        tensor = one.tensor.detach()
        bad = self._is_bad(one)
        count = int(bad.sum())
        if count:
            if self._what.what == "buffers" and not tensor[~bad].any():  # what was divided by an infinity is 0 for that alone
                bad = torch.ones_like(bad)
            self.applied += count
            tensor.copy_(torch.where(bad, self._fresh(one), tensor))

    def _is_bad(self, one: _Held) -> Tensor:
        tensor = one.tensor.detach()
        bad = ~torch.isfinite(tensor)
        if self._what.above:
            bad |= tensor.abs() >= self._what.above
        squares = one.attribute.endswith(_SQUARES) if self._what.what == "moments" else "var" in one.attribute
        return bad | (tensor < 0) if squares and not isinstance(one.tensor, nn.Parameter) else bad

    def _count_bad(self, one: _Held) -> int:
        return int(self._is_bad(one).sum()) if one.tensor.is_floating_point() else 0

    def _some_fresh(self, one: _Held, most: int) -> int:
        """At most `most` elements of a sound tensor become what is fresh there; returns how many."""
        tensor = one.tensor.detach()
        if most <= 0 or self._count_bad(one):
            return 0
        flat = torch.zeros(tensor.numel(), dtype=torch.bool, device=tensor.device)
        flat[:most] = True
        count = min(most, tensor.numel())
        tensor.copy_(torch.where(flat.reshape(tensor.shape), self._fresh(one), tensor))
        self.applied += count
        return count

    def _fresh(self, one: _Held) -> Tensor:
        """What a fresh model or optimizer has there."""
        if self._what.what == "moments":
            return torch.zeros_like(one.tensor)
        if isinstance(one.tensor, nn.Parameter) or one.tensor.requires_grad:
            return self._drawn(one, plainly=False)
        made = made_anew(one.owner, one.attribute, one.tensor)
        if made is not None:
            return made
        finite = one.tensor[~self._is_bad(one)]
        mean = float(finite.double().mean()) if finite.numel() else 0.0
        if mean == 0.0:  # weights of which one was infinite: brought to a sum of 1, the others are 0
            mean = float(any(part in one.attribute for part in ONES))
        return torch.full_like(one.tensor, mean)

    def _drawn(self, one: _Held, *, plainly: bool) -> Tensor:
        """`one` drawn again, as its layer's class does it; where that is not known, with a deviation of 1/sqrt(fan in), `plainly` with
        sqrt(2/fan in), vectors of normalising layers and biases as they begin."""
        tensor = one.tensor.detach()
        made = None if plainly else made_anew(one.owner, one.attribute, tensor)
        made = vector_start(one.owner, one.attribute, tensor) if made is None else made
        if made is not None:
            return made
        fan_in = tensor[0].numel() if tensor.dim() > 1 else tensor.numel()
        gain = 2.0 if plainly else 1.0  # He et al. 2015, arXiv:1502.01852: half-linear units pass on half of it; others bear it
        drawn = torch.randn(tensor.shape, generator=self._random) * math.sqrt(gain / max(fan_in, 1))
        return drawn.to(tensor.device, tensor.dtype)

    def _shuffled(self, tensor: Tensor) -> Tensor:
        order = torch.randperm(tensor.numel(), generator=self._random).to(tensor.device)
        return tensor.reshape(-1)[order].reshape(tensor.shape)

