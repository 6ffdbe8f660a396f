"""Operations computed by a stable form of the same function.

Each form is a function of the call; it gives ``NotImplemented`` where it does not apply, and then nothing is changed. Forms
that begin further back than at the call itself know the recipes of its operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stayfinite.frameworks.torch.interventions import degenerate
from stayfinite.frameworks.torch.interventions.logspace import LogSpace
from stayfinite.frameworks.torch.interventions.matching import is_in_place, kinds_of, name_of, operand_key
from stayfinite.frameworks.torch.interventions.operators import Operators
from stayfinite.frameworks.torch.interventions.performing import Given
from stayfinite.frameworks.torch.interventions.recipes import Recipes
from stayfinite.frameworks.torch.stats import quietly
from stayfinite.records.intervention import Stable

_EPSILON = {torch.float16: 1e-6, torch.bfloat16: 1e-8, torch.float32: 1e-12, torch.float64: 1e-24}
"""What is added to a square under a root: the root of it is a thousandth of what matters beside 1 in that format, and can be
divided by."""
_LAYER_EPSILON = 1e-5
"""The epsilon that torch's own normalisations have unless they are told another one."""
Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


class Rewritten(Operators):
    """Performs `Stable`, but for the forms of `shifting`."""

    def __init__(self, intervention: Stable, given: Given) -> None:
        super().__init__(intervention.place, given)
        self.kind = intervention.place.kind
        self.recipes = Recipes()
        self.bad: Tensor | None = None
        """Elements that are not finite in the result of the call that is changed now."""
        self.compared = False
        """The form has compared its result with the unchanged one itself."""
        self._form = FORMS[intervention.form]

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = super().call(function, args, kwargs)
        self.recipes.note(function, args, kwargs, result)
        return result

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before = self.plain(function, args, kwargs)
        with torch.no_grad():
            self.bad = ~torch.isfinite(before) if isinstance(before, Tensor) and not before.is_quantized else None
        self.compared = False
        after = self._form(self, (function, args, kwargs), before)
        if after is NotImplemented:
            return function(*args, **kwargs)
        if not self.compared:
            self.compare(before, after)
        if isinstance(after, Tensor) and self.bad is not None and self.bad.any():
            self.arrivals.of(after, self.bad)
        if is_in_place(function) and isinstance(after, Tensor):
            return args[0].copy_(after)
        return after

    def watched(self, value: Tensor, chosen: Tensor | None = None) -> Tensor:
        """`value`, whose gradient is looked at: at `chosen`, or in the rows of what was not finite."""
        if chosen is None and self.bad is not None and self.bad.dim() and value.dim() and value.shape[0] == self.bad.shape[0]:
            rows = self.bad.reshape(len(self.bad), -1).any(1)
            chosen = rows.reshape(-1, *[1] * (value.dim() - 1)).expand(value.shape)
        return self.watches.at(value, torch.ones_like(value, dtype=torch.bool) if chosen is None else chosen)

    def did(self, count: Any = 1) -> None:
        """`count` elements are changed."""
        self.applied += int(count)


# -- roots and lengths -----------------------------------------------------------------------------------------------------


