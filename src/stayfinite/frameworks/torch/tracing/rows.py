"""Which rows of the batch a call's non-finite values, or its forbidden operands, belong to."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stayfinite.frameworks.torch.stats import bad_mask, bad_rows, dense, first_true, lone_row
from stayfinite.frameworks.torch.tracing.belonging import Belonging, rows_of
from stayfinite.frameworks.torch.tracing.drafts import Call, Input

_SQUARING = {"norm", "var", "std", "mse"}
_SUMMING = {"sum", "mean", "l1_loss", "smooth_l1", "cumsum"} | _SQUARING
_LABELLED = {"nll_loss": 1, "cross_entropy": 1, "embedding": 0, "index": 0, "scatter": 0}


def rows_of_output(
    call: Call, output: torch.Tensor, mask: torch.Tensor, inputs: Sequence[Input], belonging: Belonging,
    batch_size: int | None,
) -> tuple[int, ...]:
    """The rows behind the non-finite elements (`mask`) of a dense `output`; empty if all are, or rows have no
    meaning."""
    if call.phase == "backward":
        joined = call.joined
        if joined is None:
            return ()
        known = belonging.rows_like(joined.labels.get(output.shape), mask)
        return known if known is not None else bad_rows(mask, batch_size) if output.shape in joined.shapes else ()
    found = belonging.rows(output, mask)
    if found is None:
        if not call.rows:
            return ()
        found = bad_rows(mask, batch_size)
        if batch_size is None or (output.dim() and output.shape[0] % batch_size == 0):
            return found
    if found:
        return found
    # The output has no rows any more: a reduction, or a loss. Ask what it reduced.
    if call.recipe.kind == "nll_loss":
        return _picked(call, belonging, batch_size)
    for one in inputs:
        values = one.values
        if values is None or one.record is None or values.shape != one.part.shape:
            continue  # what is turned round in place has another shape than before
        labelled = belonging.labels(one.part) is not None
        if not labelled and not one.record.rows:
            continue
        squared = call.recipe.kind in _SQUARING
        if one.bad:
            found = rows_of(belonging, one.part, bad_mask(values), batch_size)
        elif call.recipe.kind in _SUMMING:
            found = belonging.lone_row(one.part, values, squared) if labelled else lone_row(values, batch_size, squared)
        if found:
            return found
    return ()


def _picked(call: Call, belonging: Belonging, batch_size: int | None) -> tuple[int, ...]:
    """The rows whose label points at a non-finite log-probability. Input: (N, C, ...), labels: (N, ...)."""
    tensors = [dense(operand.tensor) for operand in call.operands]
    if len(tensors) < 2 or tensors[0] is None or tensors[1] is None or tensors[0].dim() < 2:
        return ()
    scores, labels = tensors[0], tensors[1]
    usable = (labels >= 0) & (labels < scores.shape[1])
    picked = scores.gather(1, labels.clamp(0, scores.shape[1] - 1).unsqueeze(1)).squeeze(1)
    mask = bad_mask(picked) & usable
    known = belonging.rows(labels, mask)
    if known is None:
        known = belonging.rows(scores, mask.unsqueeze(1).expand(scores.shape))
    return bad_rows(mask, batch_size) if known is None else known


def forbidden(call: Call, belonging: Belonging, batch_size: int | None) -> tuple[int, tuple[int, ...] | None, tuple[int, ...]]:
    """The operand of a call that raised which holds values the operator does not accept: its place, the index of the
    first such value, and the rows that hold them. The index is ``None`` where nothing forbidden is known."""
    kind = call.recipe.kind
    parts = [dense(operand.tensor) for operand in call.operands]
    place, mask = 0, None
    if kind in _LABELLED and len(parts) > 1:
        scores = parts[0]
        place = next(
            (at for at, part in enumerate(parts) if at and part is not None and not part.is_floating_point()), 0
        )
        labels = parts[place]
        if scores is not None and labels is not None and place and scores.dim():
            extent = scores.shape[min(_LABELLED[kind], scores.dim() - 1)]
            if kind in ("index", "scatter"):
                extent = _extent(call, scores, place)
            mask = (labels >= extent) | (labels < (-extent if kind == "index" else 0))
            if _LABELLED[kind]:
                ignored = next((value for name, value in call.numbers if name == "ignore_index"), call.ignored)
                mask &= labels != ignored
    elif parts and parts[0] is not None and parts[0].is_floating_point():
        values = parts[0]
        if kind == "bce":
            mask = ~((values >= 0) & (values <= 1))
        elif kind == "sample":
            mask = ~(values >= 0) | torch.isinf(values)
    if mask is None or not bool(mask.any()):
        return place, None, ()
    part = parts[place]
    return place, first_true(mask), rows_of(belonging, part, mask, batch_size) if part is not None else ()


def _extent(call: Call, values: torch.Tensor, place: int) -> int:
    """The extent an index operand counts in: of the dimension given, else of the one at its position in the list."""
    if call.dimension is not None:
        return int(values.shape[call.dimension])
    at = call.operands[place].place
    return int(values.shape[at]) if at < values.dim() else 0
