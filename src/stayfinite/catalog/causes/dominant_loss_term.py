"""Of several losses that are added up, one is so large that it alone decides the step.

What happens
------------
A loss is often a sum: a reconstruction and a divergence, a task and a penalty, one term for each head. The terms have
different units. One that is a sum over elements where the others are means, that was given the wrong weight, or that
grows with a power of what the network does, makes gradients a thousand or a million times larger than the others: the
others are not learned at all, the shared layers are thrown about, and at last that term overflows. Clipping the norm
hides which one it was: it scales the gradients of every parameter down, or turns all of them into NaN.

How to recognise it
-------------------
The loss is a sum. One of its terms is not finite, or has a gradient many times that of the others, while the others
are ordinary numbers; the term has a large weight, or it is a sum where the others are means. The rate and the data are
ordinary, and the origin is a number that grew too large.

What to do
----------
Look at each term alone: its value and its gradient norm, before clipping. Bring them to the same order of magnitude by
taking means, by the weight, or by a form that grows more slowly; raise a new term's weight from 0 over some hundred steps.

Example
-------
::

    loss = F.mse_loss(rebuilt, x) + kl.sum()
    loss = F.mse_loss(rebuilt, x) + beta * kl.sum() / x.numel()

References
----------
AntixK/PyTorch-VAE#16, InterDigitalInc/PccAI#1, AppliedDataSciencePartners/WorldModels#9, jingyaogong/minimind#567
"""

from __future__ import annotations

import math

import msgspec

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import edge_value, inputs, kind, origin_call, origin_location, output, overflowed
from stayfinite.catalog.histories import first_reading, growth, growth_bits, rate_ratio, told
from stayfinite.catalog.predictions import here_and_before, left_out
from stayfinite.catalog.scales import MEANS, absurd_start, began_with, data_scale, single_sample, usual_start
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Intervention, Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import is_finite, show, to_float
from stayfinite.records.trace import LossTerm

TITLE = "One loss term drowns the others"
PRIOR = prior(threads=4)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("moment-matching", "plate-residual", "rows-of-ink")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]

WEIGHTS = (1e-2, 1e-4, 1e-6)
"""Shares of a term that a run tries to go on with."""


def evidence(case: Case) -> list[Evidence]:
    """The terms beside each other, the weight and kind of the largest, and whether size was what broke it."""
    ranked = _ranked(case)
    if len(ranked) < 2:
        return [Evidence("the loss is no sum of several terms", -9.0, "terms")]
    worst, others = ranked[0], ranked[1:]
    size = _after_growth(case, worst, others) or _dominance(worst, others, began_with(case))
    found = [size, *_mechanism(case, worst), *_weight(worst, others), *single_sample(case)]
    first = first_reading(case, "loss")
    small = sum(abs(to_float(term.value)) for term in others)
    if first is not None and math.isfinite(small) and first >= 1e3 * small > 0.0:
        found.append(Evidence(f"the first loss, {show(first)}, was {show(first / small)} times what the other terms are",
                              2.0, "first-loss"))
    if absurd_start(case) and _overweight(worst, others):
        found.append(Evidence(f"the first loss was {show(absurd_start(case))} already, on data of ordinary size", 3.5,
                              "first-loss"))
    if began_with(case) is worst and first is not None:
        found.append(Evidence(f"the first loss was {show(first)}, of which the other terms make no more than "
                              f"{show(usual_start(case, others))}", 4.0, "first-loss"))
    run = growth(case, "loss")
    if growth_bits(run) > 0.0 and (_weight(worst, others) or worst is began_with(case)):
        found.append(Evidence(told("the loss", run), 0.5 * growth_bits(run), "loss-history"))
    if worst.parameters:
        found.append(Evidence(f"its gradient is largest in `{worst.parameters[0]}`", 0.5, "layer"))
    ratio = rate_ratio(case)
    if ratio is not None and ratio >= 10.0:
        found.append(Evidence(f"the rate is {show(ratio)} times what is customary", -3.0, "rate"))
    elif ratio is not None and ratio <= 3.0:
        found.append(Evidence("the rate is customary", 1.0, "rate"))
    clipped = case.configuration.clipped_norm
    if clipped is not None and not is_finite(clipped):
        found.append(Evidence(f"clipping found a norm of {show(clipped)}, and scales every gradient by it", 2.0, "clipping"))
    if data_scale(case) >= 1e3:
        found.append(Evidence(f"data of {show(data_scale(case))} make a loss large by themselves", -3.5, "data-scale"))
    return found