def _epsilon_inside(performer: Rewritten, call: Call, before: Any) -> Any:
    function, args, kwargs = call
    name, kinds = name_of(function), kinds_of(function)
    if kinds & {"batch_norm", "layer_norm", "group_norm", "rms_norm"}:
        return _with_layer_epsilon(performer, call)
    value = args[0] if args else next(iter(kwargs.values()))
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return NotImplemented
    epsilon = _EPSILON.get(value.dtype, 1e-12)

    def zero(one: Tensor) -> Tensor:
        return performer.watched(one, one.detach() == 0)

    rooted: Any = NotImplemented
    if name in ("sqrt", "rsqrt"):
        rooted = function(zero(value) + epsilon) if not is_in_place(function) else (zero(value) + epsilon).sqrt()
    elif name in ("pow", "float_power"):
        rooted = torch.pow(zero(value) + epsilon, args[1] if len(args) > 1 else kwargs["exponent"])
    elif name in ("norm", "vector_norm", "linalg_vector_norm", "linalg_norm", "frobenius_norm", "matrix_norm", "linalg_matrix_norm"):
        rooted = _length(zero(value), call, epsilon)
    elif name == "normalize":
        dim = _argument(call, 2, "dim", 1)
        if _argument(call, 1, "p", 2.0) == 2:
            value = zero(value)
            rooted = value * torch.rsqrt(value.square().sum(dim, keepdim=True) + epsilon)
    elif name == "cosine_similarity":
        dim, other = _argument(call, 2, "dim", 1), _argument(call, 1, "x2", None)
        one, two = zero(value), zero(other)
        rooted = (one * two).sum(dim) * torch.rsqrt((one.square().sum(dim) + epsilon) * (two.square().sum(dim) + epsilon))
    elif name == "std":
        rooted = (torch.var(performer.watched(value), *args[1:], **kwargs) + epsilon).sqrt()
    elif name in ("cdist", "pairwise_distance"):
        rooted = _distance(value, call, epsilon)
    elif name == "hypot":
        other = _argument(call, 1, "other", None)
        rooted = (zero(value).square() + zero(other).square() + epsilon).sqrt()
    elif "div" in kinds or "reciprocal" in kinds:
        key = operand_key(function, args, kwargs, performer.kind, 1)
        divisor = args[key] if isinstance(key, int) else kwargs.get(str(key))
        if isinstance(divisor, Tensor) and isinstance(key, int) and bool((divisor.detach() >= 0).all()):
            if _is_own_sum(performer, divisor, args[0]):  # shares of nothing are equal shares
                value = zero(value) + epsilon
                rooted = function(value, performer.recipes.of(divisor).again(value))  # type: ignore[union-attr]
            else:
                guarded = (zero(divisor).square() + epsilon).sqrt()
                rooted = function(*(guarded if place == key else one for place, one in enumerate(args)), **kwargs)
    if rooted is not NotImplemented:
        performer.did()
    return rooted


def _is_own_sum(performer: Rewritten, divisor: Tensor, value: Any) -> bool:
    """True for ``x / x.sum(...)`` of numbers that are not negative."""
    recipe = performer.recipes.of(divisor)
    return recipe is not None and recipe.name == "sum" and recipe.first is value and bool((value.detach() >= 0).all())


def _length(value: Tensor, call: Call, epsilon: float) -> Any:
    order = _argument(call, 1, "p", _argument(call, 1, "ord", None))
    matrix = name_of(call[0]) in ("matrix_norm", "linalg_matrix_norm", "frobenius_norm")
    if order not in (None, 2, 2.0, "fro") or (matrix and order in (2, 2.0)):
        return NotImplemented
    dim = _argument(call, 2, "dim", (-2, -1) if matrix else None)
    keep = bool(_argument(call, 3, "keepdim", False))
    return (value.square().sum(dim, keepdim=keep) + epsilon).sqrt() if dim is not None else (value.square().sum() + epsilon).sqrt()


def _distance(value: Tensor, call: Call, epsilon: float) -> Any:
    other = _argument(call, 1, "x2", None)
    if _argument(call, 2, "p", 2.0) != 2 or not isinstance(other, Tensor):
        return NotImplemented
    if name_of(call[0]) == "cdist":
        return ((value.unsqueeze(-2) - other.unsqueeze(-3)).square().sum(-1) + epsilon).sqrt()
    return ((value - other).square().sum(-1, keepdim=bool(_argument(call, 4, "keepdim", False))) + epsilon).sqrt()


def _with_layer_epsilon(performer: Rewritten, call: Call) -> Any:
    """A normalisation layer with torch's usual epsilon."""
    function, args, kwargs = call
    bound = degenerate.bound(function, args, kwargs)
    if bound is None or "eps" not in bound.signature.parameters:
        return NotImplemented
    bound.apply_defaults()
    given = bound.arguments["eps"]
    if given is not None and given >= _LAYER_EPSILON:
        return NotImplemented
    bound.arguments["eps"] = _LAYER_EPSILON
    performer.did()
    return function(*bound.args, **bound.kwargs)


