"""A weight is one over how often something occurs, and something does not occur.

What happens
------------
Rare classes are given more weight: one over their count or their frequency. A class without any sample in the split, the
fold or the batch has count 0 and an infinite weight. The loss multiplies it with a 0 and gets NaN, or brings the weights
to a sum of 1 first, which makes all of them NaN. The same happens to the ratio of negatives to positives of a column that
has no positives, to inverse document frequencies, and to logarithms of class priors.

How to recognise it
-------------------
The origin is a division, a reciprocal, a negative power or a logarithm of a tensor of counts that holds a 0, or a weight
with one entry per class that is an infinity before the step. It depends on the split or on the composition of the batch.

What to do
----------
Count over the whole training set, with a floor of 1 or a pseudo-count; give a class without samples the weight 0 or 1.

Example
-------
::

    weight = len(labels) / torch.bincount(labels, minlength=10)
    weight = len(labels) / torch.bincount(labels, minlength=10).clamp_min(1)

References
----------
Named in the design of the catalogue, with no thread of its own among those that were classified; hieuvmphan/REMINDER#10
(an absent class) is near
"""

from __future__ import annotations

import re

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import birth, edge_value, finite, inputs, kind, operand, origin_location
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.operator_predictions import finite_operands, inside_domain
from stayfinite.catalog.places import made
from stayfinite.catalog.predictions import mended, without_gaps
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.survey import Birth, Making
from stayfinite.records.tensor import TensorStats

_COUNT = re.compile(r"count|freq|hist|prior|occur|n_per|per_class|num_|support|(^|[^a-z])(df|tf)([^a-z]|$)", re.IGNORECASE)
_WEIGHT = re.compile(r"weight|(^|[^a-z])(w|cw|idf|alpha)([^a-z]|$)|balance|prior|pos_w", re.IGNORECASE)
_BROKEN = frozenset({"div", "reciprocal", "pow", "log", "rsqrt", "sqrt", "xlogy"})

_OF_ONE = frozenset({"log", "sqrt", "rsqrt", "reciprocal"})
"""Kinds of one operand: it is the one that a gradient goes to."""

_BYTES = frozenset({"uint8", "int8"})
"""Formats that nobody counts in."""

_PLAIN = re.compile(r"[\d.]+")
_TOTAL = re.compile(r"sum\(|mean\(|max\(|len\(|size|total|(^|\W)n(\W|$)", re.IGNORECASE)
_NEGATIVE_POWER = re.compile(r"\*\* ?\(?-|power\(.*, ?-|reciprocal")
_LONG = 100
"""Entries from which an infinity at one end of a table is no accident: classes that do not occur stand anywhere."""
_TALLIED = frozenset({"count", "scatter"})
"""Kinds that count: a histogram, or ones that are added up where they belong."""
_WEIGHING = frozenset({"nll_loss", "cross_entropy", "bce", "bce_with_logits", "mul", "index"})

TITLE = "Class that does not occur"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(
    phases=COMPUTED | {"data", "load"}, kinds=_BROKEN | {"input", "buffer", "parameter"}
)
EXAMPLES = ("batch-balanced-loss", "label-weights")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """Whether what was divided by is a count, and whether it is 0; or whether a weight for each class is infinite."""
    return _leaf(case) if kind(case).has("leaf") else _counted(case)


def locate(case: Case) -> Location:
    """The line that divides by the count; else where its result was first used."""
    born = birth(case)
    if born is not None and born.location.file:
        return born.location
    weighted = made(case, "weight", "divide", fits=_is_inverse) or made(case, "weight", "divide")
    if weighted is None and kind(case).name not in ("div", "reciprocal", "pow", "rsqrt"):
        weighted = made(case, "operand", "divide", fits=lambda one: _COUNT.search(one.location.code) is not None)
    return weighted or origin_location(case)


def _counted(case: Case) -> list[Evidence]:
    given, divisor = inputs(case), operand(case)
    if divisor is None or edge_value(case) != 0.0:
        return [Evidence("what was divided by is not 0", -8.0, "operand-value")]
    found = [Evidence(f"`{divisor.name}` is 0 in {divisor.zero} of {divisor.size} entries", 3.0, "operand-value")]
    if divisor.size < 2 or not finite(divisor.max):
        found.append(Evidence("it is no table of counts", -7.0, "table"))
    elif "count" in divisor.made_by or _TALLIED & set(divisor.made_by[:1]):  # a sum over what was scattered is a degree
        found.append(Evidence(f"it was counted (line {divisor.made_at.line})" if divisor.made_at is not None else
                              "it was counted", 8.0, "table"))
    elif _is_count(divisor):
        found.append(Evidence("it is a count of occurrences", 7.0, "table"))
    else:
        found.append(Evidence("nothing says that it is a count", -5.0, "table"))
    if case.origin is not None and case.origin.phase == "backward" and kind(case).name in _OF_ONE:
        found.append(Evidence("a gradient goes to it: it is computed from parameters, and was not counted", -9.0, "table"))
    numerator = finite(given[0].culprit) if kind(case).name == "div" and len(given) > 1 else None
    if numerator is not None and numerator != 0.0:
        found.append(Evidence(f"the numerator is {show(numerator)}: there are samples, none of this class", 1.0, "numerator"))
    elif numerator == 0.0:
        found.append(Evidence("the numerator is 0 as well: a mean over nothing", -5.0, "numerator"))
    if kind(case).name == "div" and len(given) > 1 and given[0].made_by[:1] in (("matmul",), ("scatter",)):
        found.append(Evidence("the numerator is a sum over each class: a mean over nothing", -5.0, "numerator"))
    return found


