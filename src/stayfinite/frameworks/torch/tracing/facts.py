"""Numbers that a call's operands hide: how long the lines of a CTC loss are, how many values a normalisation sees.

They are taken of calls that are kept anyhow, and stand among their scalars.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from stayfinite.frameworks.torch.stats import bad_mask, dense
from stayfinite.frameworks.torch.tracing.drafts import Call
from stayfinite.frameworks.torch.tracing.recipes import argument, outputs_of

COUNTED = frozenset({"ctc_loss", "batch_norm", "layer_norm", "group_norm"})
"""Kinds of which there is something to count."""

_WITHOUT_BATCH = ("no_training", "no_update", "elemt")
"""Parts of the names of batch normalisations that take stored statistics."""


def facts_of(call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> list[tuple[str, float]]:
    """Names and numbers:

    - ``ctc_loss``: ``infeasible`` and ``samples``, how many of the samples cannot be aligned; of the first such one, else
      of the first with a non-finite loss, ``sample``, ``input_length``, ``target_length``, ``repeats`` (equal neighbours,
      which need a blank between them); ``blank_labels``: labels that are the blank itself.
    - normalisations that use the statistics of what they are given: ``values`` each statistic is taken over, ``groups``,
      how many statistics there are, ``constant``, how many of them have no spread.
    """
    kind = call.recipe.kind
    if kind == "ctc_loss":
        return _lines(call, args, kwargs, result)
    values = dense(call.operands[0].tensor) if call.operands else None
    if values is None or not values.numel() or not values.is_floating_point():
        return []
    if kind == "batch_norm":
        trains = argument(call.recipe, args, kwargs, "training")
        if trains is False or any(part in call.recipe.base for part in _WITHOUT_BATCH) or values.dim() < 2:
            return []
        groups = values.transpose(0, 1).reshape(values.shape[1], -1)
    elif kind == "layer_norm":
        shape = argument(call.recipe, args, kwargs, "normalized_shape")
        size = int(torch.Size(shape).numel()) if shape else 0
        groups = values.reshape(-1, size) if size else values.reshape(0, 1)
    else:
        number = argument(call.recipe, args, kwargs, "group")
        groups = values.reshape(values.shape[0] * int(number), -1) if number else values.reshape(0, 1)
    if not groups.numel():
        return []
    constant = int((groups.amin(1) == groups.amax(1)).sum())
    return [("values", float(groups.shape[1])), ("groups", float(groups.shape[0])), ("constant", float(constant))]


def _lines(call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> list[tuple[str, float]]:
    """Of a CTC loss. Log-probabilities: (T, N, C), targets: (N, S) or all lines one after the other."""
    tensors = {operand.name: operand.tensor for operand in call.operands}
    targets = tensors.get("targets")
    given = [tensors.get(name, argument(call.recipe, args, kwargs, name)) for name in ("input_lengths", "target_lengths")]
    if targets is None or any(one is None for one in given):
        return []
    frames, labels = ([int(n) for n in (one.tolist() if isinstance(one, torch.Tensor) else one)] for one in given)
    blank = int(argument(call.recipe, args, kwargs, "blank") or 0)
    rows = targets.tolist()
    if targets.dim() == 1:
        starts = [sum(labels[:at]) for at in range(len(labels))]
        rows = [rows[start : start + length] for start, length in zip(starts, labels, strict=True)]
    lines = [row[:length] for row, length in zip(rows, labels, strict=False)]
    repeats = [sum(a == b for a, b in itertools.pairwise(line)) for line in lines]
    short = [at for at, line in enumerate(lines) if frames[at] < len(line) + repeats[at]]
    losses = dense(outputs_of(result)[0]) if outputs_of(result) else None
    bad = bad_mask(losses).reshape(-1).nonzero().flatten().tolist() if losses is not None else []
    found = [("infeasible", float(len(short))), ("samples", float(len(lines))),
             ("blank_labels", float(sum(label == blank for line in lines for label in line)))]
    worst = next((at for at in short if at in bad), next(iter(bad), None))
    if worst is not None and worst < len(lines):
        found += [("sample", float(worst)), ("input_length", float(frames[worst])),
                  ("target_length", float(labels[worst])), ("repeats", float(repeats[worst]))]
    return found


def lines_without_loss(call: Call, result: Any) -> tuple[int, ...]:
    """The samples whose loss is not finite, of a CTC loss: its output has one element each, whatever the batch's other
    tensors are laid out like. Empty for other calls, and if it is all of them."""
    losses = dense(outputs_of(result)[0]) if call.recipe.kind == "ctc_loss" and outputs_of(result) else None
    if losses is None or losses.dim() != 1:
        return ()
    found = tuple(int(at) for at in bad_mask(losses).nonzero().flatten())
    return found if len(found) < losses.shape[0] else ()
