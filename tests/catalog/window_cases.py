"""Cases written by hand of causes that lie in counts, lengths, spreads and windows, and in sums of losses."""

from __future__ import annotations

from catalog.writing import HERE, RISING, Written, case, configuration, inf_of, nan_of, origin, stats

from stayfinite.records.incident import ExceptionInfo
from stayfinite.records.location import Location
from stayfinite.records.trace import Leaf, LossTerm, OpCall, Scalar, Sink, Trace

COUNTED = Location(file="train.py", line=20, function="balance", code="share = torch.bincount(y) / len(y)")
RECONSTRUCTION = Location(file="train.py", line=27, code="rebuilt = F.mse_loss(decoder(z), x)")
DIVERGENCE = Location(file="train.py", line=28, code="kl = (mu**2).sum()")


def _scalars(**numbers: float) -> tuple[Scalar, ...]:
    return tuple(Scalar(name, value) for name, value in numbers.items())


def term(name: str, place: Location, value: float | str, gradient: float | str, kind: str = "mse", **rest: object) -> LossTerm:
    return LossTerm(name, place, kind, value, gradient=gradient, measured=True, **rest)  # type: ignore[arg-type]


def counts() -> list[Written]:
    """Classes that do not occur, targets that do not fit."""
    share = stats("share", (10,), zero=1, min=0.0, max=0.2, culprit=0.0, made_by=("div", "count"), made_at=COUNTED)
    occurrences = stats("occurrences", (8,), "int64", zero=2, min=0.0, max=91.0, culprit=0.0)
    weight = stats("weight", (8,), posinf=2, min=0.2, max=15.0)
    weighted = Trace(leaves=(Leaf("buffer", "weight", weight, 4),), calls=(OpCall(4, "nll_loss", "aten.nll_loss_forward.default",
        "loss", HERE, sources=(-1,)),))
    lines = _scalars(infeasible=1, samples=12, blank_labels=0, sample=3, input_length=5, target_length=4, repeats=2)
    fit = _scalars(infeasible=0, samples=12, blank_labels=0)
    log_probs, words = stats("log_probs", (5, 12, 11), min=-3.0, max=-0.1), stats("words", (12, 4), "int64", min=1.0, max=10.0)
    nothing = ("unknown", "learning-rate-too-high", "exploding-gradient")
    return [
        Written("one over the share of a class", case(origin("reciprocal", "forward", [share], inf_of((10,)), "1.0 / share")),
            "zero-class-count", ("division-by-zero", "log-of-zero", "empty-reduction", "degenerate-batch-statistics")),
        Written("total over occurrences", case(origin("div", "loss", [stats("total", (), min=600.0, max=600.0, culprit=600.0),
            occurrences], inf_of((8,)), "total / occurrences")), "zero-class-count", ("division-by-zero", "empty-reduction",
            "zero-norm-vector", "empty-pooling-window")),
        Written("an infinite weight of a class", case(origin("buffer", "load", [weight], buffer="weight"), 0, trace=weighted),
            "zero-class-count", ("corrupt-buffer", "nonfinite-input", "uninitialized-parameter", "infeasible-ctc-target")),
        Written("two repeats too many", case(origin("ctc_loss", "loss", [log_probs, words], stats("out", (12,), posinf=1),
            scalars=lines)), "infeasible-ctc-target", (*nothing, "dominant-loss-term", "nonpositive-variance")),
        Written("a CTC loss of nothing wrong", case(origin("ctc_loss", "loss", [log_probs, words], stats("out", (12,), nan=1),
            scalars=fit)), "unknown", ("infeasible-ctc-target", "zero-class-count", "exploding-gradient")),
        Written("a CTC loss of bad probabilities", case(origin("ctc_loss", "loss", [stats("log_probs", (5, 12, 11), nan=9),
            words], stats("out", (12,), nan=1), scalars=lines)), "unknown", ("infeasible-ctc-target", "zero-class-count")),
    ]


def spreads() -> list[Written]:
    """Statistics without spread, and scales that are not positive."""
    flat = _scalars(eps=0.0, values=64, groups=128, constant=1)
    one = stats("x", (1, 8), min=-22.0, max=-21.0)
    made = stats("out", (8,), nan=8)
    kept = Trace(sinks=(Sink("buffer", "norm.var", made, 9),))
    rounded = stats("variance", (50, 1, 8, 8), min=-0.0078, max=140.0, culprit=-0.0078, made_by=("sub", "avg_pool", "pow"),
                    made_at=COUNTED)
    predicted = stats("sigma", (32,), min=0.0, max=1.2, zero=4, culprit=0.0, made_by=("relu", "matmul"), made_at=COUNTED)
    negative = stats("self.exploration(h)", (32, 1), min=-0.8, max=1.4, culprit=-0.8)
    refused = ("Expected parameter scale (Tensor of shape (32, 1)) of distribution Normal(...) to satisfy the constraint "
               "GreaterThan(lower_bound=0.0), but found invalid values")
    return [
        Written("a group without spread", case(origin("group_norm", "forward", [stats("h", (16, 8, 8, 8), min=0.0)],
            nan_of(stats("h", (16, 8, 8, 8))), scalars=flat)), "degenerate-batch-statistics", ("single-element-variance",
            "division-by-zero", "exploding-gradient")),
        Written("a running variance of one row", case(origin("var", "forward", [one], made, "x.var(0)"), trace=kept),
            "degenerate-batch-statistics", ("single-element-variance", "corrupt-buffer", "nonpositive-variance")),
        Written("a variance by rounding", case(origin("sqrt", "forward", [rounded], nan_of(rounded), "torch.sqrt(variance)")),
            "nonpositive-variance", ("domain-error", "singular-gradient", "degenerate-batch-statistics", "zero-class-count")),
        Written("a predicted spread of 0", case(origin("log", "loss", [predicted], stats("out", (32,), neginf=4),
            "torch.log(sigma)")), "nonpositive-variance", ("log-of-zero", "domain-error", "dominant-loss-term")),
        Written("a scale that a distribution refused", case(origin("distribution", "forward", [negative],
            code="Normal(mean, self.exploration(h))"), detector="numeric-exception", exception=ExceptionInfo("ValueError", refused,
            HERE)), "nonpositive-variance", ("domain-error", "unknown", "degenerate-batch-statistics")),
    ]