def _leaf(case: Case) -> list[Evidence]:
    """Weights that were infinite, or NaN, before the step."""
    origin = case.origin
    bad = next((stats for stats in inputs(case) if stats.nonfinite), None)
    if origin is None or bad is None:
        return [Evidence("nothing was bad before the step", -8.0, "operand-value")]
    if origin.birth is not None and (table := _counted_before(origin.birth)) is not None:
        return [Evidence(f"before the step a number was divided by `{table.name}`, a count that is 0 in {table.zero} of "
                         f"{table.size} entries", 10.5, "born-by")]
    if len(bad.shape) != 1 or bad.size < 2:
        return [Evidence(f"`{bad.name}` is no table with one entry per class", -7.0, "table")]
    used = _WEIGHT.search(f"{bad.name} {origin.buffer or ''}") is not None
    found = [Evidence(f"`{bad.name}` has one entry for each of {bad.size} classes" if used else
                      f"`{bad.name}` is a table of {bad.size} entries", 4.0 if used else -2.0, "table")]
    least = finite(bad.min)
    if bad.posinf and not bad.nan and not bad.neginf:
        positive = least is not None and least > 0.0
        found.append(Evidence(f"{bad.posinf} of them are +inf, as one over a count of 0 is" + (
            ", all others are positive" if positive else ""), 6.5 if positive else 4.5, "operand-value"))
    elif bad.nan == bad.size:
        found.append(Evidence("all of them are NaN, as a table with an infinity is after it was normalised", 3.0,
                              "operand-value"))
    at = bad.culprit_index
    if bad.posinf == 1 and bad.nonfinite == 1 and bad.size >= _LONG and len(at) == 1 and at[0] in (0, bad.size - 1):
        found.append(Evidence(f"it is the {'last' if at[0] else 'first'} of {bad.size} entries alone, as where a curve ends", -4.0,
                              "position"))
    if any(call.kind in _WEIGHING and -1 - at in call.sources for at, leaf in enumerate(case.trace.leaves)
           for call in case.trace.calls if leaf.stats.name == bad.name):
        found.append(Evidence("a loss is weighted with it", 1.5, "use"))
    if origin.birth is not None:
        found.append(_birth(origin.birth))
    elif used and (inverse := made(case, "weight", "divide", fits=_is_inverse)) is not None and _counts(case):
        found.append(Evidence(f"what weights the loss is one over a count (`{inverse.expression}`)", 4.0, "birth"))
    return found


def _is_inverse(one: Making) -> bool:
    """True for a division that turns what is rare into what is large: of a number or a total, by what is no total."""
    numerator, found, divisor = one.location.expression.rpartition(" / ")
    if not found:
        return _NEGATIVE_POWER.search(one.location.expression) is not None
    return not _TOTAL.search(divisor) and (_PLAIN.fullmatch(numerator) is not None or _TOTAL.search(numerator) is not None)


def _counts(case: Case) -> bool:
    return any(one.of == "weight" and _COUNT.search(one.location.code) for one in case.makings)


def _birth(birth: Birth) -> Evidence:
    zero = next((stats for stats in birth.inputs if stats.zero or finite(stats.min) == 0.0), None)
    if birth.op in _BROKEN and zero is not None:
        counted = birth.operand_by in ("count", "sum") or _is_count(zero) or _COUNT.search(birth.location.code) is not None
        return Evidence(f"{birth.op} made it of `{zero.name}`, whose least entry is {show(0.0)}"
                        f"{'' if counted else ' and which is no count'}", 4.0 if counted else -4.0, "birth")
    if re.search(r"\*\*\s*-|/|reciprocal|divide|power", birth.location.code) and _COUNT.search(birth.location.code):
        return Evidence(f"line {birth.location.line} divides by a count", 4.0, "birth")
    return Evidence("who made it did not divide by a count", -3.0, "birth")


def _counted_before(birth: Birth) -> TensorStats | None:
    """The table of counts with a 0 that one number was divided by, wherever the result went from there."""
    if birth.op not in ("div", "reciprocal") or (len(birth.inputs) > 1 and birth.inputs[0].size > 1):
        return None
    divisor = birth.inputs[-1] if birth.inputs else None
    if divisor is None or divisor.size < 2 or not divisor.zero:
        return None
    return divisor if birth.operand_by == "count" or _is_count(divisor) else None


def _is_count(divisor: TensorStats) -> bool:
    whole = dtype_facts(divisor.dtype) is None and divisor.dtype not in _BYTES
    return (whole and divisor.made_by[:1] != ("sub",)) or _COUNT.search(divisor.name) is not None


def predict(case: Case) -> list[Prediction]:
    """With a count above 0, or large finite weights, the step passes; with the gaps filled that it left in the data."""
    born = birth(case)
    if born is not None and _counted_before(born) is not None and case.origin is not None and case.origin.phase == "data":
        return without_gaps(case)
    if not kind(case).has("leaf"):
        return inside_domain(case)
    in_model = any(leaf.kind == "buffer" and leaf.stats.nan for leaf in case.trace.leaves)
    return [*finite_operands(case, whole_line=True), *(mended(case, "buffers") if in_model else [])]
