"""How operators carry labels (`labels`) from their operands to what they give out.

One rule for each way of moving or mixing values. An operator without a rule gives labels by position, where an operand has
the shape of its output, or where the rows run along the first dimension of both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from stayfinite.frameworks.torch import ops
from stayfinite.frameworks.torch.stats import dense
from stayfinite.frameworks.torch.tracing.labels import MOST, NONE, Labels, combine, fits, reduce
from stayfinite.frameworks.torch.tracing.moving import MOVES
from stayfinite.frameworks.torch.tracing.recipes import Operand, Recipe, argument


class Carried:
    """One call whose labels are worked out. `shape(name)`, `labels(name)`: of the operand called `name` (of the first, if it
    is a list); `argument(name)`: any argument."""

    def __init__(
        self, func: Any, recipe: Recipe, operands: Sequence[Operand], labels: Sequence[Labels | None],
        args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Sequence[torch.Tensor],
    ) -> None:
        self.recipe, self.operands, self.given, self.outputs = recipe, operands, labels, outputs
        self.func, self.args, self.kwargs = func, args, kwargs

    def argument(self, name: str) -> Any:
        return argument(self.recipe, self.args, self.kwargs, name)

    def labels(self, place: int | str) -> Labels | None:
        """The labels of an operand: by name, or by position among all."""
        if isinstance(place, int):
            return self.given[place] if place < len(self.given) else None
        return next((one for operand, one in zip(self.operands, self.given, strict=True) if operand.name == place), None)

    def tensor(self, place: int | str) -> torch.Tensor | None:
        """The dense tensor of an operand."""
        if isinstance(place, int):
            return dense(self.operands[place].tensor) if place < len(self.operands) else None
        return next((dense(operand.tensor) for operand in self.operands if operand.name == place), None)

    def full(self, place: int | str) -> Labels | None:
        """The labels of an operand in full, not reduced: `NONE` where it has none; ``None`` if they are too many."""
        tensor, labels = self.tensor(place), self.labels(place)
        if tensor is None or tensor.numel() > MOST:
            return None
        return np.array(np.broadcast_to(NONE if labels is None else labels, tuple(tensor.shape)), dtype=np.int64)


Rule = Callable[[Carried], "Labels | list[Labels | None] | None"]


def carried(call: Carried) -> list[Labels | None]:
    """The reduced labels of each output of `call`; ``None`` for those that are not known."""
    rule = _rule_of(call.recipe)
    found = rule(call) if rule is not None else by_position(call)
    each = found if isinstance(found, list) else [found] * len(call.outputs)
    each = [*each, *[None] * len(call.outputs)]
    return [
        one if one is not None and fits(one, out.shape) else None for one, out in zip(each, call.outputs, strict=False)
    ]


def _rule_of(recipe: Recipe) -> Rule | None:
    if recipe.base in MOVES:
        return MOVES[recipe.base]
    if recipe.base in _BY_NAME:
        return _BY_NAME[recipe.base]
    if recipe.kind in ops.LOSSES and "reduction" in recipe.arguments:
        return _loss
    if recipe.pointwise or recipe.kind in _POINTWISE:
        return _pointwise
    if recipe.kind in _REDUCING:
        return _reduction
    if recipe.kind in ops.DECOMPOSITIONS:
        return _matrices
    return _BY_KIND.get(recipe.kind)


def _pointwise(call: Carried) -> Labels | None:
    reads = [
        one for operand, one in zip(call.operands, call.given, strict=True)
        if call.recipe.reads_written or operand.name not in call.recipe.written
    ]
    return combine(*reads)


def by_position(call: Carried) -> list[Labels | None]:
    """The labels of operands of the same shape; else of those whose rows run along the first dimension, as the output's do."""
    found: list[Labels | None] = []
    for out in call.outputs:
        pairs = [
            (one, part) for one, operand in zip(call.given, call.operands, strict=True)
            if one is not None and (part := dense(operand.tensor)) is not None
        ]
        same = [one for one, part in pairs if part.shape == out.shape]
        if not same and out.dim():
            same = [
                one.reshape((-1, *[1] * (out.dim() - 1))) for one, part in pairs
                if part.dim() and part.shape[0] == out.shape[0] and one.size == one.shape[0]
            ]
        found.append(combine(*same))
    return found


# -- reductions ------------------------------------------------------------------------------------------------------


def _dims(call: Carried) -> Sequence[int] | None:
    given = call.argument("dim")
    if given is None or (isinstance(given, (list, tuple)) and not given) or isinstance(given, bool):
        return None
    return [given] if isinstance(given, int) else list(given)


def _reduction(call: Carried) -> Labels | list[Labels | None] | None:
    dims, keep = _dims(call), bool(call.argument("keepdim"))
    labels = call.labels(0)
    if len(call.outputs) == 2 and dims is not None and len(dims) == 1 and not call.outputs[1].is_floating_point():
        picked = _at_places(call, dims[0], keep)
        if picked is not None:
            return [picked, picked]
    return reduce(labels, dims, keep=keep)