def locate(case: Case) -> Location:
    """The line that gives the largest term its weight, if that is what is large; else the line that computes it."""
    ranked = _ranked(case)
    if len(ranked) < 2 or not ranked[0].location.file:
        return origin_location(case)
    worst = ranked[0]
    multiplied = _overweight(worst, ranked[1:]) or (began_with(case) is worst and abs(to_float(worst.weight)) > 1.0)
    return worst.weighted_at if worst.weighted_at is not None and multiplied else worst.location


def _ranked(case: Case) -> list[LossTerm]:
    """The terms that compete, the suspect first: the largest, or one whose weight is out of proportion or that made the
    very first loss. That one has thrown shared layers about, and which term overflows first is then chance."""
    terms = sorted(case.trace.terms, key=_size, reverse=True)
    rivals = [term for term in terms if term.group == terms[0].group]
    heavy = next((one for one in rivals if _overweight(one, [other for other in rivals if other is not one])), None)
    heavy = heavy if heavy is not None else began_with(case) or _only_sum(rivals)
    return [heavy, *(one for one in rivals if one is not heavy)] if heavy in rivals else rivals


def _only_sum(terms: list[LossTerm]) -> LossTerm | None:
    """The one sum among means, where it has left the format with others: of those nothing more can be said."""
    sums = [term for term in terms if term.kind not in MEANS]
    gone = [term for term in terms if math.isinf(_size(term)[0])]
    return sums[0] if len(sums) == 1 and len(terms) > 1 and len(gone) > 1 and sums[0] in gone else None


def _size(term: LossTerm) -> tuple[float, float]:
    """Gradient and value of a term; infinite where they are not finite."""
    value, gradient = abs(to_float(term.value)), to_float(term.gradient)
    if not math.isfinite(gradient):
        gradient = math.inf if term.measured else value
    return gradient, value if math.isfinite(value) else math.inf


def _told(term: LossTerm) -> str:
    gradient = f", its gradient {show(term.gradient)}" if term.measured else ""
    return f"`{term.name}` (line {term.location.line}) is {show(term.value)}{gradient}"


def _dominance(worst: LossTerm, others: list[LossTerm], began: LossTerm | None) -> Evidence:
    rest = "; ".join(_told(term) for term in others[:3])
    size, next_size = _size(worst)[0], max(_size(term)[0] for term in others)
    if math.isinf(next_size) and (_overweight(worst, others) or worst is began):
        return Evidence(f"{_told(worst)}; {rest}", 2.0, "term-size")
    if math.isinf(next_size) and _only_sum([worst, *others]) is worst:
        return Evidence(f"it fails with others, of which it alone is no mean: {_told(worst)}; {rest}", 0.0, "term-size")
    if math.isinf(next_size):
        return Evidence(f"several terms fail alike: {_told(worst)}; {rest}", -4.0, "term-size")
    if math.isinf(size):
        return Evidence(f"of {len(others) + 1} terms only {_told(worst)}; {rest}", 4.0, "term-size")
    if next_size == 0.0:
        return Evidence(f"the other terms are 0 in this step, none is drowned: {_told(worst)}; {rest}", -4.0, "term-size")
    ratio = size / next_size
    if ratio < 30.0:
        return Evidence(f"the terms are of similar size: {_told(worst)}; {rest}", -6.0, "term-size")
    bits = 6.0 if ratio >= 1e6 else 5.0 if ratio >= 1e4 else 4.0 if ratio >= 1e3 else 2.0
    return Evidence(f"{_told(worst)}; {rest}", bits, "term-size")


