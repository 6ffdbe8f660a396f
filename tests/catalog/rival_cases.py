"""Cases two causes claim, on both sides of what tells them apart."""

from __future__ import annotations

from catalog.window_cases import term
from catalog.writing import HERE, LOADED, MADE, TENFOLD, Written, case, configuration, inf_of, nan_of, origin, stats
from msgspec.structs import replace

from stayfinite.records.incident import Configuration, Origin
from stayfinite.records.location import Location
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import OpCall, Scalar, Trace, Wrap

TASK, PENALTY = Location("train.py", 28), Location("train.py", 23)
CALM = [1.1, 1.0, 0.95, 0.97, 0.9, 0.93, 0.9, 0.91]


def rivals() -> list[Written]:
    """All of them."""
    return [*updates(), *first_losses(), *scales(), *states(), *tables(), *measured()]


def updates() -> list[Written]:
    """An update that is not finite: arithmetic of the optimizer, one loss without a gradient, a gradient that ran away."""
    trust = origin("optimizer_update", "optimizer", [stats("trust * p.norm()", (), min=0.012, max=0.012, culprit=0.012),
                   stats("g.norm()", (), zero=1, min=0.0, max=0.0, culprit=0.0)], inf_of(()))
    bias = origin("optimizer_update", "optimizer", [stats("m", (12, 1), min=-0.02, max=0.03)], inf_of((12, 1)),
                  scalars=(Scalar("other", 0.0),))
    square = origin("optimizer_update", "optimizer", [stats("exp_avg_sq", min=6e15, max=6e23), stats("grad", min=-1e25, max=6e24)],
                    inf_of(), scalars=(Scalar("value", 1e-3),))
    idle = Trace(terms=(term("main", TASK, 0.52, 1.5, "nll_loss"), term("0.3 * side", PENALTY, 0.0, 0.0, "sum", weight=0.3)))
    moments = {"detector": "nonfinite-moment", "configuration": configuration(betas=(0.9, 0.999), epsilon=1e-8)}
    return [
        Written("a trust ratio over a gradient of 0", case(trust, 23, trace=idle, detector="nonfinite-parameter",
            configuration=configuration("LARS", 0.1)), "optimizer-arithmetic", ("dominant-loss-term", "exploding-gradient",
            "learning-rate-too-high")),
        Written("a bias correction of 0", case(bias, 0, detector="nonfinite-parameter", configuration=configuration("Own", 4e-3)),
            "optimizer-arithmetic", ("bad-initialization", "learning-rate-too-high", "exploding-gradient")),
        Written("a square that leaves the format after a gradient ran away", case(square, 75, loss=CALM,
            gradient=[2.0, 2.2, 1.9, 2.1, 3e3, 4e8, 3e12, "+inf"], **moments), "exploding-gradient", ("optimizer-arithmetic",
            "learning-rate-too-high")),
        Written("a square that leaves the format from the first step on", case(square, 2, loss=[3e28, 3e28],
            gradient=[1e25, 1.1e25, 1e25], **moments), "optimizer-arithmetic", ("learning-rate-too-high", "bad-initialization")),
    ]


def first_losses() -> list[Written]:
    """Several terms of a loss are no numbers any more, and the first loss says who began."""
    overflow = origin("matmul", "forward", [stats("h", max=2e28), stats("w", (64, 64), max=4e13)], inf_of())
    grown = (stats("net.0.weight", (64, 20), min=-1e14, max=2e14),)
    terms = Trace(terms=(term("task", TASK, "nan", "nan", "nll_loss"), term("total", PENALTY, "+inf", "nan", "sum",
                  weight=10.0, weighted_at=HERE)))
    run = [11800.0, 2e8, 2.4e21]
    steep = {"gradient": [186.0, 2690.0, 4e6, 3e16], "parameters": grown, "trace": terms, "optimizer": "SGD"}
    return [
        Written("a penalty that was a thousand at the first step", case(overflow, 4, loss=[1030.0, *run], lr=0.05, **steep),
            "dominant-loss-term", ("learning-rate-too-high", "bad-initialization")),
        Written("the same terms, small at the first step", case(overflow, 4, loss=[2.9, *run], lr=0.5, **steep),
            "learning-rate-too-high", ("dominant-loss-term", "exploding-gradient")),
    ]