def windows() -> list[Written]:
    """Windows without elements."""
    span = stats("states[0, start:end]", (0, 48), min="nan", max="nan", made_by=("move", "rnn"), made_at=COUNTED)
    selected = stats("scores[mask]", (0, 10), min="nan", max="nan", made_by=("index", "matmul"))
    area = stats("area", (24, 1), "int64", zero=6, min=0.0, max=4.0, culprit=0.0, made_by=("mul", "sub"))
    total = stats("total", (24, 12), zero=80, min=0.0, max=1.2, culprit=0.0, made_by=("add", "sub", "sub", "index"))
    small = "Given input size: (16x1x5). Calculated output size: (16x1x0). Output size is too small"
    return [
        Written("a span without words", case(origin("mean", "forward", [span], stats("out", (48,), nan=48),
            "states[0, start:end].mean(0)")), "empty-pooling-window", ("empty-reduction", "unknown", "single-element-variance")),
        Written("an area of 0", case(origin("div", "forward", [total, area], nan_of(total), "total / area.unsqueeze(1)")),
            "empty-pooling-window", ("division-by-zero", "empty-reduction", "zero-norm-vector", "zero-class-count")),
        Written("a signal shorter than the kernel", case(origin("avg_pool", "forward", [stats("h", (1, 16, 5))]),
            detector="numeric-exception", exception=ExceptionInfo("RuntimeError", small, HERE)), "empty-pooling-window",
            ("unknown", "empty-reduction", "infeasible-ctc-target")),
        Written("a mask that selects nothing", case(origin("mean", "loss", [selected], stats("out", (), nan=1),
            "scores[mask].mean()")), "empty-reduction", ("empty-pooling-window", "single-element-variance", "dominant-loss-term")),
        Written("a mean of no masked tokens", case(origin("div", "loss", [stats("(l * mask).sum()", (), zero=1, min=0.0, max=0.0,
            culprit=0.0), stats("mask.sum()", (), "int64", zero=1, min=0.0, max=0.0, culprit=0.0)], stats("out", (), nan=1))),
            "empty-reduction", ("empty-pooling-window", "division-by-zero", "zero-class-count")),
        Written("x over a zero scale", case(origin("div", "forward", [stats("x", culprit=0.7), stats("gain", (10,), zero=1, min=0.0,
            culprit=0.0)], inf_of(), "x / gain")), "division-by-zero", ("empty-pooling-window", "nonpositive-variance",
            "degenerate-batch-statistics")),
    ]


def sums() -> list[Written]:
    """Losses that are sums."""
    size = stats("mu", (32, 16), min=-3e19, max=3e19, culprit=3e19)
    overflow = origin("pow", "loss", [size], inf_of((32, 16)), "mu**2")
    drowned = Trace(terms=(term("rebuilt", RECONSTRUCTION, 0.8, 1.1), term("1e4 * kl", DIVERGENCE, "+inf", "nan", "sum",
        weight=1e4, weighted_at=HERE, parameters=("encoder.weight",))))
    alike = Trace(terms=(term("rebuilt", RECONSTRUCTION, "+inf", "nan"), term("kl", DIVERGENCE, "+inf", "nan", "sum")))
    small = stats("p", (32, 10), zero=1, min=0.0, culprit=0.0, culprit_index=(17, 3))
    one_bad = Trace(terms=(term("rebuilt", RECONSTRUCTION, 0.8, 1.1), term("entropy", DIVERGENCE, "nan", "nan", "mean")))
    return [
        Written("an unweighted divergence", case(overflow, trace=drowned, configuration=configuration("Adam", 1e-3)),
            "dominant-loss-term", ("learning-rate-too-high", "exploding-gradient", "bad-initialization")),
        Written("both terms at the end of a run-up", case(overflow, loss=RISING, optimizer="SGD", lr=3.0, trace=alike),
            "learning-rate-too-high", ("dominant-loss-term", "exp-overflow", "unknown")),
        Written("a logarithm of 0 in one term", case(origin("log", "loss", [small], stats("out", neginf=1), "torch.log(p)"),
            trace=one_bad), "log-of-zero", ("dominant-loss-term", "domain-error", "nonpositive-variance")),
    ]