def _after_growth(case: Case, worst: LossTerm, others: list[LossTerm]) -> Evidence | None:
    """Sizes at the end of a run-up tell which term grew, and not that it made the others grow: whatever depends on what was
    thrown about is large by then. A weight, a sum among means or an absurd beginning tell more."""
    runs = [run for series in ("loss", "gradient_norm") if (run := growth(case, series)).steps >= 3 and growth_bits(run) >= 4.0]
    if not runs or _weight(worst, others) or worst is began_with(case) or _size(worst)[0] < 30.0 * max(_size(one)[0] for one in others):
        return None
    return Evidence(f"{_told(worst)}, after {runs[0].steps} steps of growth from an ordinary beginning", 1.0, "term-size")


def _mechanism(case: Case, worst: LossTerm) -> list[Evidence]:
    """Whether the term broke because it is large. An operand outside of an operator's domain is another cause."""
    origin = case.origin
    if origin is None:
        return []
    if kind(case).has("leaf") or any(stats.nonfinite for stats in inputs(case)):
        return [Evidence("the value was bad before the loss was computed", -8.0, "mechanism")]
    if edge_value(case) is not None or not (overflowed(case) or origin.phase == "optimizer"):
        return [Evidence(f"{kind(case).name} broke at one operand, not by the size of the term", -7.0, "mechanism")]
    if kind(case).has("exponentiates"):
        return [Evidence("an exponential overflowed: one element is enough for that", -3.0, "mechanism")]
    made = output(case)
    if made is not None and made.dtype == "float16" and origin.phase != "optimizer":
        return [Evidence("a number left the range of float16, which ends where terms are still ordinary", -3.0, "mechanism")]
    found = [Evidence("numbers inside the operator's domain left the range of the format", 1.5, "mechanism")]
    call = origin_call(case)
    if call is not None and worst.source is not None and _leads_to(case, call.index, worst.source):
        found.append(Evidence("the origin lies in that term", 1.0, "origin-place"))
    return found


def _leads_to(case: Case, call: int, end: int) -> bool:
    waiting, seen = [end], set()
    while waiting:
        index = waiting.pop()
        if index == call:
            return True
        one = case.trace.call(index)
        if one is not None and index not in seen:
            seen.add(index)
            waiting.extend(one.sources)
    return False


def _overweight(worst: LossTerm, others: list[LossTerm]) -> bool:
    """True if the largest term is multiplied with 100 or more, and with a hundred times what the others are."""
    weight = abs(to_float(worst.weight))
    largest = max((abs(to_float(term.weight)) for term in others), default=1.0)
    return math.isfinite(weight) and weight >= 100.0 * max(largest, 1.0)


def _weight(worst: LossTerm, others: list[LossTerm]) -> list[Evidence]:
    if _overweight(worst, others):
        weight = abs(to_float(worst.weight))
        return [Evidence(f"it is multiplied with {show(weight)}", 3.0 if weight >= 1e3 else 1.5, "weight")]
    if worst.kind not in MEANS and all(term.kind in MEANS for term in others):
        return [Evidence("it is a sum, the others are means", 2.5, "weight")]
    return []


def predict(case: Case) -> list[Prediction]:
    """Without the term the step passes, and without another one it does not."""
    ranked = _ranked(case)
    return here_and_before(case, left_out(ranked[0])) if len(ranked) > 1 and ranked[0].location.file else []


def treat(case: Case) -> list[Intervention]:
    """The term counts as much as lets its gradient be that of the next largest, where that is known and not next to nothing: a term
    that is as good as left out would hide the failure. Else a hundredth, and less if that does not help."""
    ranked = _ranked(case)
    if len(ranked) < 2 or not ranked[0].location.file:
        return []
    (size, _), (rest, _) = _size(ranked[0]), max(map(_size, ranked[1:]))
    measured = [rest / size] if WEIGHTS[-1] <= rest / size < WEIGHTS[0] else []
    return [msgspec.structs.replace(left_out(ranked[0]), weight=weight) for weight in (*measured, *WEIGHTS)]