def _hypot(performer: Rewritten, call: Call, before: Any) -> Any:
    """A root of squares that overflow: scaled by the largest."""
    function, args, kwargs = call
    value = args[0] if args else None
    if "norm" in kinds_of(function) and isinstance(value, Tensor):
        largest = value.detach().abs().amax().clamp(min=torch.finfo(value.dtype).tiny)
        performer.did()
        return function(performer.watched(value) / largest, *args[1:], **kwargs) * largest
    recipe = performer.recipes.of(value)
    if name_of(function) != "sqrt" or recipe is None or recipe.name not in ("add", "radd", "sum"):
        return NotImplemented
    parts = [performer.recipes.of(part) for part in ((recipe.first,) if recipe.name == "sum" else recipe.args[:2])]
    if any(part is None or part.name not in ("square", "pow") or not isinstance(part.first, Tensor) for part in parts):
        return NotImplemented
    legs = [performer.watched(part.first) for part in parts if part is not None]
    performer.did()
    if recipe.name != "sum":
        return torch.hypot(*legs)
    largest = legs[0].detach().abs().amax().clamp(min=torch.finfo(legs[0].dtype).tiny)
    return function(recipe.again((legs[0] / largest).square())) * largest


# -- logarithms ------------------------------------------------------------------------------------------------------------


def _in_log_space(performer: Rewritten, call: Call, before: Any) -> Any:
    function, args, kwargs = call
    name = name_of(function)
    value = args[0] if args else next(iter(kwargs.values()))
    space = LogSpace(performer.recipes, performer.watched)
    result: Any = NotImplemented
    if name in ("log", "log2", "log10"):
        result = space.log(value) / {"log": 1.0, "log2": math.log(2.0), "log10": math.log(10.0)}[name]
    elif name == "log1p":
        recipe = performer.recipes.of(value)
        if recipe is not None and recipe.name in ("neg", "negative"):
            result = space.log_of_rest(recipe.first)
        else:
            result = torch.logaddexp(space.log(value), torch.zeros_like(value))
    elif name in ("xlogy", "special_xlogy"):
        other = _argument(call, 1, "other", None)
        logs = space.log(other)
        result = torch.where(value == 0, torch.zeros_like(logs), value * logs)
    elif name in ("entr", "special_entr"):
        logs = space.log(value)
        result = torch.where(value == 0, torch.zeros_like(logs), -value * logs)
    elif name in ("logit", "special_logit"):
        result = space.log(value) - space.log_of_rest(value)
    elif name == "binary_cross_entropy":
        result = _cross_entropy(performer, space, call)
    if result is NotImplemented or not space.found or not isinstance(result, Tensor):
        return NotImplemented
    performer.did()
    if isinstance(before, Tensor) and before.shape == result.shape:
        return result.to(before.dtype)
    return result


def _cross_entropy(performer: Rewritten, space: LogSpace, call: Call) -> Any:
    probability, target = call[1][0], _argument(call, 1, "target", None)
    weight = _argument(call, 2, "weight", None)
    loss = -(target * space.log(probability) + (1 - target) * space.log_of_rest(probability))
    loss = loss if weight is None else loss * weight
    # torch cuts the logarithms of 0 at -100: what it gives for probabilities of 0 and 1 is no measure
    each = performer.plain(call[0], call[1][:3], {**{key: one for key, one in call[2].items() if key == "weight"}, "reduction": "none"})
    if isinstance(each, Tensor):
        performer.compare(each.masked_fill((probability == 0) | (probability == 1), math.nan), loss)
        performer.compared = True
    how = call[2].get("reduction", _argument(call, 5, "reduction", "mean"))
    return loss.mean() if how == "mean" else loss.sum() if how == "sum" else loss


# -- arguments chosen before the operation ------------------------------------------------------------------------------------


def _double_where(performer: Rewritten, call: Call, before: Any) -> Any:
    """The argument is replaced by a harmless one wherever value or slope of the operation is not finite."""
    function, args, kwargs = call
    key = operand_key(function, args, kwargs, performer.kind, 1 if "div" in kinds_of(function) else 0)
    if not isinstance(key, int) or not isinstance(args[key], Tensor) or not args[key].is_floating_point():
        return NotImplemented
    value = args[key]
    with quietly(), torch.enable_grad():
        copy = value.detach().clone().requires_grad_()
        others = tuple(one.detach() if isinstance(one, Tensor) else one for one in args)
        given = tuple(copy.clone() if place == key else one for place, one in enumerate(others))
        made = function(*given, **kwargs)
        (slope,) = torch.autograd.grad(made.sum(), copy)
    with torch.no_grad():
        wrong = ~torch.isfinite(slope)
        if made.shape == value.shape:
            wrong = wrong | ~torch.isfinite(made)
    if not wrong.any():
        return NotImplemented
    harmless = 2.0 if name_of(function) in ("acosh", "arccosh") else 0.5 if name_of(function) not in ("div", "truediv") else 1.0
    performer.did(wrong.sum())
    performer.bad = wrong if made.shape == value.shape or performer.bad is None else performer.bad | ~torch.isfinite(made.detach())
    safe = torch.where(wrong, torch.full_like(value, harmless), performer.watches.at(value, wrong))
    return performer.run(function, args, kwargs, [safe if place == key else one for place, one in enumerate(args)], kwargs)


