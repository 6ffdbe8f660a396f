"""What cases are written with: short forms of the records a tracer fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stayfinite.records.incident import (
    Case,
    Configuration,
    OptimizerInfo,
    Origin,
    ReplaySummary,
    Symptom,
)
from stayfinite.records.location import Location
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Magnitude, OpCall, Trace

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


def origin(
    op: str,
    phase: str = "forward",
    inputs: Sequence[TensorStats] = (),
    output: TensorStats | None = None,
    code: str = "",
    **rest: Any,
) -> Origin:
    place = Location(file=HERE.file, line=HERE.line, function=HERE.function, code=code, expression=code)
    return Origin(
        **{
            "phase": phase,
            "op": op,
            "native_op": f"aten.{op}.default",
            "location": place,
            "inputs": tuple(inputs),
            "output": output,
            **rest,
        }
    )


def window(series: str, values: Sequence[Number], last: int) -> Window:
    return Window(series, tuple(range(last - len(values) + 1, last + 1)), tuple(values))


def case(
    born: Origin | None,
    step: int = 120,
    *,
    loss: Sequence[Number] | None = None,
    gradient: Sequence[Number] = (),
    rate: Sequence[Number] = (),
    detector: str = "nonfinite-loss",
    optimizer: str = "Adam",
    lr: Number = 1e-3,
    **rest: Any,
) -> Case:
    """A case at `step`; without a `loss` it fell calmly until then. Two control replays agreed."""
    if loss is None:
        loss = [2.3, 1.9, 1.6, 1.5, 1.4, 1.3, 1.35, 1.2][:step] if step else []
    windows = [window("loss", [*loss, "nan"], step)]
    if gradient:
        windows.append(window("gradient_norm", gradient, step))
    if rate:
        windows.append(window("learning_rate", rate, step))
    rest.setdefault("configuration", configuration(optimizer, lr))
    rest.setdefault("batch", (stats("x", (32, 20), min=-3.2, max=3.1), stats("y", (32,), "int64", min=0.0, max=9.0)))
    rest.setdefault("parameters", (stats("net.0.weight", (64, 20), min=-0.4, max=0.4),))
    rest.setdefault("replay", ReplaySummary(attempts=2))
    return Case(
        symptom=Symptom(detector, step, "loss", "nan"), origin=born, windows=tuple(windows), batch_size=32, **rest
    )


def configuration(optimizer: str = "Adam", lr: Number = 1e-3, **rest: Any) -> Configuration:
    more = {name: rest.pop(name) for name in ("epsilon", "betas", "schedulers", "base_rates") if name in rest}
    return Configuration(optimizers=(OptimizerInfo(kind=optimizer, rates=(lr,), location=MADE, **more),), **rest)


def backward(op: str, inputs: Sequence[TensorStats], made: str, arrived: float | None, slope: str, code: str = "",
             gate: OpCall | None = None, **rest: Any) -> tuple[Origin, Trace]:
    """A failure born in the backward pass of `op`: the gradient `arrived` was divided by the slope (``"div"``), or
    multiplied with an infinite one (``"mul"``). `gate` sent a gradient of 0."""
    bad = stats("grad", inputs[0].shape, nan=int(made == "nan"), posinf=int(made == "inf"))
    gradient = stats("grad_output", inputs[0].shape, culprit=arrived, zero=1 if arrived == 0.0 else 0)
    more = {"phase": "backward", "location": HERE, "forward": 12, "gate": gate.index if gate is not None else -1}
    infinite = stats("slope", inputs[0].shape, posinf=1)
    calls = {
        "div": (OpCall(40, "div", "aten.div.Tensor", inputs=(gradient, inputs[0]), output=bad, **more),),
        "mul": (
            OpCall(40, op, f"aten.{op}.default", inputs=(inputs[0],), output=infinite, **more),
            OpCall(41, "mul", "aten.mul.Tensor", inputs=(gradient, infinite), output=bad, sources=(40,), **more),
        ),
    }[slope]
    born = origin(op, "backward", inputs, bad, code, **rest)
    return born, Trace(calls=calls if gate is None else (gate, *calls), operations=60)


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
