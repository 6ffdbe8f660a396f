"""Cases whose numbers stay finite: what a survey of a repeated step says, and the cause that must come first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.writing import Written, case, configuration, stats

from stayfinite.records.incident import Case, Origin
from stayfinite.records.location import Location
from stayfinite.records.survey import Barrier, LossInputs, ParameterState, Survey, Units
from stayfinite.records.trace import Scalar

LINE = {"relu": 20, "tanh": 21, "sigmoid": 22, "softmax": 23, "clamp": 30, "nan_to_num": 31, "detach": 32, "mse": 40,
        "cross_entropy": 41, "nll_loss": 42, "bce": 43}
FLAT = [2.3, 2.31, 2.29, 2.3, 2.3, 2.28, 2.31, 2.3]


def at(kind: str) -> Location:
    return Location(file="train.py", line=LINE[kind], function="forward", code=f"h = {kind}(h)")


def units(kind: str, **rest: Any) -> Units:
    return Units(**{"kind": kind, "location": at(kind), "units": 64, "output": stats("out", (32, 64)), "gradient": 0.3,
                    "passed": 0.1, "input": stats("h", (32, 64), min=-3.0, max=3.0), **rest})


def barrier(kind: str, **rest: Any) -> Barrier:
    return Barrier(**{"kind": kind, "native_op": f"aten.{kind}.default", "location": at(kind), "blocked": 1.0,
                      "parameters": ("net.0.weight", "net.0.bias"), **rest})


def weight(name: str, gradient: float | None, **rest: Any) -> ParameterState:
    """A parameter whose largest gradient is `gradient`: 0 throughout, or missing for ``None``."""
    if gradient is None:
        seen = None
    else:
        seen = stats(name, (64, 64), min=-gradient, max=gradient, zero=4096 if gradient == 0.0 else 0)
    change = 1e-3 if gradient else 0.0
    return ParameterState(**{"name": name, "shape": (64, 64), "dtype": "float32", "gradient": seen, "change": change,
                             "magnitude": 0.4, **rest})


LEARNING = (weight("net.0.weight", 0.02), weight("net.2.weight", 0.03), weight("net.4.weight", 0.05))
HELD_BACK = (weight("net.0.weight", 0.0), weight("net.2.weight", 0.0), weight("net.4.weight", 0.05))
DEAD = tuple(weight(f"net.{number}.weight", 0.0) for number in (0, 2, 4))
UNTOUCHED = tuple(weight(f"net.{number}.weight", None) for number in (0, 2, 4))


def finite(
    survey: Survey | None, origin: str | None = None, *, detector: str = "plateau", phase: str = "backward", **rest: Any
) -> Case:
    """A step that was surveyed, with the operator it was located at."""
    born = None
    if origin is not None:
        native = f"aten.{origin}.default"
        born = Origin(phase, origin, native, at(origin), inputs=(stats("h"),), output=stats("out"))  # type: ignore[arg-type]
    rest.setdefault("loss", FLAT)
    return case(born, 60, detector=detector, survey=survey, gradient=[0.05] * 8, **rest)


def loss(kind: str, made_by: str, prediction: Sequence[float], target: Any = None, over: int = 0) -> LossInputs:
    low, high = prediction
    return LossInputs(kind, at(kind), stats("prediction", (32, 1), min=low, max=high), target, made_by,
                      at(made_by) if made_by in LINE else Location(), over)


def nothing_learned() -> list[Written]:
    """A training that goes on and learns nothing."""
    dead = units("relu", dead=64, constant=64, input=stats("h", (32, 64), min=-90.0, max=-12.0), passed=0.0)
    lively = units("relu", dead=3, constant=3)
    first = units("relu", location=Location("train.py", 12), dead=64, constant=64, input=stats("h", (32, 64), min=-90.0, max=-12.0))
    starved = units("relu", dead=64, constant=64, input=stats("h", (32, 64), zero=2048, min=0.0, max=0.0), passed=0.0)
    flat = units("tanh", saturated=1.0, input=stats("h", (32, 64), min=-80.0, max=95.0), passed=1e-9)
    lost = tuple(units("sigmoid", saturated=0.0, gradient=0.2 * 0.1 ** (13 - k), passed=0.02 * 0.1 ** (13 - k))
                 for k in range(14))
    shrunk = tuple(weight(f"hidden.{k}.weight", 0.2 * 0.1 ** (13 - k)) for k in range(14))
    steps = tuple(units("tanh", gradient=0.1 * 0.6 ** (59 - k), passed=0.06 * 0.6 ** (59 - k)) for k in range(60))
    stars = stats("target", (32, 1), min=1.0, max=5.0)
    frost = stats("target", (32, 1), min=-19.0, max=-7.0)
    capped = barrier("clamp", clamped=320, inputs=(stats("errors", min=4e3, max=9e6),), scalars=(Scalar("max", 100.0),),
                     phase="loss")
    half = {"dtype": "bfloat16", "change": 0.0, "magnitude": 2.9}
    rounded = tuple(weight(f"net.{k}.weight", 0.002, **half) for k in (0, 2, 4))
    head = weight("head.weight", 0.4, owned=False, change=0.0)
    off = tuple(weight(f"net.{k}.weight", None, requires_grad=False) for k in (0, 2))
    ever = ("unknown", "missing-zero-grad", "learning-rate-too-high")
    return [
        Written("a layer of dead rectifiers", finite(Survey((dead,), (barrier("relu"),), parameters=HELD_BACK), "relu"),
                "dead-relu", (*ever, "masked-failure", "vanishing-gradient", "frozen-parameters", "saturated-activation")),
        Written("nine in ten rectifiers are dead", finite(Survey((units("relu", dead=60, constant=60),),
                parameters=LEARNING), "relu"), "dead-relu", (*ever, "activation-loss-mismatch", "frozen-parameters")),
        Written("dead rectifiers without a gradient anywhere", finite(Survey((dead,), (barrier("relu"),), parameters=DEAD),
                "relu", detector="dead-gradient"), "dead-relu", ("frozen-parameters", "masked-failure", "unknown")),
        Written("a rectifier that is given the zeros of a dead one", finite(Survey((first, starved), (barrier("relu"),),
                parameters=DEAD), "relu", detector="dead-gradient"), "dead-relu", ("frozen-parameters", "masked-failure", "unknown")),
        Written("flat tanh", finite(Survey((flat, lively), parameters=HELD_BACK), "tanh"), "saturated-activation",
                (*ever, "dead-relu", "vanishing-gradient", "activation-loss-mismatch")),
        Written("decided attention", finite(Survey((units("softmax", saturated=0.97, passed=1e-5), lively),
                parameters=LEARNING), "softmax"), "saturated-activation", ("dead-relu", "activation-loss-mismatch")),
        Written("softmax over one number", finite(Survey((lively, units("softmax", units=1, saturated=1.0, passed=0.0)),
                (barrier("softmax"),), parameters=DEAD, losses=(loss("bce", "softmax", (1.0, 1.0), stats("y", (32, 1),
                min=0.0), 1),)), "softmax", detector="dead-gradient"), "activation-loss-mismatch",
                ("saturated-activation", "dead-relu", "frozen-parameters")),
        Written("stars from a sigmoid", finite(Survey((units("sigmoid", saturated=0.98),), parameters=LEARNING,
                losses=(loss("mse", "sigmoid", (0.99, 1.0), stars),)), "mse", phase="loss"), "activation-loss-mismatch",
                ("saturated-activation", "unscaled-target", "vanishing-gradient")),
        Written("frost from a rectifier", finite(Survey((units("relu", dead=64, passed=0.0),), (barrier("relu"),),
                parameters=DEAD, losses=(loss("mse", "relu", (0.0, 0.0), frost),)), "relu", detector="dead-gradient"),
                "activation-loss-mismatch", ("dead-relu", "saturated-activation", "unscaled-target")),
        Written("probabilities in a log-likelihood", finite(Survey((units("sigmoid", saturated=1.0),), (barrier("sigmoid"),),
                parameters=DEAD, losses=(loss("nll_loss", "sigmoid", (0.9, 1.0)),)), "sigmoid", detector="dead-gradient",
                loss=[-0.99, -1.0, -1.0, -1.0]), "activation-loss-mismatch", ("saturated-activation", "masked-failure")),
        Written("a capped loss", finite(Survey((lively,), (capped,), parameters=DEAD), "clamp", detector="dead-gradient"),
                "masked-failure", ("dead-relu", "frozen-parameters", "unscaled-target", "activation-loss-mismatch")),
        Written("replaced by zeros", finite(Survey((units("tanh"),), (barrier("nan_to_num", replaced=320,
                inputs=(stats("scaled", nan=320),)),), parameters=HELD_BACK), "nan_to_num"), "masked-failure",
                ("vanishing-gradient", "frozen-parameters", "saturated-activation")),
        Written("the optimizer has the old head", finite(Survey((lively,), parameters=(*off, head)), None,
                detector="stalled-update"), "frozen-parameters", ("dead-relu", "masked-failure", "vanishing-gradient")),
        Written("the graph is cut", finite(Survey((lively,), (barrier("detach", detached=True, parameters=tuple(
                state.name for state in UNTOUCHED)),), parameters=UNTOUCHED), "detach", detector="dead-gradient"),
                "frozen-parameters", ("dead-relu", "masked-failure", "saturated-activation")),
        Written("cleared before the update", finite(Survey((lively,), parameters=tuple(
                weight(state.name, None, arrived=0.3) for state in UNTOUCHED)), None, detector="dead-gradient"),
                "frozen-parameters", ("missing-zero-grad", "unknown", "vanishing-gradient")),
        Written("updates below the spacing of bfloat16", finite(Survey((lively,), parameters=rounded), None,
                detector="stalled-update", configuration=configuration("SGD", 1e-3)), "frozen-parameters",
                ("unknown", "vanishing-gradient", "half-precision-overflow")),
        Written("clipped to nothing", finite(Survey((lively,), parameters=DEAD), None, detector="stalled-update",
                configuration=configuration(clip_norm=1e-12, clipped_norm=4.0)), "frozen-parameters",
                ("dead-relu", "vanishing-gradient", "exploding-gradient")),
        Written("fourteen sigmoids", finite(Survey(lost, parameters=shrunk), "sigmoid"), "vanishing-gradient",
                ("saturated-activation", "dead-relu", "exploding-gradient", "bad-initialization")),
        Written("sixty time steps", finite(Survey(steps, parameters=LEARNING), "tanh"), "vanishing-gradient",
                ("saturated-activation", "frozen-parameters", "masked-failure")),
        Written("nothing in the survey", finite(Survey((lively,), parameters=LEARNING), None), "unknown",
                ("dead-relu", "saturated-activation", "masked-failure", "activation-loss-mismatch", "vanishing-gradient",
                 "frozen-parameters")),
        Written("no survey", finite(None), "unknown", ("dead-relu", "saturated-activation", "vanishing-gradient")),
    ]