def scales() -> list[Written]:
    """Data of some hundreds in a training by hand, whose rate nobody reads."""
    residual = stats("r", (20,), min=1e20, max=2e20, culprit=1.4e20)
    squares = origin("mul", "loss", [residual, residual], inf_of((20,)))
    raw = (stats("x", (32, 10), min=1.0, max=301.0), stats("y", (32,), min=-1.6, max=2.5))
    small = (stats("x", (32, 10), min=-3.0, max=3.1), stats("y", (32,), min=-1.6, max=2.5))
    run = {"loss": [0.7, 29.0, 6e5, 1e10, 3e14, 6e18, 1e23], "parameters": (stats("w", (10,), max=4e17),)}
    by_hand = Configuration(parameter_dtypes=("float32",))
    aim = stats("b", (32,), min=3e5, max=5e6)
    several = (stats("a", (32, 7), min=-2.4, max=3.0), stats("w", (32, 3), min=0.0, max=1.0), aim)
    given = {"trace": Trace(model_inputs=several[:1]), "loss": [5e11, 1e16], "optimizer": "SGD", "lr": 0.01}
    return [
        Written("a large target among three tensors, by no telling name", case(origin("matmul", "forward", [stats("h", max=1e32),
            stats("w", (64, 64), max=2e16)], inf_of()), 2, batch=several, **given), "unscaled-target", ("learning-rate-too-high",
            "exploding-gradient", "bad-initialization")),
        Written("raw measurements, updated by hand", case(squares, 7, batch=raw, configuration=by_hand, **run), "unscaled-input",
            ("learning-rate-too-high",)),
        Written("standardised ones, updated by hand", case(squares, 7, batch=small, configuration=by_hand, **run),
            "learning-rate-too-high", ("unscaled-input", "unscaled-target")),
        Written("raw measurements at a rate of 3", case(squares, 7, batch=raw, optimizer="SGD", lr=3.0, gradient=TENFOLD, **run),
            "learning-rate-too-high", ("unscaled-target",)),
    ]


def states() -> list[Written]:
    """A parameter that was bad before the step, in a script that loaded something."""
    longer = stats("embed.weight", (58, 16), nan=128, min=-3.2, max=4.1, culprit_index=(50, 0))
    memory = stats("embed.weight", (58, 16), nan=43, zero=59, min=-5e4, max=1e36, culprit_index=(50, 0))
    single = stats("embed.weight", (58, 16), nan=1, min=-3.2, max=4.1, culprit_index=(50, 0))
    sound, bad = ({"configuration": configuration(checkpoint=LOADED, loaded_finite=finite)} for finite in (True, False))

    def born(weight: TensorStats) -> Origin:
        return origin("parameter", "load", [weight], output=weight, parameter="embed.weight")

    return [
        Written("rows added to a table that was loaded", case(born(longer), 0, parameters=(longer,), **sound),
            "uninitialized-parameter", ("corrupt-checkpoint", "unknown")),
        Written("rows added to a table that was loaded, mostly zeros", case(born(memory), 0, parameters=(memory,), **sound),
            "uninitialized-parameter", ("corrupt-checkpoint", "unknown")),
        Written("one bad number in a table that was loaded bad", case(born(single), 0, parameters=(single,), **bad),
            "corrupt-checkpoint", ("uninitialized-parameter", "unknown")),
    ]


def tables() -> list[Written]:
    """A table with one infinity: over classes, and along a schedule."""
    def weight(at: int) -> Origin:
        table = stats("weight", (1000,), posinf=1, min=0.2, max=642.0, culprit="+inf", culprit_index=(at,))
        return origin("buffer", "load", [table], inf_of((16,)), buffer="criterion.weight")

    return [
        Written("a class that does not occur", case(weight(317), 60), "zero-class-count", ("corrupt-buffer", "corrupt-checkpoint")),
        Written("the end of a schedule", case(weight(999), 60), "corrupt-buffer", ("zero-class-count", "corrupt-checkpoint")),
    ]


