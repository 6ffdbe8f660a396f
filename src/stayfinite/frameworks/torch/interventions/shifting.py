"""Exponentials that are divided by their own sum, computed of scores from which the largest was subtracted.

What is made of the shifted exponentials is followed as long as it carries their common factor. Where two such numbers are
divided, or a logarithm is taken and the shift added, the factor is gone and the result is that of the same function: beside
it the unshifted one is computed, and both are compared where it is finite. What does not lose the factor is no softmax.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from stayfinite.frameworks.torch.interventions.matching import kinds_of, name_of
from stayfinite.frameworks.torch.interventions.operators import Operators
from stayfinite.frameworks.torch.interventions.performing import Given
from stayfinite.frameworks.torch.stats import quietly
from stayfinite.records.intervention import Stable

_LINEAR = frozenset({"sum", "cumsum", "mean", "matmul", "move", "index", "dropout", "max", "min", "relu", "cast", "conv", "neg", "sort"})
"""Kinds that a common factor goes through."""
_CHOOSING = frozenset({"sample", "compare"})
"""Kinds whose result is the same whatever the common factor."""
_SHAPED = frozenset({"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"})
"""Functions that take a shape alone."""
_SMALL = 1e-3
"""Numbers up to which what is added is an epsilon."""
_CLOSE = 1e-2
"""How far the result may lie from that of the unshifted function where it is finite, as a share of its largest number: rounding of
float16. A share of each number would call a result another one whose smallest parts underflow in one of the two."""


class Shifted(Operators):
    """Performs `Stable` as ``"shifted-softmax"`` and ``"log-sum-exp"``; the place is that of the exponential."""

    def __init__(self, intervention: Stable, given: Given) -> None:
        super().__init__(intervention.place, given)
        self._axis = -1 if intervention.axis is None else intervention.axis
        self._whole = intervention.whole
        self._scaled: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        """`id` of a tensor with the common factor -> itself, what it would be without, and the shift."""

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._scaled and not self.refused:
            held = [known for leaf in tree_leaves((args, kwargs)) if (known := self._known(leaf)) is not None]
            if held:
                return self._follow(function, args, kwargs, held)
        return super().call(function, args, kwargs)

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scores = args[0] if args else kwargs.get("input")
        if name_of(function) not in ("exp", "exp2") or not isinstance(scores, Tensor) or scores.dim() == 0:
            return function(*args, **kwargs)
        shadow = self.plain(function, (scores,), {})
        with torch.no_grad():
            largest = scores.detach().amax() if self._whole else scores.detach().amax(self._axis, keepdim=True)
            shift = largest.nan_to_num(0.0, 0.0, 0.0)
            bad = ~torch.isfinite(shadow)
        result = function(self.watches.at(scores, bad) - shift)
        self._scaled[id(result)] = result, shadow, shift
        return result

    def _follow(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], held: list[tuple[Tensor, Tensor, Tensor]]) -> Any:
        kinds, name = kinds_of(function), name_of(function)
        result = function(*args, **kwargs)
        if not kinds or name == "detach" or name in _SHAPED or not isinstance(result, Tensor):
            if kinds and isinstance(result, (tuple, list)) and kinds & _LINEAR:
                self._mark(result, self._shadow(function, args, kwargs), held[0][2])
            return result
        if kinds & _CHOOSING:
            self.applied += bool(kinds & {"sample"})
            return result
        shadow = self._shadow(function, args, kwargs)
        if "div" in kinds and name not in ("rtruediv", "rdiv"):
            above, below = (self._known(args[place]) if place < len(args) else None for place in (0, 1))
            if above is not None and below is not None:
                # a number over a sum that overflowed is 0, which is no value to hold the true quotient against
                judged = torch.where(torch.isfinite(below[1].detach()), shadow, math.nan) if isinstance(shadow, Tensor) else shadow
                return self._settled(judged, result)
            if above is not None:
                return self._mark(result, shadow, held[0][2])
        elif "normalize" in kinds:
            return self._settled(shadow, result)
        elif "log" in kinds:
            shift = self._shift_like(held[0][2], result)
            if shift is not None:
                return self._settled(shadow, result + shift)
        elif "add" in kinds or "sub" in kinds:
            others = [value for value in args if self._known(value) is None and value is not None]
            if all(isinstance(value, (int, float)) and abs(value) <= _SMALL for value in others):
                return self._mark(result, shadow, held[0][2])
        elif ("mul" in kinds and len(held) == 1) or kinds & {"where", "masked_fill", "clamp"} or (kinds & _LINEAR and len(held) == 1):
            return self._mark(result, shadow, held[0][2])
        self.refused = f"what {name} makes of the exponentials is not independent of a common factor"
        return result

    def _settled(self, shadow: Any, result: Tensor) -> Tensor:
        """The common factor is gone."""
        if self._apart(shadow, result) > _CLOSE:
            self.refused = "the exponentials are not summed over the axis that was shifted"
        self.applied += 1
        return result

    def _apart(self, shadow: Any, result: Tensor) -> float:
        """How far `result` lies from `shadow` where that is finite, as a share of its largest magnitude there."""
        if not isinstance(shadow, Tensor) or shadow.shape != result.shape:
            return 0.0
        with quietly():
            one, two = shadow.detach().double(), result.detach().double()
            finite = torch.isfinite(one)
            if not finite.any():
                return 0.0
            one, two = one[finite], two[finite]
            apart, largest = (one - two).abs(), one.abs().amax()
            self.changed += int((apart > 0).sum())
            share = float(apart.amax() / largest) if largest > 0 else math.inf if apart.any() else 0.0
            self.deviation = max(self.deviation, share)
            return share

    def _shift_like(self, shift: Tensor, result: Tensor) -> Tensor | None:
        if self._whole:
            return shift
        for one in (shift, shift.squeeze(self._axis)):
            if one.dim() == result.dim() and torch.broadcast_shapes(one.shape, result.shape) == result.shape:
                return one
        return None

    def _mark(self, result: Any, shadow: Any, shift: Tensor) -> Any:
        for one, other in zip(tree_leaves(result), tree_leaves(shadow), strict=False):
            if isinstance(one, Tensor) and isinstance(other, Tensor) and one.is_floating_point():
                self._scaled[id(one)] = one, other, shift
        return result

    def _shadow(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def unshifted(value: Tensor) -> Tensor:
            known = self._known(value)
            return known[1] if known is not None else value

        return self.plain(function, tree_map_only(Tensor, unshifted, args), tree_map_only(Tensor, unshifted, kwargs))

    def _known(self, leaf: Any) -> tuple[Tensor, Tensor, Tensor] | None:
        known = self._scaled.get(id(leaf))
        return known if known is not None and known[0] is leaf else None