def _at_places(call: Carried, dim: int, keep: bool) -> Labels | None:
    """Of what is chosen along a dimension and gives its places as a second output: `max`, `topk`, `sort`."""
    tensor, labels, places = call.tensor(0), call.labels(0), dense(call.outputs[1])
    if tensor is None or labels is None or places is None or not tensor.dim():
        return None
    dim %= tensor.dim()
    if labels.shape[dim] == 1:
        return labels if keep else labels.squeeze(dim)
    full = call.full(0)
    if full is None:
        return None
    places = places if places.dim() == tensor.dim() else places.unsqueeze(dim)
    found: Labels = torch.from_numpy(full).gather(dim, places.cpu()).numpy()
    return found if keep else found.squeeze(dim)


def _chosen(call: Carried) -> Labels | list[Labels | None] | None:
    dim = call.argument("dim")
    found = _at_places(call, -1 if dim is None else int(dim), True)
    return [found, found]


def _prefixes(call: Carried) -> Labels | None:
    """Element i depends on all before it; the others are as good as independent of it."""
    dims = _dims(call)
    return reduce(call.labels(0), dims if dims is not None else [-1])


def _loss(call: Carried) -> Labels | None:
    every = _pointwise(call)
    return every if not call.argument("reduction") else reduce(every, keep=False)


def _nll(call: Carried) -> Labels | list[Labels | None] | None:
    scores, labels = call.labels("self"), call.labels("target")
    tensor = call.tensor("self")
    if tensor is None:
        return None
    if scores is not None:
        scores = reduce(scores, [1 if tensor.dim() > 1 else 0], keep=False)
    every = combine(scores, labels)
    return [every if not call.argument("reduction") else reduce(every, keep=False)]


def _ctc(call: Carried) -> list[Labels | None]:
    scores = call.labels("log_probs")
    return [reduce(scores, [0, 2], keep=False) if scores is not None and scores.ndim == 3 else None]


# -- products, windows, layers ---------------------------------------------------------------------------------------


def _product(call: Carried) -> Labels | None:
    names = [operand.name for operand in call.operands]
    first = 1 if call.recipe.base in ("addmm", "baddbmm", "addmv") and names[0] == "self" else 0
    left, right = call.labels(first), call.labels(first + 1)
    other = call.tensor(first + 1)
    if other is None:
        return None
    if left is not None:
        left = reduce(left, [-1], keep=other.dim() > 1)
    if right is not None and right.ndim > 1:
        right = reduce(right, [-2])
    elif right is not None:
        right = reduce(right, keep=False)
    return combine(left, right, call.labels(0) if first else None)


def _linear(call: Carried) -> Labels | None:
    return reduce(call.labels(0), [-1])


def _first_kept(call: Carried) -> list[Labels | None]:
    """Samples along the first dimension; everything within a sample depends on all of it."""
    every = combine(*(reduce(one, range(1, one.ndim)) for one in call.given if one is not None and one.ndim > 1))
    if every is None:
        return []
    return [every.reshape((-1, *[1] * (out.dim() - 1))) if out.dim() else None for out in call.outputs]


def _last_reduced(number: int) -> Rule:
    def rule(call: Carried) -> Labels | None:
        labels = call.labels(0)
        return reduce(labels, range(-min(number, labels.ndim), 0)) if labels is not None else None

    return rule


def _windows(call: Carried) -> Labels | None:
    """Pooling and resizing: all of a map for each place of it."""
    labels = call.labels(0)
    spatial = next((number for number in (1, 2, 3) if f"{number}d" in call.recipe.base), 2 if "bi" in call.recipe.base else 0)
    if labels is None or not spatial:
        return None
    return reduce(labels, range(-spatial, 0)) if labels.ndim >= spatial else None


def _none(call: Carried) -> list[Labels | None]:
    """Counts and numbers of places: what is behind them has no place in them."""
    return [np.full([1] * out.dim(), NONE, np.int64) for out in call.outputs]


def _line(call: Carried) -> Labels | None:
    """All of a line for each place of it."""
    dims = _dims(call)
    return reduce(call.labels(0), dims if dims is not None else [-1])


def _shares(call: Carried) -> Labels | None:
    """The same, but over several rows each place keeps its own: the shares that a `softmax` gives."""
    found, labels = _line(call), call.labels(0)
    return np.where(found == NONE, labels, found) if found is not None and labels is not None else found


def _layer_norm(call: Carried) -> Labels | None:
    shape = call.argument("normalized_shape")
    labels = call.labels(0)
    return reduce(labels, range(-len(shape), 0)) if labels is not None and shape else None


def _as_it_is(call: Carried) -> Labels | None:
    return call.labels(0)


