"""Cases written by hand: what a tracer would have found, and the cause that made it.

Each case names the causes that look like it and must not come first. Numbers are those of real failures of small networks,
rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stayfinite.records.incident import (
    Case,
    Configuration,
    ExceptionInfo,
    OptimizerInfo,
    Origin,
    ReplaySummary,
    Symptom,
)
from stayfinite.records.location import Location
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, Magnitude, OpCall, Scalar, Trace

HERE = Location(file="train.py", line=33, column=8, end_line=33, end_column=40, function="loss_fn")
MADE = Location(file="train.py", line=12, function="<module>", code="optimizer = ...")
LOADED = Location(file="train.py", line=9, function="<module>", code='model.load_state_dict(torch.load("last.pt"))')
PICKED = Location(file="train.py", line=35, function="loss_fn", code="return torch.where(mask, y, 0.0)")


@dataclass(frozen=True)
class Written:
    """A case, the cause that must come first, and similar causes that must not."""

    name: str
    case: Case
    cause: str
    near: tuple[str, ...] = ()


def stats(name: str, shape: tuple[int, ...] = (32, 10), dtype: str = "float32", **rest: Any) -> TensorStats:
    return TensorStats(**{"name": name, "shape": shape, "dtype": dtype, "min": -1.0, "max": 1.0, **rest})


def origin(op: str, phase: str = "forward", inputs: Sequence[TensorStats] = (), output: TensorStats | None = None,
           code: str = "", **rest: Any) -> Origin:
    place = Location(file=HERE.file, line=HERE.line, function=HERE.function, code=code, expression=code)
    return Origin(**{"phase": phase, "op": op, "native_op": f"aten.{op}.default", "location": place,
                     "inputs": tuple(inputs), "output": output, **rest})


def window(series: str, values: Sequence[Number], last: int) -> Window:
    return Window(series, tuple(range(last - len(values) + 1, last + 1)), tuple(values))


def case(born: Origin | None, step: int = 120, *, loss: Sequence[Number] | None = None, gradient: Sequence[Number] = (),
         rate: Sequence[Number] = (), detector: str = "nonfinite-loss", optimizer: str = "Adam", lr: Number = 1e-3,
         **rest: Any) -> Case:
    """A case at `step`; without a `loss` it fell calmly until then. Two control replays agreed."""
    if loss is None:
        loss = [2.3, 1.9, 1.6, 1.5, 1.4, 1.3, 1.35, 1.2][: step] if step else []
    windows = [window("loss", [*loss, "nan"], step)]
    if gradient:
        windows.append(window("gradient_norm", gradient, step))
    if rate:
        windows.append(window("learning_rate", rate, step))
    rest.setdefault("configuration", configuration(optimizer, lr))
    rest.setdefault("batch", (stats("x", (32, 20), min=-3.2, max=3.1), stats("y", (32,), "int64", min=0.0, max=9.0)))
    rest.setdefault("parameters", (stats("net.0.weight", (64, 20), min=-0.4, max=0.4),))
    rest.setdefault("replay", ReplaySummary(attempts=2))
    return Case(symptom=Symptom(detector, step, "loss", "nan"), origin=born, windows=tuple(windows), batch_size=32, **rest)


def configuration(optimizer: str = "Adam", lr: Number = 1e-3, **rest: Any) -> Configuration:
    more = {name: rest.pop(name) for name in ("epsilon", "betas", "schedulers") if name in rest}
    return Configuration(optimizers=(OptimizerInfo(kind=optimizer, rates=(lr,), location=MADE, **more),), **rest)


def backward(op: str, inputs: Sequence[TensorStats], made: str, arrived: float | None, slope: str, code: str = "",
             **rest: Any) -> tuple[Origin, Trace]:
    """A failure born in the backward pass of `op`: the gradient `arrived` was divided by the slope (``"div"``), or
    multiplied with an infinite one (``"mul"``)."""
    bad = stats("grad", inputs[0].shape, nan=int(made == "nan"), posinf=int(made == "inf"))
    gradient = stats("grad_output", inputs[0].shape, culprit=arrived, zero=1 if arrived == 0.0 else 0)
    if slope == "div":
        calls = (OpCall(40, "div", "aten.div.Tensor", "backward", HERE, inputs=(gradient, inputs[0]), output=bad, forward=12),)
    else:
        infinite = stats("slope", inputs[0].shape, posinf=1)
        calls = (
            OpCall(40, op, f"aten.{op}.default", "backward", HERE, inputs=(inputs[0],), output=infinite, forward=12),
            OpCall(41, "mul", "aten.mul.Tensor", "backward", HERE, inputs=(gradient, infinite), output=bad, sources=(40,),
                   forward=12),
        )
    return origin(op, "backward", inputs, bad, code, **rest), Trace(calls=calls, operations=60)


def layers(first: float, factor: float, count: int, dtype: str = "float32") -> tuple[Magnitude, ...]:
    return tuple(Magnitude(f"net.{i}", "Linear", first * factor**i, first * factor**i / 3, dtype) for i in range(count))


def nan_of(like: TensorStats, count: int = 1) -> TensorStats:
    return stats("out", like.shape, like.dtype, nan=count)


def inf_of(shape: tuple[int, ...] = (32, 10), dtype: str = "float32") -> TensorStats:
    return stats("out", shape, dtype, posinf=1)


RISING = [2.0, 22.0, 240.0, 2.6e3, 3.1e4]
TENFOLD = [0.9, 3.1, 10.2, 33.0, 110.0]
P = stats("p", zero=1, min=0.0, culprit=0.0, culprit_index=(17, 3))
GAPS = stats("d2", (32,), zero=2, min=0.0, max=4.0, culprit=0.0)
SCORES = stats("scores", (32, 6), neginf=12)


def from_backward(*arguments: Any, near: tuple[str, ...], cause: str, name: str, **rest: Any) -> Written:
    born, trace = backward(*arguments, **rest)
    return Written(name, case(born, detector="nonfinite-gradient", trace=trace), cause, near)


def operations() -> list[Written]:
    """Causes that lie in one value of one operation."""
    softmax_by_hand = Trace(calls=(
        OpCall(5, "exp", "aten.exp.default", "forward", HERE, output=inf_of()),
        OpCall(6, "sum", "aten.sum.dim_IntList", "forward", HERE, sources=(5,)),
        OpCall(7, "div", "aten.div.Tensor", "forward", HERE, sources=(5, 6)),
    ))
    log_sum_exp = Trace(calls=(*softmax_by_hand.calls[:2], OpCall(7, "log", "aten.log.default", "forward", HERE, sources=(6,))))
    masked = Trace(calls=(OpCall(3, "masked_fill", "aten.masked_fill.Scalar", "forward", HERE, sentinel=True),))
    taken = Trace(calls=(OpCall(9, "where", "aten.where.self", "forward", PICKED, absorbed=True),))
    divided = Trace(calls=(OpCall(9, "div", "aten.div.Tensor", "forward", PICKED, absorbed=True),))
    ninety = stats("logvar", max=96.0, culprit=96.0)
    one = stats("mask.sum()", (), "int64", zero=1, min=0.0, max=0.0, culprit=0.0)
    nothing = stats("(losses * mask).sum()", (), zero=1, min=0.0, max=0.0, culprit=0.0)
    square = stats("m", (8, 8))
    return [
        Written("log of a softmax", case(origin("log", "loss", [P], stats("out", neginf=1), "torch.log(p)")), "log-of-zero",
                ("domain-error", "learning-rate-too-high", "division-by-zero")),
        Written("log after five calm steps", case(origin("log", "loss", [P], stats("out", neginf=1)), 5), "log-of-zero",
                ("bad-initialization", "exploding-gradient", "unknown")),
        Written("log1p of -1", case(origin("log1p", "loss", [stats("q", min=-1.0, max=0.0, culprit=-1.0)], stats("out", neginf=1))),
                "log-of-zero", ("domain-error", "exp-overflow", "optimizer-arithmetic")),
        Written("log of a negative", case(origin("log", "loss", [stats("r", min=-0.2, culprit=-0.2)], nan_of(P))),
                "domain-error", ("log-of-zero", "nonfinite-input", "unknown")),
        Written("sqrt of a negative", case(origin("sqrt", "forward", [stats("var", min=-1e-9, culprit=-1e-9)], nan_of(P))),
                "domain-error", ("singular-gradient", "log-of-zero", "half-precision-overflow")),
        Written("acos beyond 1", case(origin("acos", "forward", [stats("cos", max=1.0000001, culprit=1.0000001)], nan_of(P))),
                "domain-error", ("singular-gradient", "infinity-arithmetic", "zero-norm-vector")),
        Written("binary cross-entropy of 1.2", case(
            origin("bce", "loss", [stats("p", min=0.0, max=1.2, culprit=1.2)]), detector="numeric-exception",
            exception=ExceptionInfo("RuntimeError", "all elements of input should be between 0 and 1", HERE)),
            "domain-error", ("label-out-of-range", "unknown", "log-of-zero")),
        Written("a scale of -0.1", case(
            origin("distribution", "forward", [stats("scale", min=-0.1)]), detector="numeric-exception",
            exception=ExceptionInfo("ValueError", "Expected parameter scale of distribution Normal to satisfy the constraint "
                                                  "GreaterThan(lower_bound=0.0), but found invalid values", HERE)),
            "domain-error", ("nonfinite-input", "degenerate-decomposition", "unknown")),
        Written("x / 0", case(origin("div", "forward", [stats("x", culprit=0.7), stats("scale", (10,), zero=1, min=0.0, culprit=0.0)],
                                     inf_of(), "x / scale")), "division-by-zero",
                ("empty-reduction", "zero-norm-vector", "lost-epsilon")),
        Written("a constant column", case(origin("div", "forward", [
            stats("x - lo", culprit=0.0, zero=32), stats("hi - lo", (10,), zero=1, min=0.0, culprit=0.0)], nan_of(P, 32),
            "(x - lo) / (hi - lo)")), "division-by-zero", ("empty-reduction", "zero-norm-vector", "single-element-variance")),
        Written("1 / std", case(origin("reciprocal", "forward", [stats("std", min=0.0, zero=3, culprit=0.0)], inf_of())),
                "division-by-zero", ("zero-norm-vector", "exp-overflow", "learning-rate-too-high")),
        Written("exp of a log-variance", case(origin("exp", "loss", [ninety], inf_of(), "torch.exp(logvar)")), "exp-overflow",
                ("learning-rate-too-high", "naive-softmax-overflow", "half-precision-overflow")),
        Written("exp in the first step", case(origin("exp", "loss", [ninety], inf_of()), 0), "exp-overflow",
                ("learning-rate-too-high", "bad-initialization", "exploding-gradient")),
        Written("1 / (1 + exp(-x))", case(origin("exp", "backward", [ninety], stats("grad", nan=1), absorbed_at=PICKED),
                                          trace=divided, detector="nonfinite-gradient"), "exp-overflow",
                ("where-gradient-trap", "naive-softmax-overflow", "singular-gradient")),
        Written("softmax by hand", case(origin("exp", "forward", [stats("z", max=120.0, culprit=120.0)], inf_of(),
                                               "torch.exp(z) / torch.exp(z).sum(1)"), trace=softmax_by_hand),
                "naive-softmax-overflow", ("exp-overflow", "division-by-zero", "softmax-over-masked-row")),
        Written("log-sum-exp by hand", case(origin("exp", "forward", [stats("z", max=95.0, culprit=95.0)], inf_of()),
                                            trace=log_sum_exp), "naive-softmax-overflow",
                ("exp-overflow", "log-of-zero", "unknown")),
        from_backward("sqrt", [GAPS], "inf", 0.031, "div", name="distance of equal points", cause="singular-gradient",
                      near=("where-gradient-trap", "division-by-zero", "exploding-gradient")),
        from_backward("pow", [GAPS], "nan", 0.2, "mul", name="x ** 0.5", cause="singular-gradient",
                      scalars=(Scalar("exponent", 0.5),), near=("where-gradient-trap", "domain-error", "infinity-arithmetic")),
        from_backward("acos", [stats("cos", culprit=1.0)], "nan", -0.4, "mul", name="acos at 1", cause="singular-gradient",
                      near=("domain-error", "where-gradient-trap", "unknown")),
        from_backward("sqrt", [GAPS], "nan", 0.0, "div", name="sqrt masked later", cause="where-gradient-trap",
                      code="torch.where(d2 > 0, d2.sqrt(), 0.0)", near=("singular-gradient", "division-by-zero", "unknown")),
        from_backward("pow", [GAPS], "nan", 0.0, "mul", name="power masked later", cause="where-gradient-trap",
                      scalars=(Scalar("exponent", 0.5),), near=("singular-gradient", "infinity-arithmetic", "domain-error")),
        Written("log behind a where", case(origin("log", "backward", [P], stats("grad", nan=1), absorbed_at=PICKED), trace=taken,
                                           detector="nonfinite-gradient"), "where-gradient-trap",
                ("log-of-zero", "singular-gradient", "infinity-arithmetic")),
        Written("division behind a where", case(origin(
            "div", "backward", [stats("x", culprit=0.3), stats("n", zero=1, min=0.0, culprit=0.0)], stats("grad", nan=1),
            absorbed_at=PICKED), trace=taken, detector="nonfinite-gradient"), "where-gradient-trap",
            ("division-by-zero", "empty-reduction", "zero-norm-vector")),
        Written("a sample of padding", case(origin("softmax", "forward", [SCORES], nan_of(SCORES, 12), samples=(3, 19)),
                                            trace=masked), "softmax-over-masked-row",
                ("infinity-arithmetic", "nonfinite-input", "empty-reduction")),
        Written("rows at the lowest number", case(origin("softmax", "forward", [stats("scores", (32, 6), min=-3.4e38)],
                                                         nan_of(SCORES, 6))), "softmax-over-masked-row",
                ("exp-overflow", "unknown", "learning-rate-too-high")),
        Written("logits of -inf", case(origin("bce_with_logits", "loss", [stats("z", neginf=4), stats("t")],
                                              stats("out", (), nan=1, min="nan", max="nan")), trace=masked),
                "infinity-arithmetic", ("softmax-over-masked-row", "empty-reduction", "domain-error")),
        Written("0 * inf", case(origin("mul", "forward", [stats("w", zero=3, culprit=0.0), stats("m", neginf=6)], nan_of(P)),
                                trace=masked), "infinity-arithmetic",
                ("softmax-over-masked-row", "division-by-zero", "learning-rate-too-high")),
        Written("an empty mask", case(origin("div", "loss", [nothing, one], stats("out", (), nan=1))), "empty-reduction",
                ("division-by-zero", "zero-norm-vector", "lost-epsilon")),
        Written("mean of no boxes", case(origin("mean", "loss", [stats("boxes", (0, 4), min="nan", max="nan")],
                                                stats("out", (), nan=1))), "empty-reduction",
                ("single-element-variance", "softmax-over-masked-row", "unknown")),
        Written("every label ignored", case(origin("nll_loss", "loss", [stats("logp"), stats("y", (32,), "int64", min=-100.0, max=-100.0)],
                                                   stats("out", (), nan=1))), "empty-reduction",
                ("label-out-of-range", "infinity-arithmetic", "nonfinite-input")),
        Written("an empty text", case(origin("div", "forward", [
            stats("v", (32, 64), culprit=0.0, zero=64), stats("v.norm(dim=1, keepdim=True)", (32, 1), zero=1, min=0.0, culprit=0.0)],
            nan_of(P, 64))), "zero-norm-vector", ("division-by-zero", "empty-reduction", "singular-gradient")),
        Written("normalize in half", case(origin("normalize", "forward", [stats("v", (32, 64), "float32", zero=64, culprit=0.0)],
                                                 nan_of(P, 64))), "zero-norm-vector",
                ("singular-gradient", "half-precision-overflow", "unknown")),
        Written("std of one advantage", case(origin("std", "forward", [stats("advantage", (1,))], stats("out", (), nan=1))),
                "single-element-variance", ("empty-reduction", "division-by-zero", "singular-gradient")),
        Written("one value per channel", case(None, detector="numeric-exception", exception=ExceptionInfo(
            "ValueError", "Expected more than 1 value per channel when training, got input size torch.Size([1, 8])", HERE)),
            "single-element-variance", ("unknown", "corrupt-buffer", "empty-reduction")),
        Written("11 classes for 10", case(None, 0, detector="numeric-exception", exception=ExceptionInfo(
            "IndexError", "Target 10 is out of bounds.", HERE)), "label-out-of-range",
            ("unknown", "domain-error", "uninitialized-parameter")),
        Written("a token beyond the table", case(origin("embedding", "forward", [
            stats("weight", (1000, 64)), stats("tokens", (32, 12), "int64", min=0.0, max=1003.0)]), detector="numeric-exception",
            exception=ExceptionInfo("IndexError", "index out of range in self", HERE)), "label-out-of-range",
            ("uninitialized-parameter", "unknown", "domain-error")),
        Written("Cholesky of equal rows", case(origin("cholesky", "forward", [square]), detector="numeric-exception",
                exception=ExceptionInfo("LinAlgError", "linalg.cholesky: The factorization could not be completed because the "
                                        "input is not positive-definite", HERE)), "degenerate-decomposition",
                ("unknown", "domain-error", "label-out-of-range")),
        Written("slope of svd", case(origin("svd", "backward", [square], nan_of(square)), detector="nonfinite-gradient"),
                "degenerate-decomposition", ("exploding-gradient", "singular-gradient", "unknown")),
        Written("a small epsilon in half", case(origin("div", "forward", [
            stats("v", (32, 64), "float16", culprit=0.0), stats("(norm + 1e-8)", (32, 1), "float16", zero=1, min=0.0, culprit=0.0)],
            stats("out", (32, 64), "float16", nan=64), "v / (norm + 1e-8)")), "lost-epsilon",
            ("zero-norm-vector", "division-by-zero", "half-precision-overflow")),
    ]


def growth() -> list[Written]:
    """Causes that make all numbers grow."""
    wide = stats("a", (32, 64), max=3e19, culprit=3e19)
    over = inf_of((32, 64))
    grown = (stats("net.0.weight", (64, 20), min=-4e6, max=5e6),)
    half = stats("h", (32, 64), "float16", max=4.1e4, culprit=300.0)
    hot = {"optimizer": "SGD", "lr": 3.0, "parameters": grown}
    dear = (stats("x", (32, 3)), stats("y", (32, 1), min=1e5, max=4e5))
    raw = (stats("x", (32, 3), min=0.0, max=9e5), stats("y", (32, 1)))
    ids = (stats("tokens", (32, 40), "int64", min=0.0, max=900.0), stats("y", (32,), "int64"))
    recurrent = tuple(Magnitude("cell", "RNNCell", 3.0**k, 3.0**k, "float32") for k in range(40))
    even = layers(1.0, 1.05, 6)
    return [
        Written("exp at the end of a run-up", case(origin("exp", "loss", [stats("z", max=140.0, culprit=140.0)], inf_of()), 3,
                                                   loss=[2.0, 21.0, 230.0], gradient=[1.0, 9.0, 90.0], **hot),
                "learning-rate-too-high", ("exp-overflow", "naive-softmax-overflow", "bad-initialization")),
        Written("squares at the end of a run-up", case(origin("mse", "loss", [wide, stats("y", (32, 64))], inf_of(())), 5, loss=RISING,
                                                       gradient=TENFOLD, **hot), "learning-rate-too-high",
                ("unscaled-target", "exploding-gradient", "bad-initialization")),
        Written("one step with a rate of 1e6", case(origin("matmul", "forward", [wide, stats("w", (64, 64), max=2e7)], over), 1,
                                                    loss=[1.1], gradient=[2.4], optimizer="SGD", lr=1e6, parameters=grown),
                "learning-rate-too-high", ("bad-initialization", "uninitialized-parameter", "exploding-gradient")),
        Written("the rate made the update infinite", case(
            origin("add", "optimizer", [stats("w", (64, 20)), stats("grad", (64, 20), max=3e9, culprit=3e9)], inf_of((64, 20))),
            40, optimizer="SGD", lr=1e30, detector="nonfinite-parameter"), "learning-rate-too-high",
            ("optimizer-arithmetic", "lost-epsilon", "exploding-gradient")),
        Written("targets of 1e22", case(origin("mse", "loss", [stats("pred", (32, 1)), stats("y", (32, 1), max=1e22, culprit=1e22)],
                                               inf_of(())), 0, batch=(stats("x", (32, 3)), stats("y", (32, 1), max=1e22))),
                "unscaled-target", ("unscaled-input", "bad-initialization", "half-precision-overflow")),
        Written("house prices", case(origin("mse", "loss", [wide, dear[1]], inf_of(())), 9, batch=dear, optimizer="SGD", lr=0.01,
                                     loss=[6e10, 5e12, 4e14, 3e16, 2e19, 1e24, 1e30, 1e36], gradient=[1e5, 1e7, 1e10, 1e14, 1e18],
                                     parameters=grown), "unscaled-target",
                ("learning-rate-too-high", "exploding-gradient", "unscaled-input")),
        Written("incomes as input", case(origin("matmul", "forward", [wide, stats("w", (64, 64), max=2e20)], over), 4, batch=raw,
                                         optimizer="SGD", lr=0.01, loss=[3e9, 4e15, 6e24, 8e35], gradient=[1e8, 1e14, 1e21],
                                         parameters=grown), "unscaled-input",
                ("learning-rate-too-high", "unscaled-target", "exploding-gradient")),
        Written("an input of 1e20 squared", case(origin("pow", "forward", [stats("x", (32, 3), max=1e20, culprit=1e20)], inf_of((32, 3)),
                scalars=(Scalar("exponent", 2.0),)), 0, batch=(stats("x", (32, 3), max=1e20), stats("y", (32,)))),
                "unscaled-input", ("bad-initialization", "domain-error", "unscaled-target")),
        Written("scores in half", case(origin("matmul", "forward", [half, stats("k", (64, 64), "float16", max=90.0)],
                                              stats("out", (32, 64), "float16", posinf=5)), 4000), "half-precision-overflow",
                ("learning-rate-too-high", "exploding-gradient", "unscaled-input")),
        Written("exp of 20 in half", case(origin("exp", "forward", [stats("z", dtype="float16", max=20.0, culprit=20.0)],
                                                 inf_of(dtype="float16"))), "half-precision-overflow",
                ("exp-overflow", "naive-softmax-overflow", "lost-epsilon")),
        Written("a cast on the way back", case(origin("cast", "backward", [stats("h", max=8.0)],
                                                      stats("grad", dtype="float16", posinf=3)), detector="nonfinite-gradient"),
                "half-precision-overflow", ("exploding-gradient", "singular-gradient", "where-gradient-trap")),
        Written("a recurrent network", case(origin("matmul", "backward", [stats("h", (32, 64), max=4.0), stats("w", (64, 64), max=1.6)],
                                                   inf_of((32, 64))), 60, gradient=[3.0, 8.0, 4e3, 7e9], batch=ids,
                                            trace=Trace(gradient_profile=tuple(reversed(recurrent)), profile=recurrent[:0]),
                                            detector="nonfinite-gradient", optimizer="SGD", lr=0.01), "exploding-gradient",
                ("learning-rate-too-high", "bad-initialization", "half-precision-overflow")),
        Written("one gradient of 1e12", case(origin("matmul", "forward", [wide, stats("w", (64, 64), max=3e20)], over), 61,
                                             gradient=[1.0, 1.4, 1.1, 2e12], loss=[2.0, 1.8, 1.7, 1.75, 1.7, 1.65],
                                             parameters=(stats("w", (64, 64), max=2e10),), optimizer="SGD", lr=0.01,
                                             trace=Trace(gradient_profile=layers(1.0, 12.0, 8))), "exploding-gradient",
                ("learning-rate-too-high", "unscaled-input", "uninitialized-parameter")),
        Written("forty layers drawn at 1", case(origin("matmul", "forward", [wide, stats("w", (64, 64), max=4.1)], over), 0,
                                                trace=Trace(profile=layers(10.0, 12.0, 17)),
                                                parameters=(stats("net.3.weight", (512, 512), min=-4.8, max=4.9),)),
                "bad-initialization", ("learning-rate-too-high", "exploding-gradient", "unscaled-input")),
        Written("an absurd first loss", case(origin("mse", "loss", [wide, stats("y", (32, 64))], inf_of(())), 2, loss=[4e11, 3e25],
                                             gradient=[7e13, 1e30], trace=Trace(profile=layers(1.0, 9.0, 9)),
                                             parameters=(stats("net.3.weight", (512, 512), min=-4.8, max=4.9),)),
                "bad-initialization", ("learning-rate-too-high", "unscaled-target", "uninitialized-parameter")),
        Written("gradients of 1e21 under Adam", case(
            origin("mul", "optimizer", [stats("grad", max=1e21, culprit=1e21)], inf_of()), 30, detector="nonfinite-moment",
            gradient=[1.0, 1.1, 1e21], configuration=configuration(betas=(0.9, 0.999), epsilon=1e-8)), "optimizer-arithmetic",
            ("learning-rate-too-high", "lost-epsilon", "corrupt-optimizer-state")),
        Written("moments in half", case(
            origin("mul", "optimizer", [stats("grad", dtype="float16", max=9e3, culprit=9e3)], inf_of(dtype="float16")), 30,
            detector="nonfinite-moment",
            configuration=configuration(betas=(0.9, 0.999), epsilon=1e-4, parameter_dtypes=("float16",))),
            "optimizer-arithmetic", ("lost-epsilon", "corrupt-optimizer-state", "learning-rate-too-high")),
        Written("a gradient of 0 under Adam in half", case(
            origin("div", "optimizer", [stats("m", dtype="float16", zero=9, culprit=0.0),
                                        stats("v", dtype="float16", zero=9, min=0.0, culprit=0.0)], nan_of(half)), 0,
            detector="nonfinite-parameter", configuration=configuration(epsilon=1e-8, parameter_dtypes=("float16",))),
            "lost-epsilon", ("optimizer-arithmetic", "division-by-zero", "learning-rate-too-high")),
        Written("a deep healthy profile", case(origin("log", "loss", [P], stats("out", neginf=1)),
                                               trace=Trace(profile=even, gradient_profile=even)), "log-of-zero",
                ("exploding-gradient", "bad-initialization", "unscaled-target")),
    ]


def state() -> list[Written]:
    """Causes that were there before the step computed anything, or outside of it."""
    weight = stats("net.2.weight", (64, 64), nan=64)
    loaded = {"configuration": configuration(checkpoint=LOADED)}
    made = origin("parameter", "load", output=weight, parameter="net.2.weight")
    variance = origin("buffer", "load", output=stats("bn.running_var", (64,), nan=64), buffer="bn.running_var")
    moment = Trace(leaves=(Leaf("moment", "net.2.weight.exp_avg", stats("exp_avg", (64, 64), posinf=1)),))
    patient = origin("input", "data", output=stats("x", (32, 20), nan=1), samples=(17,))
    wide = stats("a", (32, 64), max=3e19, culprit=3e19)
    cold = [2.3, 2.1, 2.0]
    return [
        Written("a missing measurement", case(patient, batch=(stats("x", (32, 20), nan=1), stats("y", (32,), "int64"))),
                "nonfinite-input", ("unknown", "uninitialized-parameter", "corrupt-buffer")),
        Written("a missing measurement at first", case(patient, 0), "nonfinite-input",
                ("unscaled-input", "uninitialized-parameter", "corrupt-checkpoint")),
        Written("a bad checkpoint", case(made, 0, parameters=(weight,), **loaded), "corrupt-checkpoint",
                ("uninitialized-parameter", "unknown", "bad-initialization")),
        Written("a bad buffer in a checkpoint", case(variance, 0, **loaded), "corrupt-checkpoint",
                ("corrupt-buffer", "uninitialized-parameter", "corrupt-optimizer-state")),
        Written("torch.empty", case(made, 0, parameters=(weight,)), "uninitialized-parameter",
                ("corrupt-checkpoint", "bad-initialization", "unknown")),
        Written("torch.empty with finite garbage", case(
            origin("matmul", "forward", [stats("x", (32, 20)), stats("w", (20, 64), max=2.4e38, culprit=2.4e38)], inf_of((32, 64))), 0,
            parameters=(stats("head.weight", (64, 20), max=2.4e38),)), "uninitialized-parameter",
            ("bad-initialization", "corrupt-checkpoint", "learning-rate-too-high")),
        Written("a poisoned running variance", case(variance, 80), "corrupt-buffer",
                ("corrupt-checkpoint", "single-element-variance", "uninitialized-parameter")),
        Written("a negative running variance", case(origin("batch_norm", "forward", [
            stats("x", (32, 64)), stats("running_var", (64,), min=-0.2)], nan_of(wide))), "corrupt-buffer",
            ("single-element-variance", "domain-error", "learning-rate-too-high")),
        Written("moments from elsewhere", case(origin("moment", "load", output=stats("exp_avg", posinf=1)), 1, trace=moment,
                                               detector="nonfinite-moment", **loaded), "corrupt-optimizer-state",
                ("corrupt-checkpoint", "optimizer-arithmetic", "unknown")),
        Written("a bad moment without a restart", case(origin("moment", "load", output=stats("exp_avg", nan=1)), 7,
                                                       trace=moment, detector="nonfinite-parameter"),
                "corrupt-optimizer-state", ("corrupt-checkpoint", "uninitialized-parameter", "corrupt-buffer")),
        Written("a rate of nan", case(origin("learning_rate", "optimizer"), 90, detector="nonfinite-learning-rate", lr="nan",
                                      rate=[0.1, 0.05, "nan"]), "invalid-learning-rate-schedule",
                ("learning-rate-too-high", "unknown", "optimizer-arithmetic")),
        Written("a warm-up that never ends", case(
            origin("matmul", "forward", [wide, stats("w", (64, 64), max=2e19)], inf_of((32, 64))), 60, loss=[*cold, 40.0, 900.0],
            rate=[1e-4, 3e-4, 1e-3, 1e-2, 0.1, 1.0], configuration=configuration("Adam", 1.0, schedulers=("LambdaLR",)),
            parameters=(stats("w", (64, 64), max=4e3),)), "invalid-learning-rate-schedule",
            ("learning-rate-too-high", "exploding-gradient", "missing-zero-grad")),
        Written("no zero_grad", case(
            origin("mse", "loss", [wide, stats("y", (32, 64))], inf_of(())), 40, loss=[1.0, 3.0, 9.0, 40.0, 700.0],
            gradient=[2.0, 4.0, 6.5, 9.0, 30.0], configuration=configuration("SGD", 0.05, gradients_alive=True),
            parameters=(stats("w", (64, 64), max=2e3),)), "missing-zero-grad",
            ("learning-rate-too-high", "exploding-gradient", "unscaled-target")),
        Written("a gradient that stayed", case(origin("gradient", "load", output=stats("w.grad", posinf=1)), 12,
                                               detector="nonfinite-gradient", configuration=configuration(gradients_alive=True)),
                "missing-zero-grad", ("corrupt-checkpoint", "uninitialized-parameter", "unknown")),
        Written("not again", case(origin("matmul", "forward", [stats("h"), stats("w")], nan_of(P)),
                                  replay=ReplaySummary(attempts=2, agreed=False)), "transient-fault",
                ("unknown", "learning-rate-too-high", "exploding-gradient")),
        Written("not again, nothing traced", case(None, replay=ReplaySummary(attempts=2, agreed=False)), "transient-fault",
                ("unknown", "missing-zero-grad", "invalid-learning-rate-schedule")),
        Written("log of zero, but not again", case(origin("log", "loss", [P], stats("out", neginf=1)),
                                                   replay=ReplaySummary(attempts=2, agreed=False)), "transient-fault",
                ("log-of-zero", "domain-error", "unknown")),
        Written("nothing located", case(None), "unknown", ("transient-fault", "learning-rate-too-high", "missing-zero-grad")),
        Written("a foreign operator", case(origin("unknown", "forward", [stats("x")], nan_of(P)),
                                           trace=Trace(unseen=("a fused kernel",))), "unknown",
                ("learning-rate-too-high", "infinity-arithmetic", "transient-fault")),
        Written("different inputs", case(None, replay=ReplaySummary(attempts=1, same_inputs=False, agreed=False)), "unknown",
                ("transient-fault", "invalid-learning-rate-schedule", "nonfinite-input")),
    ]


WRITTEN: tuple[Written, ...] = (*operations(), *growth(), *state())
