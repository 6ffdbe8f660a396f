"""How operators that only move values carry their labels: by doing to the labels what they do to the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stayfinite.frameworks.torch.stats import dense
from stayfinite.frameworks.torch.tracing.labels import MOST, NONE, Labels, combine, group

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.tracing.carrying import Carried


def _joined(call: Carried) -> Labels | None:
    """`cat` along a dimension that is there already."""
    dim, parts = int(call.argument("dim") or 0), []
    for at in range(len(call.operands)):
        tensor = call.tensor(at)
        if tensor is None:
            return None
        if tensor.dim():  # an empty one without dimensions is left out by torch too
            parts.append((tensor, call.labels(at)))
    dim %= max((tensor.dim() for tensor, _ in parts), default=1)
    parts = [(tensor, one) for tensor, one in parts if tensor.numel() or tensor.dim() > 1]
    shape = [
        max((one.shape[at] for _, one in parts if one is not None), default=1) for at in range(parts[0][0].dim())
    ]
    if any(one is None or one.shape[dim] > 1 for _, one in parts) or len(parts) > 1:
        if np.prod([extent for at, extent in enumerate(shape) if at != dim]) * call.outputs[0].shape[dim] > MOST:
            return None
        filled = []
        for tensor, one in parts:
            shape[dim] = tensor.shape[dim]
            filled.append(np.broadcast_to(NONE if one is None else one, shape))
        return np.concatenate(filled, dim)
    return parts[0][1]


def _stacked(call: Carried) -> Labels | None:
    dim = int(call.argument("dim") or 0) % call.outputs[0].dim()
    given = [call.labels(at) for at in range(len(call.operands))]
    known = [one for one in given if one is not None]
    shape = np.broadcast_shapes(*(one.shape for one in known))
    if int(np.prod(shape)) * len(given) > MOST:
        return None
    return np.stack([np.broadcast_to(NONE if one is None else one, shape) for one in given], dim)


def _run(call: Carried) -> Labels | None:
    """The operator itself, on labels in place of the values of its first operand."""
    labels = call.full(0)
    if labels is None or call.outputs[0].numel() > MOST:
        return None
    return _again(call, {0: torch.from_numpy(labels)})[0]


def _again(call: Carried, instead: dict[int, torch.Tensor]) -> list[Labels | None]:
    """What the operator gives with other tensors for the operands at some places; all on the host."""
    places = {id(operand.tensor): instead.get(at) for at, operand in enumerate(call.operands)}

    def swapped(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            other = places.get(id(value))
            part = dense(value)
            return other if other is not None else (part if part is not None else value).detach().cpu()
        return [swapped(one) for one in value] if isinstance(value, (list, tuple)) else value

    func = call.func
    result = func(*swapped(list(call.args)), **{name: swapped(value) for name, value in call.kwargs.items()})
    results = result if isinstance(result, (list, tuple)) else [result]
    return [
        one.numpy() if isinstance(one, torch.Tensor) and one.dtype == torch.int64 else None for one in results
    ]


def _packed(call: Carried) -> list[Labels | None]:
    """Of a padded sequence to a packed one, and back."""
    labels = call.full(0)
    if labels is None:
        return []
    found = _again(call, {0: torch.from_numpy(labels)})[:1]
    padding = call.argument("padding_value") if call.recipe.base == "pad_packed_sequence" else None
    if padding and int(padding) and found[0] is not None:
        return [np.where(found[0] == int(padding), NONE, found[0])]
    return found


def _indexed(call: Carried) -> Labels | None:
    """``values[i, j]`` with lists and masks: what was chosen, and what chose it."""
    values = call.tensor(0)
    indices = [dense(one) if one is not None else None for one in call.argument("indices")]
    if values is None:
        return None
    spans = [one.dim() if one is not None and one.dtype in (torch.bool, torch.uint8) else 1 for one in indices]
    used = [span if one is not None else 0 for one, span in zip(indices, spans, strict=True)]
    dims: list[int] = []
    at = 0
    for span, width in zip(used, spans, strict=True):
        dims += range(at, at + span)
        at += width
    labels = call.labels(0)
    found: Labels | None = None
    host = [one.cpu() if one is not None else None for one in indices]
    if labels is not None:
        shape = [values.shape[d] if d in dims else labels.shape[d] for d in range(values.dim())]
        if np.prod(shape) > MOST:
            return None
        whole = np.array(np.broadcast_to(labels, shape))
        found = torch.ops.aten.index.Tensor(torch.from_numpy(whole), host).numpy()
    return combine(found, _choosing(call, indices, used, call.outputs[0].dim(), values.dim() - at))


def _choosing(call: Carried, indices: Sequence[Any], used: Sequence[int], dims: int, after: int) -> Labels | None:
    """The labels of the index operands of an ``index``, as dimensions of its output."""
    by_id = {id(operand.tensor): one for operand, one in zip(call.operands[1:], call.given[1:], strict=True)}
    given = []
    for original, one in zip(call.argument("indices"), indices, strict=True):
        labels = by_id.get(id(original)) if original is not None else None
        if labels is not None and one is not None:
            if one.dtype in (torch.bool, torch.uint8):
                if one.numel() > MOST or call.labels(0) is not None:
                    continue
                labels = np.broadcast_to(labels, tuple(one.shape))[one.cpu().numpy().astype(bool)]
            given.append(labels)
    chosen = combine(*given)
    if chosen is None:
        return None
    places = [at for at, span in enumerate(used) if span]
    together = places == list(range(places[0], places[-1] + 1))
    before = places[0] if together else 0
    return chosen.reshape((*[1] * before, *chosen.shape, *[1] * (dims - before - chosen.ndim)))


def _selected(call: Carried) -> Labels | None:
    """`index_select`."""
    labels, tensor, chosen = call.labels("self"), call.tensor("self"), call.labels("index")
    index = call.tensor("index")
    if tensor is None or index is None or not tensor.dim():
        return None
    dim = int(call.argument("dim") or 0) % tensor.dim()
    if labels is not None and labels.shape[dim] > 1:
        labels = np.take(labels, index.cpu().numpy().reshape(-1), dim)
    if chosen is not None:
        chosen = chosen.reshape([-1 if at == dim else 1 for at in range(tensor.dim())])
    return combine(labels, chosen)


def _repeats(call: Carried) -> Labels | None:
    """`repeat_interleave` gives the numbers of what is repeated."""
    labels = call.full(0)
    return labels.reshape(-1)[call.outputs[0].cpu().numpy()] if labels is not None and len(call.operands) == 1 else None


def _gathered(call: Carried) -> Labels | None:
    labels, index = call.labels("self"), call.tensor("index")
    if index is None:
        return None
    if labels is not None:
        dim = int(call.argument("dim") or 0) % max(index.dim(), 1)
        if labels.ndim and labels.shape[dim] == 1:
            labels = labels[tuple(slice(0, min(a, b)) for a, b in zip(labels.shape, index.shape, strict=True))]
        else:
            full = call.full("self")
            if full is None or index.numel() > MOST:
                return None
            labels = torch.from_numpy(full).gather(dim, index.cpu()).numpy()
    return combine(labels, call.labels("index"))


def _put(call: Carried) -> Labels | None:
    """``values[i, j] = given``: replaced or added."""
    full, values = call.full(0), call.tensor("values")
    if full is None or values is None:
        return None
    given = call.labels("values")
    labels = np.array(np.broadcast_to(NONE if given is None else given, tuple(values.shape)))
    indices = [dense(one) if one is not None else None for one in call.argument("indices")]
    host = [one.cpu() if one is not None else None for one in indices]
    places = torch.arange(full.size).reshape(full.shape)
    chosen = torch.ops.aten.index.Tensor(places, host)
    chosen_labels = combine(*(
        one for operand, one in zip(call.operands, call.given, strict=True)
        if operand.name == "indices" and one is not None and operand.tensor.dtype not in (torch.bool, torch.uint8)
    ))
    source: Labels | None = np.broadcast_to(labels, tuple(chosen.shape))
    if chosen_labels is not None and chosen_labels.ndim == 1 and chosen.dim() and len(chosen_labels) == chosen.shape[0]:
        source = combine(source, chosen_labels.reshape((-1, *[1] * (chosen.dim() - 1))))
    return _placed(full, chosen.numpy(), source, add=bool(call.argument("accumulate")))


def _placed(full: Labels, places: Any, source: Any, *, add: bool) -> Labels:
    flat = full.reshape(-1)
    if not add:
        # a constant that is written belongs to where it is written
        given, at = np.broadcast_to(source, places.shape).reshape(-1), places.reshape(-1)
        flat[at] = np.where(given == NONE, flat[at], given)
        return full
    sums = group(np.broadcast_to(source, places.shape).reshape(-1), places.reshape(-1), flat.size)
    found = combine(flat, sums)
    assert found is not None
    return found.reshape(full.shape)


def _scattered(call: Carried) -> Labels | None:
    """`scatter`, `scatter_add` and their like: the elements of the source go where the index says."""
    full, index = call.full(0), call.tensor("index")
    if full is None or index is None or index.numel() > MOST or not full.ndim:
        return None
    dim = int(call.argument("dim") or 0) % full.ndim
    places = torch.arange(full.size).reshape(full.shape).gather(dim, index.cpu()) if _narrow(full, index, dim) else None
    if places is None:
        return None
    given = call.labels("src")
    source = call.tensor("src")
    labels: Any = NONE
    if given is not None and source is not None:
        every = np.broadcast_to(given, tuple(source.shape))
        labels = every[tuple(slice(0, extent) for extent in index.shape)]
    labels = combine(np.broadcast_to(labels, tuple(index.shape)), call.labels("index"))
    return _placed(full, places.numpy(), labels, add=call.recipe.base != "scatter" or bool(call.argument("reduce")))


def _narrow(full: Labels, index: torch.Tensor, dim: int) -> bool:
    return index.dim() == full.ndim and all(
        at == dim or index.shape[at] <= full.shape[at] for at in range(full.ndim)
    )


def _added(call: Carried) -> Labels | None:
    """`index_add` and `index_copy`: slices of the source go where the index says."""
    full, index, source = call.full(0), call.tensor("index"), call.tensor("source")
    if full is None or index is None or source is None or source.numel() > MOST or not full.ndim:
        return None
    dim = int(call.argument("dim") or 0) % full.ndim
    places = torch.arange(full.size).reshape(full.shape).index_select(dim, index.cpu().reshape(-1)).numpy()
    given, chosen = call.labels("source"), call.labels("index")
    labels: Labels | None = np.broadcast_to(NONE if given is None else given, tuple(source.shape))
    if chosen is not None:
        labels = combine(labels, chosen.reshape([-1 if at == dim else 1 for at in range(full.ndim)]))
    return _placed(full, places, labels, add=call.recipe.base != "index_copy")


def _padded(call: Carried) -> Labels | None:
    """Padding, flips and turns: of nothing, where the labels do not change along what is moved."""
    labels = call.labels(0)
    if labels is None:
        return None
    pad = call.argument("pad") or call.argument("padding")
    dims = call.argument("dims") if pad is None else None
    moved = range(-(len(pad) // 2), 0) if pad else [dims] if isinstance(dims, int) else dims or range(labels.ndim)
    if all(labels.shape[dim] == 1 for dim in moved):
        return labels
    found = _run(call)
    return np.where(found == 0, NONE, found) if found is not None and pad and call.recipe.base == "constant_pad_nd" else found


def _spread(call: Carried) -> Labels | None:
    """A map drawn larger: within each map."""
    labels = call.labels(0)
    if labels is None or labels.ndim < 3 or any(extent > 1 for extent in labels.shape[2:]):
        return None
    return labels


MOVES: dict[str, Callable[[Any], Any]] = {
    "cat": _joined,
    "stack": _stacked,
    **dict.fromkeys(
        ("masked_select", "take", "repeat", "tril", "triu", "diag", "diag_embed",
         "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "unfold_copy", "rot90"), _run
    ),
    **dict.fromkeys(("pack_padded_sequence", "pad_packed_sequence"), _packed),
    **dict.fromkeys(("index", "unsafe_index"), _indexed),
    "index_select": _selected,
    "repeat_interleave": _repeats,
    "gather": _gathered,
    **dict.fromkeys(("index_put", "unsafe_index_put", "index_put_impl"), _put),
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce"), _scattered),
    **dict.fromkeys(("index_add", "index_copy"), _added),
    **dict.fromkeys(
        ("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
         "replication_pad2d", "replication_pad3d", "flip", "roll"), _padded
    ),
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"), _spread),
}