def measured() -> list[Written]:
    """A division by a spread of 0: predicted by a layer, measured over a sample's own values, counted."""
    residual = stats("y - loc", (32,), culprit=0.07)
    width = stats("width", (32,), zero=7, min=0.0, culprit=0.0, made_by=("relu", "matmul", "tanh", "matmul"), made_at=MADE)
    gain = stats("width", (32,), zero=7, min=0.0, culprit=0.0, made_by=("matmul",), made_at=MADE)
    centred = stats("x - mean", (32, 1, 8, 8), zero=64, culprit=0.0)
    spread = stats("std", (32, 1, 1, 1), zero=1, min=0.0, max=0.3, culprit=0.0, made_by=("sqrt", "mean", "pow", "sub"), made_at=MADE)
    length = stats("std", (32, 1, 1, 1), zero=1, min=0.0, max=0.3, culprit=0.0, made_by=("sqrt", "sum", "pow", "relu"), made_at=MADE)
    place = replace(HERE, function="instance_norm", code="(x - mean) / std")
    apart = stats("x - mean", (32, 2, 8, 8), zero=2048, culprit=0.0, made_by=("sub",))
    channel = stats("var.sqrt()", (2, 1, 1), zero=1, min=0.0, max=0.3, culprit=0.0, made_by=("sqrt", "var"), made_at=MADE)
    return [
        Written("a rectifier for a width", case(origin("div", "loss", [residual, width], inf_of((32,)), "(y - loc) / width")),
            "nonpositive-variance", ("division-by-zero", "zero-class-count")),
        Written("a plain prediction that is divided by", case(origin("div", "loss", [residual, gain], inf_of((32,)), "(y - loc) / width")),
            "division-by-zero", ("nonpositive-variance", "zero-class-count")),
        Written("a spread by hand in a normalisation", case(origin("div", "forward", [centred, spread], nan_of(centred), location=place)),
            "degenerate-batch-statistics", ("nonpositive-variance", "division-by-zero", "zero-norm-vector")),
        Written("the root of a variance of the batch, in a function of any name", case(origin("div", "forward", [apart, channel],
            nan_of(apart), "(x - mean) / var.sqrt()")), "degenerate-batch-statistics", ("zero-norm-vector", "division-by-zero")),
        Written("what only looks like one", case(origin("div", "forward", [centred, length], nan_of(centred), location=place)),
            "nonpositive-variance", ("degenerate-batch-statistics",)),
        *_codes(),
        *_bytes(),
    ]


def _bytes() -> list[Written]:
    """A divisor of bytes that is 0: their sum is 256, or is 0 indeed."""
    above = stats("a - b", (25, 14), "uint8", min=0.0, max=255.0, culprit=62.0, made_by=("sub",))
    below = stats("a + b", (25, 14), "uint8", zero=1, min=0.0, max=221.0, culprit=0.0, made_by=("add",))
    born = origin("div", "forward", [above, below], inf_of((25, 14)), "(a - b) / (a + b)")
    call = OpCall(9, "div", "aten.div.Tensor", "forward", HERE, born=1, wrapped=7)
    wraps = (Wrap(7, "add", "aten.add.Tensor", "forward", "uint8", 2, 350, 256, 0, HERE),)
    return [
        Written("a sum of bytes that is 256", case(born, 15, trace=Trace(calls=(call,), wraps=wraps)), "integer-overflow",
            ("division-by-zero", "zero-class-count")),
        Written("a sum of bytes that is 0", case(born, 15, trace=Trace(calls=(replace(call, wrapped=-1),))), "division-by-zero",
            ("integer-overflow", "zero-class-count")),
    ]


def _codes() -> list[Written]:
    """Most of a batch holds a code for a missing value; the data set it was cut from says that it is one."""
    part = stats("input", (50, 2), min=0.3, max=6.7e19)
    whole = stats("x", (2000, 2), min=0.0, max=6.7e19, typical_row=1.2, absmax_count=80, absmax_index=(700, 1))
    large = stats("x", (2000, 2), min=0.0, max=6.7e19, typical_row=5e19, absmax_count=1, absmax_index=(700, 1))
    guess = stats("net(x)", (50,), max=9.7e18)
    born = origin("mse", "loss", [guess, stats("y", (50,), max=7.2)], inf_of(()))
    given = Trace(model_inputs=(part,))
    return [
        Written("a batch full of codes", case(born, 14, batch=(whole, stats("y", (2000,), max=7.9)), trace=given), "extreme-input",
            ("unscaled-input", "corrupt-sample")),
        Written("a batch of data that are all so large", case(born, 14, batch=(large, stats("y", (2000,), max=7.9)), trace=given),
            "unscaled-input", ("extreme-input", "corrupt-sample")),
    ]
