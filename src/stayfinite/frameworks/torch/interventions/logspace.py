"""Logarithms of what was made of exponentials, computed without them.

``log(softmax(z))`` is a log-softmax, ``log(1 - sigmoid(z))`` a log-sigmoid of ``-z``, ``log(sum(exp(z)))`` a log-sum-exp, products
become sums: the rules of logarithms, followed back through what was only picked, reshaped or cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stayfinite.frameworks.torch.interventions.recipes import Recipe, Recipes

_DEEP = 24
_CARRIED = frozenset({
    "getitem", "reshape", "view", "gather", "squeeze", "unsqueeze", "transpose", "permute", "flatten", "clone", "contiguous",
    "expand", "expand_as", "select", "index_select", "narrow", "t", "float", "double", "chunk", "split", "unbind", "take_along_dim",
    "movedim", "swapaxes", "diagonal", "flip", "roll", "masked_select", "unflatten", "view_as", "reshape_as", "amax", "repeat",
    "ravel", "broadcast_to", "concat", "detach", "mT", "T", "alias", "expand_copy",
})
"""Functions whose logarithm is the same function of the logarithm: they choose, move or repeat elements."""
_OTHERS = 64
"""Classes up to which the probability of all others is summed in log space."""


class LogSpace:
    """Computes logarithms by `recipes`. `at(value)`: gives the tensor that a stable form begins from another name, so that
    its gradient can be looked at. `found`: how many were met."""

    def __init__(self, recipes: Recipes, at: Callable[[Tensor], Tensor]) -> None:
        self._recipes = recipes
        self._at = at
        self.found = 0

    def log(self, value: Any, deep: int = 0) -> Any:
        """The logarithm of `value`, a tensor or a number that is not negative."""
        if not isinstance(value, Tensor):
            return math.log(value) if value > 0 else -math.inf
        recipe = self._recipes.of(value) if deep < _DEEP else None
        known = self._of_recipe(recipe, deep + 1) if recipe is not None else None
        return torch.log(value) if known is None else known

    def log_of_rest(self, value: Any, deep: int = 0) -> Any:
        """The logarithm of ``1 - value``."""
        if not isinstance(value, Tensor):
            return math.log1p(-value) if value < 1 else -math.inf
        recipe = self._recipes.of(value) if deep < _DEEP else None
        known = self._rest_of_recipe(recipe, deep + 1) if recipe is not None else None
        return torch.log1p(-value) if known is None else known

    # -- rules ---------------------------------------------------------------------------------------------------

    def _of_recipe(self, recipe: Recipe, deep: int) -> Any:
        name = recipe.name
        if name in ("softmax", "sigmoid", "expit", "exp"):
            return self._begin(recipe)
        if name in _CARRIED and isinstance(recipe.first, Tensor):
            return recipe.again(self.log(recipe.first, deep))
        if name in ("to", "type", "half", "bfloat16") and isinstance(recipe.first, Tensor):
            return self.log(recipe.first, deep)
        if name in ("mul", "rmul", "multiply"):
            one, other = recipe.argument(0), recipe.argument(1, "other")
            return self.log(one, deep) + self.log(other, deep)
        if name in ("div", "truediv", "true_divide"):
            return self.log(recipe.argument(0), deep) - self.log(recipe.argument(1, "other"), deep)
        if name in ("rtruediv", "rdiv"):
            return self.log(recipe.argument(1), deep) - self.log(recipe.argument(0), deep)
        if name == "reciprocal":
            return -self.log(recipe.first, deep)
        if name in ("add", "radd"):
            return self._added(recipe, deep)
        if name in ("rsub", "sub", "subtract"):
            return self._subtracted(recipe, deep)
        if name in ("pow", "square", "sqrt"):
            power = {"square": 2.0, "sqrt": 0.5}.get(name) or recipe.argument(1, "exponent")
            return power * self.log(recipe.first, deep) if isinstance(power, (int, float)) else None
        if name in ("sum", "mean", "prod"):
            return self._reduced(recipe, deep)
        if name == "where" and len(recipe.args) == 3:
            condition, one, other = recipe.args
            logs = [self.log(part, deep) for part in (one, other)]
            return torch.where(condition, *(part if isinstance(part, Tensor) else recipe.made.new_tensor(part) for part in logs))
        if name in ("cat", "stack") and isinstance(recipe.first, (tuple, list)):
            return recipe.again([self.log(part, deep) for part in recipe.first])
        return None

    def _begin(self, recipe: Recipe) -> Any:
        scores = recipe.first
        if not isinstance(scores, Tensor):
            return None
        self.found += 1
        scores = self._at(scores)
        if recipe.name == "exp":
            return scores
        if recipe.name == "softmax":
            return F.log_softmax(scores, recipe.argument(1, "dim", otherwise=-1))
        return F.logsigmoid(scores)

    def _added(self, recipe: Recipe, deep: int) -> Any:
        logs = [self.log(part, deep) for part in (recipe.argument(0), recipe.argument(1, "other"))]
        whole = next(part for part in logs if isinstance(part, Tensor))
        return torch.logaddexp(*(part if isinstance(part, Tensor) else whole.new_tensor(part) for part in logs))

    def _subtracted(self, recipe: Recipe, deep: int) -> Any:
        one, other = recipe.argument(0), recipe.argument(1, "other")
        if recipe.name == "rsub":
            one, other = other, one
        if isinstance(one, Tensor) and one.numel() == 1 and not one.requires_grad and float(one) == 1.0:
            one = 1.0
        return self.log_of_rest(other, deep) if one in (1, 1.0) and not isinstance(one, Tensor) else None

    def _reduced(self, recipe: Recipe, deep: int) -> Any:
        given = recipe.first
        dim = recipe.argument(1, "dim", "axis")
        keep = recipe.argument(2, "keepdim", otherwise=False)
        if not isinstance(given, Tensor) or isinstance(dim, torch.dtype):
            return None
        logs = self.log(given, deep)
        over = tuple(range(given.dim())) if dim is None else dim
        if recipe.name == "prod":
            return logs.sum(over, keepdim=keep)
        total = torch.logsumexp(logs, over, keepdim=keep)
        return total if recipe.name == "sum" else total - math.log(max(1, given.numel() // max(1, total.numel())))

    def _rest_of_recipe(self, recipe: Recipe, deep: int) -> Any:
        name, given = recipe.name, recipe.first
        if name in ("sigmoid", "expit") and isinstance(given, Tensor):
            self.found += 1
            return F.logsigmoid(-self._at(given))
        if name == "softmax" and isinstance(given, Tensor):
            self.found += 1
            return _others(self._at(given), recipe.argument(1, "dim", otherwise=-1))
        if name == "exp" and isinstance(given, Tensor):
            self.found += 1
            return _rest_of_exponential(self._at(given))
        if name in _CARRIED and isinstance(given, Tensor):
            return recipe.again(self.log_of_rest(given, deep))
        if name in ("rsub", "sub"):
            one, other = recipe.argument(0), recipe.argument(1, "other")
            if recipe.name == "rsub":
                one, other = other, one
            if not isinstance(one, Tensor) and one == 1:
                return self.log(other, deep)
        return None


def _others(scores: Tensor, dim: int) -> Tensor:
    """For each entry of a softmax, the logarithm of the probability of all others."""
    logs = F.log_softmax(scores, dim)
    count = scores.shape[dim]
    if count > _OTHERS:
        return _rest_of_exponential(logs)
    last = logs.movedim(dim, -1)
    itself = torch.eye(count, dtype=torch.bool, device=scores.device)
    return torch.logsumexp(last.unsqueeze(-2).masked_fill(itself, -math.inf), -1).movedim(-1, dim)


def _rest_of_exponential(logs: Tensor) -> Tensor:
    """``log(1 - exp(x))`` for x <= 0 (Mächler 2012, equation 7): by `expm1` near 0, by `log1p` elsewhere."""
    near = logs > -math.log(2.0)
    safe = torch.where(near, logs, torch.full_like(logs, -1.0))
    far = torch.where(near, torch.full_like(logs, -1.0), logs)
    return torch.where(near, torch.log(-torch.expm1(safe)), torch.log1p(-torch.exp(far)))
