"""How large the data and the parameters of a case are, and which tensor of the batch plays which part.

The batch of a case is whatever tensors the step's names held: beside inputs and targets there may be whole data sets,
masks and weights. What the model was called with and what the loss compared are the best witnesses; names come next.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from stayfinite.catalog.clues import amplitude, finite, inputs, kind, source_text
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.histories import first_reading, growth
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction, State
from stayfinite.records.numbers import show, to_float
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, LeafKind, LossTerm

_TARGET_NAME = re.compile(r"(^|[^a-z])(y|ys|yb|tgt|gt|t)([^a-z]|$)|target|label|truth|answer", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


def _continuous(stats: TensorStats) -> bool:
    return dtype_facts(stats.dtype) is not None


def _same_values(a: TensorStats, b: TensorStats) -> bool:
    return a.size > 1 and a.min == b.min and a.max == b.max


def root_of(name: str) -> str:
    """The name that `name` begins with: ``"batch"`` of ``"batch['x']"``; itself where it begins with none."""
    found = _IDENTIFIER.match(name)
    return found.group() if found is not None else name


def _of_this_step(case: Case) -> tuple[TensorStats, ...]:
    """Continuous tensors of the batch; those with as many rows as the batch has samples, if there are any."""
    every = tuple(stats for stats in case.batch if _continuous(stats))
    rows = tuple(stats for stats in every if stats.shape and stats.shape[0] == case.batch_size)
    return rows or every


def targets(case: Case) -> tuple[TensorStats, ...]:
    """Continuous targets: what a loss at the origin compared with, else by name, else the second of two tensors, or the only column
    that the models were not given."""
    if kind(case).has("loss") and len(inputs(case)) > 1:
        roots = {root_of(stats.name) for stats in case.batch}
        compared = tuple(
            stats for stats in inputs(case)
            if _continuous(stats) and (root_of(stats.name) in roots or any(_same_values(stats, b) for b in case.batch))
        )
        if compared:
            return compared
    here = _of_this_step(case)
    text = source_text(case)
    subtracted = tuple(
        stats for stats in here
        if re.search(rf"-\s*{re.escape(stats.name)}(?!\w)|(?<!\w){re.escape(stats.name)}\s*-", text)
    )
    named = tuple(stats for stats in here if _TARGET_NAME.search(stats.name))
    if kind(case).has("squares") and subtracted:
        return subtracted
    if named:
        return named
    if len(case.batch) == 2:
        return tuple(stats for stats in case.batch[1:] if _continuous(stats))
    return _left_over(case, here)


def _left_over(case: Case, here: tuple[TensorStats, ...]) -> tuple[TensorStats, ...]:
    """The one column of numbers, with as many rows as what the models were given, that no model was given."""
    given = case.trace.model_inputs
    rows = {stats.shape[0] for stats in given if stats.shape}
    columns = tuple(
        stats for stats in here
        if _continuous(stats) and stats.shape and stats.shape[0] in rows and stats.size == stats.shape[0]
        and not any(_same_values(stats, one) for one in given)
    )
    return columns if len(columns) == 1 else ()


def _as_named(case: Case, stats: TensorStats) -> TensorStats:
    """What the batch calls a tensor that a model knows under another name."""
    return next((held for held in case.batch if held.shape == stats.shape and _same_values(held, stats)), stats)


def features(case: Case) -> tuple[TensorStats, ...]:
    """Continuous inputs: what the model was called with, else all of the batch that does not hold the targets."""
    if case.trace.model_inputs:
        return tuple(_as_named(case, stats) for stats in case.trace.model_inputs if _continuous(stats))
    aims = targets(case)
    names = {root_of(aim.name) for aim in aims} | {aim.name for aim in aims}
    held = (*aims, *(stats for stats in case.batch if stats.name in names))  # a slice, and the whole it was cut from
    return tuple(
        stats for stats in _of_this_step(case)
        if stats.name not in names and not any(_same_values(stats, aim) for aim in held)
    )


def off_centre(stats: TensorStats) -> bool:
    """True if `stats` lies on one side of 0, farther from it than it is wide, or reaches a hundred times the size of
    standardised data: what a layer makes of it has the sign of its weights."""
    low, high = finite(stats.min), finite(stats.max)
    if low is None or high is None:
        return False
    return amplitude(stats) >= 100.0 or (low * high > 0.0 and min(abs(low), abs(high)) >= 0.5 * (high - low))


def widest(tensors: tuple[TensorStats, ...]) -> TensorStats | None:
    """The tensor with the largest finite magnitude."""
    return max(tensors, key=amplitude, default=None)


OUTLYING = 1e3
"""A row this many times larger than the typical one is a fault of the row. Heavy-tailed measurements (incomes, counts)
reach a hundred times their median in a batch."""


def outlier(case: Case, stats: TensorStats) -> TensorStats | None:
    """What the batch holds under the name or with the values of `stats`, or what `stats` was cut from, if one of its rows is
    `OUTLYING`."""
    for held in (stats, *case.batch):
        typical = finite(held.typical_row)
        cut = held.size > stats.size and held.shape[1:] == stats.shape[1:] and amplitude(held) == amplitude(stats)  # a batch of it
        if typical and amplitude(held) >= OUTLYING * typical and (held.name == stats.name or cut or _same_values(held, stats)):
            return held
    return None


def scale_bits(magnitude: float) -> float:
    """Bits that the largest magnitude of data is worth for "it was never scaled".

    Standardised data stay below 10 (a 10-sigma value), pixels as bytes reach 255, raw quantities (prices, populations,
    distances in metres) lie at 1e3 and above.
    """
    if magnitude >= 1e6:
        return 5.0
    if magnitude >= 1e3:
        return 4.0
    if magnitude >= 100.0:
        return 2.0
    return 0.0 if magnitude >= 10.0 else -6.0


def outliers_only(case: Case, stats: TensorStats, fact: str) -> list[Evidence]:
    """For causes that concern all samples alike: evidence against them if the size of `stats` is that of single rows."""
    held = outlier(case, stats)
    typical = finite(held.typical_row) if held is not None else None
    if typical is None or scale_bits(typical) > 0.0:
        return []
    return [Evidence(f"apart from single rows `{stats.name}` stays within some {show(typical)}", -5.0, fact)]


def single_sample(case: Case) -> list[Evidence]:
    """For causes that concern all samples alike: evidence against them if only a few of the batch are concerned."""
    samples = case.origin.samples if case.origin is not None else ()
    if samples and case.batch_size and len(samples) * 4 <= case.batch_size:
        named = ", ".join(str(sample) for sample in samples[:5])
        return [Evidence(f"only sample {named} of {case.batch_size} is concerned", -2.5, "samples")]
    return []


def data_scale(case: Case) -> float:
    """Largest finite magnitude of what the model was given and what it was compared with; 0 if nothing is known."""
    return max((amplitude(stats) for stats in (*features(case), *targets(case))), default=0.0)


def absurd_start(case: Case) -> float:
    """The very first loss if it was 1e4 or more on data of ordinary size; else 0. Sums over a batch of images reach
    that, means never do."""
    first = first_reading(case, "loss")
    return first if first is not None and first >= 1e4 and data_scale(case) < 100.0 else 0.0


MEANS = frozenset({"mean", "mse", "l1_loss", "smooth_l1", "nll_loss", "cross_entropy", "bce", "bce_with_logits"})
"""Kinds of loss terms that are means by default, whose size says something about one element."""
_OF_CLASSES = frozenset({"nll_loss", "cross_entropy", "bce", "bce_with_logits"})


def usual_start(case: Case, terms: Sequence[LossTerm]) -> float:
    """What `terms`, all of them means, come to at most before anything is learned: about ln(classes) for each over classes
    (9 for ten thousand), ten times the square of the data for others."""
    square = 10.0 * max(data_scale(case), 1.0) ** 2
    return sum(abs(to_float(term.weight)) * (10.0 if term.kind in _OF_CLASSES else square) for term in terms)


def began_with(case: Case) -> LossTerm | None:
    """The one term that is no mean, if the others cannot have made the very first loss: it was 30 times what they come to."""
    first, terms = first_reading(case, "loss"), case.trace.terms
    sums = [term for term in terms if term.kind not in MEANS]
    if first is None or len(sums) != 1 or len({term.group for term in terms}) != 1 or len(terms) < 2:
        return None
    others = [term for term in terms if term is not sums[0]]
    return sums[0] if first >= 30.0 * usual_start(case, others) > 0.0 else None


def parameter_scale(case: Case) -> float:
    """Largest finite magnitude among the parameters at the start of the step; 0 if none is known."""
    return max((amplitude(stats) for stats in case.parameters), default=0.0)


def large_parameters(case: Case) -> list[Evidence]:
    """For causes that make all numbers grow: evidence for them if the parameters have grown."""
    size = parameter_scale(case)
    if case.symptom.step > 0 and size >= 1e3:
        return [Evidence(f"parameters reach {show(size)} at the start of the step", 1.0, "parameter-scale")]
    return []


def initial_excess(stats: TensorStats) -> float:
    """How many times larger a weight's largest magnitude is than ordinary initialisation makes it; 0 for vectors.

    Ordinary: standard deviation sqrt(2 / fan-in) (He et al. 2015), five deviations for the largest of many.
    """
    if len(stats.shape) < 2:
        return 0.0
    fan_in = 1
    for extent in stats.shape[1:]:
        fan_in *= max(extent, 1)
    return amplitude(stats) / (5.0 * math.sqrt(2.0 / fan_in))


def lone_element(case: Case, of: LeafKind) -> Leaf | None:
    """State of that kind of which one number lies far beyond all others, in a training that had been calm: nothing that a step
    computes does that, it changes many numbers. ``None`` if there is none, or the loss had risen before; the last step or two
    may have met the number already, if they met nothing else of that sort."""
    run = growth(case, "loss")
    if case.symptom.step == 0 or (run.grew and (run.steps > 2 or data_scale(case) >= 1e3)):
        return None
    return next((leaf for leaf in case.outlying if leaf.kind == of), None)


def told_alone(leaf: Leaf) -> str:
    """What there is to say of such a number."""
    stats = leaf.stats
    at = ", ".join(map(str, stats.absmax_index))
    value = show(stats.culprit) if stats.culprit is not None else "not finite"
    rest = f", all others stay within {show(stats.typical_row)}" if stats.size > 1 and stats.typical_row is not None else ""
    return f"before the step `{leaf.name}[{at}]` was {value}{rest}: no update makes that"


def lone_mended(case: Case, of: LeafKind, what: Literal["parameters", "buffers", "moments"]) -> list[Prediction]:
    """With that number set to what is fresh there, and those that an update has made of it, the step passes."""
    if lone_element(case, of) is None:
        return []
    leaves = [leaf for leaf in case.outlying if leaf.kind == of]
    sizes = [abs(value) for leaf in leaves if (value := finite(leaf.stats.culprit)) is not None]
    return [Prediction(State(what, "mended", tuple(leaf.name for leaf in leaves), above=0.5 * min(sizes, default=0.0)))]
