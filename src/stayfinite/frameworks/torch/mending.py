"""State that is not finite by itself: found, and its bad elements replaced."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.fresh import SEED, made_anew, vector_start
from stayfinite.frameworks.torch.history.kept import Kept
from stayfinite.frameworks.torch.looks import Known, Looks, harmful
from stayfinite.frameworks.torch.passes import Scene
from stayfinite.frameworks.torch.subjects import Subjects

NAMED = 3


@dataclass(frozen=True)
class Spoiled:
    """A tensor of the state that is not finite. `what`: ``"parameter"``, ``"buffer"`` or ``"moment"``; `of`: the parameter a
    moment belongs to; `module`: the one a parameter or a buffer belongs to, with its `name` there."""

    what: str
    tensor: Tensor
    told: str
    module: nn.Module | None = None
    name: str = ""
    of: Tensor | None = None


class Mending:
    """`looks` knows which tensors were never finite and need not be; `name` gives a tensor's name."""

    def __init__(self, looks: Looks, name: Callable[[Tensor], str]) -> None:
        self._looks = looks
        self.name = name

    def of_pass(self, scene: Scene) -> list[Spoiled]:
        """Everything in the state that a pass works on that is not finite and has to be."""
        return self._look(scene.subjects, self._looks.known.get(scene.block.id), by_hand=scene.window.by_hand)

    def latest(self) -> list[Spoiled]:
        """The same of the pass that ran last."""
        known = self._looks.latest
        return self._look(known.subjects, known, by_hand=False) if known is not None else []

    def _look(self, subjects: Subjects, known: Known | None, *, by_hand: bool) -> list[Spoiled]:
        meant = known.passed_over if known is not None else set()
        statistics = known.statistics if known is not None else set()
        owned = subjects.owned if subjects.optimizers and not by_hand else subjects.known
        homes = _homes(subjects)
        found = [
            Spoiled("parameter", p.detach(), self.name(p), *homes.get(id(p), (None, "")))
            for p in subjects.parameters if id(p) in owned and id(p) not in meant and _bad(p)
        ]
        found += [
            Spoiled("buffer", b, self.name(b), *homes.get(id(b), (None, "")))
            for b in subjects.buffers if id(b) not in meant and harmful(b, statistics)
        ]
        for optimizer in subjects.optimizers:
            for parameter, state in optimizer.state.items():
                tensors = [(key, value) for key, value in state.items() if isinstance(value, Tensor)] if isinstance(state, dict) else []
                if any(_bad(value) for _, value in tensors):
                    found += [
                        Spoiled("moment", value, f"{key} of {self.name(parameter)}", of=parameter)
                        for key, value in tensors if value.is_floating_point() and value.shape == parameter.shape
                    ]
        return found

    def mend(self, spoiled: Sequence[Spoiled], kept: Sequence[Kept]) -> str:
        """Replace the bad elements of `spoiled`: of parameters and buffers by those of the newest of `kept` that has them, else
        by what their layer draws for itself; all moments of a bad element by 0. **Returns** what was done, in words."""
        told = []
        moments = [one for one in spoiled if one.what == "moment"]
        wrong: dict[int, Tensor] = {}
        for one in moments:
            bad = ~torch.isfinite(one.tensor)
            wrong[id(one.of)] = wrong[id(one.of)] | bad if id(one.of) in wrong else bad
        with torch.no_grad():
            for one in moments:
                one.tensor.masked_fill_(wrong[id(one.of)], 0.0)
            if moments:
                elements = sum(int(mask.sum()) for mask in wrong.values())
                told.append(f"the moments of {elements} elements set to 0")
            for what, plural in (("parameter", "parameters"), ("buffer", "buffers")):
                some = [one for one in spoiled if one.what == what]
                how: dict[str, list[str]] = {}
                for one in some:
                    how.setdefault(_mend(one, kept), []).append(one.told)
                told += [f"{plural if len(names) > 1 else what} {_listed(names)} {way}" for way, names in how.items()]
        return "; ".join(told)


def _mend(one: Spoiled, kept: Sequence[Kept]) -> str:
    bad = ~torch.isfinite(one.tensor)
    for state in reversed(kept):
        before = next((value for tensor, value in state.values.pairs() if tensor.data_ptr() == one.tensor.data_ptr()), None)
        if before is not None and before.shape == bad.shape and bool(torch.isfinite(before[bad]).all()):
            one.tensor[bad] = before[bad]
            return f"as before step {state.step}"
    one.tensor[bad] = fresh(one)[bad]
    return "drawn again where not finite"


def fresh(one: Spoiled) -> Tensor:
    """What a new layer of the same class has in the place of `one`; else values with the deviation of the finite ones, or
    1/sqrt(fan in) where there are none."""
    made = made_anew(one.module, one.name, one.tensor)
    if made is None and one.what == "parameter":
        made = vector_start(one.module, one.name or one.told, one.tensor)
    if made is not None:
        return made
    if one.what == "buffer":
        return torch.full_like(one.tensor, float("var" in one.name))
    finite = one.tensor[torch.isfinite(one.tensor)]
    fan_in = one.tensor[0].numel() if one.tensor.dim() > 1 else one.tensor.numel()
    deviation = float(finite.std()) if finite.numel() > 8 else 1.0 / math.sqrt(max(1, fan_in))
    drawn = torch.randn(one.tensor.shape, generator=torch.Generator().manual_seed(SEED)) * deviation
    return drawn.to(one.tensor.device, one.tensor.dtype)


def _homes(subjects: Subjects) -> dict[int, tuple[nn.Module, str]]:
    modules = [module for root in subjects.roots for module in root.modules()]
    return {
        id(tensor): (module, name)
        for module in modules
        for tensors in (module.named_parameters(recurse=False), module.named_buffers(recurse=False))
        for name, tensor in tensors
    }


def _bad(tensor: Tensor) -> bool:
    return bool(hold.nonfinite([("", tensor.detach())]))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
