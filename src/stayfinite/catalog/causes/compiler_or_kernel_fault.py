"""Compiled code, a kernel or a derivative written by hand gives another result than what it stands for.

What happens
------------
The formula is fine, and its implementation is not: a hand-written backward pass divides by what may be 0, a kernel leaves
the end of its output unwritten, a graph pass replaces an operation by one that overflows, a fused backend treats an empty
row otherwise. Nothing compares such code with a reference while it trains.

How to recognise it
-------------------
Finite numbers go into the function, the operator or the compiled part and non-finite ones come out, while the reference
gives finite ones there: the same step run uncompiled, or the derivative of the forward half where the backward half failed.

What to do
----------
Compare with the reference on the failing input: `torch.autograd.gradcheck` for derivatives written by hand, eager against
compiled, the math backend against a fused one. Until it is mended use the reference; for a compiler pin the version.

Example
-------
::

    return grad * (torch.cos(x) - y) / x                          # in backward: nan at 0, where the slope is 0
    return grad * torch.where(x == 0, 0, (torch.cos(x) - y) / torch.where(x == 0, 1, x))

References
----------
pytorch/pytorch#114109, pytorch/pytorch#168358, Dao-AILab/flash-attention#334, meta-pytorch/torchrec#2648,
HKUSTDial/flash-sparse-attention#121
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import edge_value, inputs, kind, largest_amplitude, origin_location, output
from stayfinite.catalog.operator_predictions import stable
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Backend, Prediction
from stayfinite.records.location import Location
from stayfinite.records.trace import CustomFunction

TITLE = "Compiler or kernel fault"
PRIOR = prior(threads=17)
APPLIES_TO = Scope()
EXAMPLES = ("compiler-or-kernel-fault", "unwritten-tail", "fast-attention")

_ORDINARY = 1e4
"""Magnitudes with which no kernel has an excuse to leave float16, let alone float32."""


def evidence(case: Case) -> list[Evidence]:
    """What is compiled or written by hand, and what its reference gave."""
    found = [*_compiled(case), *_function(case), *_operator(case)]
    if not found:
        found = [Evidence("the failing numbers were made by the framework's own operators, run as they are written", -9.0,
                          "reference")]
    if case.replay.attempts and not case.replay.agreed:
        found.append(Evidence("repeated, it came out differently: code is the same each time", -7.0, "replay"))
    return found


def _compiled(case: Case) -> list[Evidence]:
    if not case.configuration.compiled or not case.replay.eager:
        return []
    if case.replay.eager == "finite":
        return [Evidence("the compiled step failed; the same step run as it is written is finite", 11.0, "reference")]
    return [Evidence("the step fails in the same way when it is not compiled", -8.0, "reference")]


def _function(case: Case) -> list[Evidence]:
    used = guilty(case)
    if used is None:
        return []
    told = f"finite numbers went into `{used.name}.{used.half}`, non-finite ones came out"
    if used.reference == "finite":
        return [Evidence(f"{told}; {used.how} gives finite gradients there", 11.0, "reference")]
    if used.reference == "nonfinite":
        return [Evidence(f"{told}; so does {used.how}: the formula itself fails", -8.0, "reference")]
    if used.half == "forward" and edge_value(case) is not None:
        return [Evidence(f"{told}; {kind(case).name} inside has no finite value there", -7.0, "reference")]
    if kind(case).name in ("empty", "custom") or kind(case).has("leaf"):
        return [Evidence(f"{told}; none of the framework's operators made them", 9.0, "reference")]
    return [Evidence(told, 4.0, "reference")]


def _operator(case: Case) -> list[Evidence]:
    here, made = kind(case).name, output(case)
    if here == "custom" and case.origin is not None:
        if any(stats.nonfinite for stats in inputs(case)):
            return []
        size = largest_amplitude(case)
        bits = 9.0 if size <= _ORDINARY else 4.0
        return [Evidence(f"{case.origin.native_op} is not one of the framework's operators: finite numbers went in, "
                         f"non-finite ones came out", bits, "operator")]
    if here == "attention" and made is not None and made.nan and not any(stats.nonfinite for stats in inputs(case)):
        if largest_amplitude(case) <= _ORDINARY and made.nan < made.size and not made.posinf:
            return [Evidence("a fused kernel gave NaN for finite inputs of ordinary size", 1.0, "operator")]
    return []


def guilty(case: Case) -> CustomFunction | None:
    """The function of the user's own in which the origin lies; ``None`` if it lies elsewhere."""
    origin = case.origin
    for used in case.trace.functions:
        if origin is None:
            continue
        inside = origin.location.function.endswith(f"{used.name.rpartition('.')[2]}.{used.half}")
        applied = origin.location.line == used.location.line and origin.location.file == used.location.file
        if inside or applied:
            return used
    return None


def locate(case: Case) -> Location:
    """The line inside the function that failed, else where it is defined; where the model was compiled."""
    if case.configuration.compiled and case.replay.eager == "finite" and case.configuration.compiled_at.file:
        return case.configuration.compiled_at
    used = guilty(case)
    if used is None or case.origin is None or not used.written.file:
        return origin_location(case)
    inside = case.origin.location.function.endswith(f".{used.half}")
    return case.origin.location if inside else used.written


def predict(case: Case) -> list[Prediction]:
    """With the same mathematics by other code the step passes."""
    if case.configuration.compiled and case.replay.eager == "finite":
        return [Prediction(Backend("eager"), placebo=Backend("deterministic"))]
    if kind(case).name == "empty":  # memory that the code reserves, and does not write to its end
        return stable(case, "zeros")
    if guilty(case) is not None:
        return [Prediction(Backend("own-derivative"), placebo=Backend("deterministic"))]
    if kind(case).name == "attention":
        return [Prediction(Backend("plain-attention"), placebo=Backend("deterministic"))]
    return []
