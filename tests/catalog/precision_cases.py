"""Cases of precision and of code that differs from what it stands for, written by hand."""

from __future__ import annotations

from catalog.writing import HERE, MADE, RISING, P, Written, case, configuration, inf_of, origin, stats

from stayfinite.records.incident import ReplaySummary
from stayfinite.records.location import Location
from stayfinite.records.scaling import LossScaling, Misuse
from stayfinite.records.trace import CustomFunction, Flush, OpCall, Trace

EARLIER = Location(file="train.py", line=30, function="loss_fn", code="p = torch.softmax(scores.half(), 1)")
HALF = stats("p", dtype="float16", zero=3, min=0.0, culprit=0.0)
APPLIED = Location(file="train.py", line=33, function="loss_fn", code="h = Sinc.apply(x)")
STEPPED = Location(file="train.py", line=41, function="step", code="optimizer.step()")


def _lost(kind: str, largest: float = 9e-9) -> Trace:
    flush = Flush(4, kind, "", "forward", "float16", 3, 320, largest, EARLIER)
    return Trace(calls=(OpCall(6, "log", "aten.log.default", "loss", HERE, born=1, flushed=4),), flushes=(flush,))


def _scaled(*misuses: Misuse, **rest: object) -> LossScaling:
    return LossScaling(**{"scale": 65536.0, "initial": 65536.0, "asked": 40, "location": MADE, "misuses": misuses, **rest})


def precision() -> list[Written]:
    """Numbers below a format's range, and scales that were forgotten."""
    sgd = {"optimizer": "SGD", "lr": 0.05}
    overflow = origin("cast", "backward", [stats("h", dtype="float16")], inf_of(dtype="float16"))
    stuck = configuration("SGD", 0.05, loss_scaling=_scaled(scale=2.0**70, skipped=40, in_a_row=40, initial=2.0**110))
    bare = configuration("SGD", 0.05, loss_scaling=_scaled(Misuse("stepped-scaled", 3, 65536.0, STEPPED)))
    own = configuration("SGD", 0.05, loss_scaling=LossScaling(misuses=(Misuse("not-divided", 4, 1024.0, STEPPED),)))
    products = origin("matmul", "forward", [stats("h", max=3e22), stats("w", max=4e17)], inf_of())
    quotient = origin("div", "forward", [stats("h", dtype="float16"), stats("rms", dtype="float16", zero=1, min=0.0,
        culprit=0.0)], inf_of(dtype="float16"))
    return [
        Written("log of a softmax in half", case(origin("log", "loss", [HALF], stats("out", dtype="float16", neginf=3)),
            trace=_lost("softmax")), "half-precision-underflow", ("log-of-zero", "half-precision-overflow", "lost-epsilon")),
        Written("divided by a lost power", case(quotient, trace=Trace(calls=(OpCall(6, "div", "aten.div.Tensor",
            "forward", HERE, born=1, flushed=4),), flushes=_lost("mul").flushes)), "half-precision-underflow",
            ("division-by-zero", "half-precision-overflow", "compiler-or-kernel-fault")),
        Written("log of a softmax in single", case(origin("log", "loss", [P], stats("out", neginf=1))), "log-of-zero",
            ("half-precision-underflow", "loss-scale-misuse", "compiler-or-kernel-fault")),
        Written("an epsilon that is lost as well", case(origin("div", "forward", [stats("h", dtype="float16"),
            stats("var + 1e-8", dtype="float16", zero=1, min=0.0, culprit=0.0)], inf_of(dtype="float16"),
            "h / (var + 1e-8)"), trace=Trace(calls=(OpCall(6, "div", "aten.div.Tensor", "forward", HERE, born=1,
            flushed=4),), flushes=_lost("add", 1e-8).flushes)), "lost-epsilon", ("half-precision-underflow",
            "half-precision-overflow", "loss-scale-misuse")),
        Written("a scale that never fits", case(overflow, 39, detector="nonfinite-gradient", configuration=stuck,
            replay=ReplaySummary(attempts=2, unscaled="finite"), **sgd), "loss-scale-misuse",
            ("half-precision-overflow", "exploding-gradient", "half-precision-underflow")),
        Written("a scaler that hides an overflow", case(overflow, 39, detector="nonfinite-gradient", configuration=stuck,
            replay=ReplaySummary(attempts=2, unscaled="nonfinite"), **sgd), "half-precision-overflow",
            ("loss-scale-misuse", "compiler-or-kernel-fault", "half-precision-underflow")),
        Written("stepped beside the scaler", case(products, 5, loss=RISING, configuration=bare, **sgd),
            "loss-scale-misuse", ("learning-rate-too-high", "exploding-gradient", "bad-initialization")),
        Written("a scale of the script's own", case(products, 5, loss=RISING, configuration=own, **sgd),
            "loss-scale-misuse", ("learning-rate-too-high", "exploding-gradient", "bad-initialization")),
    ]


def code() -> list[Written]:
    """Kernels and derivatives that are not what they stand for."""
    zero = stats("x", zero=4, min=0.0, culprit=0.0)
    slope = origin("div", "backward", [stats("grad"), zero], stats("out", nan=4), "grad * (cos - y) / x")
    inside = Location(file="train.py", line=12, function="Sinc.backward", code="return grad * (cos - y) / x")

    def used(reference: str) -> Trace:
        how = "autograd through `Sinc.forward`"
        return Trace(functions=(CustomFunction("Sinc", "backward", APPLIED, inside, reference=reference, how=how),))  # type: ignore[arg-type]

    born = origin("div", "backward", [stats("grad"), zero], stats("out", nan=4))
    kernel = origin("custom", "forward", [stats("x")], stats("out", nan=4))
    compiled = configuration(compiled=True, compiled_at=MADE)
    return [
        Written("a backward pass by hand", case(slope, detector="nonfinite-gradient", trace=used("finite")),
            "compiler-or-kernel-fault", ("singular-gradient", "division-by-zero", "transient-fault")),
        Written("a backward pass by hand of what has no slope", case(born, detector="nonfinite-gradient",
            trace=used("nonfinite")), "singular-gradient", ("compiler-or-kernel-fault", "exploding-gradient",
            "loss-scale-misuse")),
        Written("a kernel of an extension", case(kernel), "compiler-or-kernel-fault", ("unknown", "transient-fault",
            "nonfinite-input")),
        Written("compiled, and finite as it is written", case(None, configuration=compiled,
            replay=ReplaySummary(attempts=2, eager="finite")), "compiler-or-kernel-fault", ("unknown", "transient-fault",
            "learning-rate-too-high")),
        Written("compiled, and not finite as it is written", case(origin("log", "loss", [P], stats("out", neginf=1)),
            configuration=compiled, replay=ReplaySummary(attempts=2, eager="nonfinite")), "log-of-zero",
            ("compiler-or-kernel-fault", "half-precision-underflow", "transient-fault")),
    ]