# -- softmax over nothing ----------------------------------------------------------------------------------------------------


def _safe_softmax(performer: Rewritten, call: Call, before: Any) -> Any:
    function, args, kwargs = call
    name = name_of(function)
    if name == "scaled_dot_product_attention":
        return _safe_attention(performer, call)
    if name == "multi_head_attention_forward":
        return _safe_heads(performer, call)
    scores = args[0] if args else kwargs.get("input")
    dim = _argument(call, 1, "dim", -1)
    if not isinstance(scores, Tensor) or scores.dim() == 0 or name not in ("softmax", "log_softmax", "logsumexp"):
        return NotImplemented
    with torch.no_grad():
        empty = torch.isneginf(scores).all(dim=dim, keepdim=True)
    if not empty.any():
        return NotImplemented
    performer.did(empty.sum())
    safe = torch.where(empty, torch.zeros_like(scores), performer.watches.at(scores, empty.expand(scores.shape)))
    new = (safe, *args[1:]) if args else args
    result = function(*new, **(kwargs if args else {**kwargs, "input": safe}))
    return torch.where(empty, torch.zeros_like(result), result) if name == "softmax" else result


def _safe_attention(performer: Rewritten, call: Call) -> Any:
    function, args, kwargs = call
    mask = _argument(call, 3, "attn_mask", None)
    if not isinstance(mask, Tensor):
        return NotImplemented
    empty = (~mask if mask.dtype is torch.bool else torch.isneginf(mask)).all(-1, keepdim=True)
    if not empty.any():
        return NotImplemented
    open_mask = mask | empty if mask.dtype is torch.bool else torch.where(empty, torch.zeros_like(mask), mask)
    performer.did(empty.sum())
    if len(args) > 3:
        result = function(*args[:3], open_mask, *args[4:], **kwargs)
    else:
        result = function(*args, **{**kwargs, "attn_mask": open_mask})
    dead = empty.expand(*empty.shape[:-2], result.shape[-2], 1) if empty.shape[-2] == 1 else empty
    return torch.where(dead, torch.zeros_like(result), result)


def _safe_heads(performer: Rewritten, call: Call) -> Any:
    """Attention of several heads: samples all of whose keys are padding see all of them instead."""
    function, args, kwargs = call
    padding = kwargs.get("key_padding_mask")
    if not isinstance(padding, Tensor):
        return NotImplemented
    hidden = padding if padding.dtype is torch.bool else torch.isneginf(padding)
    empty = hidden.all(-1, keepdim=True)
    if not empty.any():
        return NotImplemented
    performer.did(empty.sum())
    seen = padding & ~empty if padding.dtype is torch.bool else torch.where(empty, torch.zeros_like(padding), padding)
    return function(*args, **{**kwargs, "key_padding_mask": seen})


def _argument(call: Call, place: int, name: str, otherwise: Any) -> Any:
    return call[1][place] if place < len(call[1]) else call[2].get(name, otherwise)


def _zero_infinity(performer: Rewritten, call: Call, before: Any) -> Any:
    function, args, kwargs = call
    bound = degenerate.bound(function, args, kwargs)
    if bound is None or "zero_infinity" not in bound.signature.parameters:
        return NotImplemented
    bound.arguments["zero_infinity"] = True
    performer.did()
    return function(*bound.args, **bound.kwargs)


FORMS: dict[str, Callable[[Rewritten, Call, Any], Any]] = {
    "log-softmax": _in_log_space, "log-sigmoid": _in_log_space, "logits": _in_log_space, "epsilon-inside": _epsilon_inside,
    "double-where": _double_where, "safe-divide": _double_where, "safe-softmax": _safe_softmax, "hypot": _hypot,
    "zero-infinity": _zero_infinity, "unbiased-off": degenerate.unbiased_off, "mean-over-some": degenerate.mean_over_some,
    "jitter": degenerate.jitter, "zeros": degenerate.zeros, "sigmoid": degenerate.sigmoid,
}
"""How each form is computed."""