def _attention(call: Carried) -> Labels | None:
    query, key, value = (call.labels(name) for name in ("query", "key", "value"))
    asked = reduce(query, [-1]) if query is not None else None
    held = [reduce(one, [-2, -1]) for one in (key, value) if one is not None]
    return combine(asked, *held)


def _recurrent(call: Carried) -> list[Labels | None]:
    """Time, batch, features: a whole layer."""
    labels = call.labels(0)
    if labels is None or labels.ndim != 3:
        return []
    found = reduce(labels, [0, 2])
    return [found] * len(call.outputs)


def _cell(call: Carried) -> Labels | None:
    return combine(*(reduce(one, [-1]) for one in call.given if one is not None and one.ndim > 1))


def _pairs(call: Carried) -> Labels | None:
    left, right = call.labels(0), call.labels(1)
    return combine(
        reduce(left, [-1]) if left is not None else None,
        np.swapaxes(one, -1, -2) if right is not None and (one := reduce(right, [-1])) is not None else None,
    )


def _pairs_within(call: Carried) -> Labels | None:
    labels, tensor = call.labels(0), call.tensor(0)
    if labels is None or tensor is None or tensor.dim() != 2:
        return None
    each = reduce(labels, [1], keep=False)
    rows = np.broadcast_to(NONE if each is None else each, (tensor.shape[0],))
    first, second = np.triu_indices(len(rows), 1)
    return combine(rows[first], rows[second])


def _matrices(call: Carried) -> list[Labels | None]:
    """Decompositions: one for each matrix, along the dimensions before the last two."""
    every = combine(*(reduce(one, [-2, -1], keep=True) for one in call.given if one is not None and one.ndim > 1))
    if every is None:
        return []
    lead = every.shape[:-2]
    return [
        every.reshape((*lead, *[1] * (out.dim() - len(lead)))) if out.dim() >= len(lead) else None for out in call.outputs
    ]


def _embedding(call: Carried) -> Labels | None:
    labels = call.labels("indices")
    return labels[..., None] if labels is not None else None


def _bags(call: Carried) -> list[Labels | None]:
    """Sums over stretches of a list of indices, beginning at the offsets."""
    words, starts = call.labels("indices"), call.labels("offsets")
    offsets, indices = call.tensor("offsets"), call.tensor("indices")
    if words is None or offsets is None or indices is None:
        return [starts[:, None] if starts is not None and starts.ndim == 1 else None]
    every = np.broadcast_to(words, tuple(indices.shape))
    bounds = [*offsets.tolist(), len(every)]
    found = [
        reduce(every[start:end], keep=False) for start, end in itertools.pairwise(bounds)
    ][: math.prod(call.outputs[0].shape[:1])]
    bags = np.array([NONE if one is None else int(one) for one in found], dtype=np.int64)
    return [combine(bags[:, None], starts[:, None] if starts is not None and starts.shape == bags.shape else None)]


_POINTWISE = frozenset({"cast", "dropout", "masked_fill", "where", "clamp", "nan_to_num", "compare", "lerp"})
_REDUCING = frozenset({"sum", "mean", "var", "std", "norm", "logsumexp", "prod", "max", "min", "median", "quantile"})
_BY_NAME: dict[str, Rule] = {
    **dict.fromkeys(("copy", "to_copy", "clone", "contiguous", "alias", "bernoulli", "normal"), _pointwise),
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"), _prefixes),
    **dict.fromkeys(("topk", "sort"), _chosen),
    **dict.fromkeys(("nll_loss_forward", "nll_loss2d_forward"), _nll),
    **dict.fromkeys(("any", "all", "argmax", "argmin", "count_nonzero"), _reduction),
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "vdot"), _product),
    **dict.fromkeys(("linear", "mkldnn_linear"), _linear),
    **dict.fromkeys(("thnn_fused_lstm_cell", "thnn_fused_gru_cell"), _cell),
    **dict.fromkeys(("cdist_forward", "euclidean_dist"), _pairs),
    **dict.fromkeys(("native_multi_head_attention", "transformer_encoder_layer_fwd"), _first_kept),
    **dict.fromkeys(("im2col", "col2im"), _first_kept),
    "nonzero": _none,
    "multinomial": _last_reduced(1),
    "ctc_loss": _ctc,
    "mkldnn_rnn_layer": _recurrent,
    "pdist_forward": _pairs_within,
    "embedding": _embedding,
    "embedding_bag": _bags,
    "embedding_bag_forward_only": _bags,
    "glu": _line,
    "log_softmax": _shares,
    "softmax": _shares,
}
_BY_KIND: dict[str, Rule] = {
    "softmax": _shares,
    "log_softmax": _shares,
    "layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    "batch_norm": _as_it_is,
    "group_norm": _first_kept,
    "conv": _first_kept,
    "count": _none,
    "max_pool": _windows,
    "avg_pool": _windows,
    "attention": _attention,
    "fft": _line,
}
