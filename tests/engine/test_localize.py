"""Choosing the origin, on traces written by hand: no framework takes part."""

from __future__ import annotations

import msgspec
import pytest

from stayfinite.engine.localize import localize
from stayfinite.records.incident import ExceptionInfo, Symptom
from stayfinite.records.location import Location
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, OpCall, Sink, SinkKind, Trace


def at(line: int) -> Location:
    return Location(file="train.py", line=line, code=f"line {line}")


def stats(
    name: str = "x", *, shape: tuple[int, ...] = (4, 3), nan: int = 0, posinf: int = 0, neginf: int = 0
) -> TensorStats:
    return TensorStats(name=name, shape=shape, dtype="float32", nan=nan, posinf=posinf, neginf=neginf, min=0.0, max=1.0)


NAN, LOW = stats("output", nan=1), stats("output", neginf=1)


def birth(index: int, kind: str = "log", line: int | None = None, **more) -> OpCall:
    more.setdefault("output", NAN)
    return OpCall(
        index=index,
        kind=kind,
        native_op=f"aten.{kind}.default",
        phase=more.pop("phase", "forward"),
        location=at(line or index),
        born=1,
        inputs=more.pop("inputs", (stats("p"),)),
        **more,
    )


def passing(index: int, *sources: int, kind: str = "mul", **more) -> OpCall:
    more.setdefault("output", NAN)
    return OpCall(
        index=index,
        kind=kind,
        native_op=f"aten.{kind}.Tensor",
        phase=more.pop("phase", "forward"),
        location=at(index),
        sources=sources,
        inputs=more.pop("inputs", (stats(nan=1),)),
        **more,
    )


def sink(kind: SinkKind, source: int | None, name: str = "") -> Sink:
    return Sink(kind=kind, name=name or kind, stats=stats(kind, nan=1), source=source)


def symptom(detector: str = "nonfinite-loss", *names: str) -> Symptom:
    return Symptom(detector=detector, step=3, series="loss", value="nan", names=names)


def test_the_birth_on_the_path_and_not_the_first_bad_value() -> None:
    trace = Trace(calls=(birth(1, "div"), birth(4), passing(7, 4)), sinks=(sink("loss", 7),))
    found = localize(trace, symptom())
    assert found.origin is not None
    assert (found.origin.op, found.origin.location.line, found.origin.phase) == ("log", 4, "forward")
    assert found.path == (4, 7)


def test_the_earliest_of_several_births() -> None:
    trace = Trace(calls=(birth(2, "div"), birth(5), passing(8, 5, 2)), sinks=(sink("loss", 8),))
    assert localize(trace, symptom()).origin.op == "div"


def test_a_sentinel_is_stepped_over_to_the_call_that_makes_a_nan_of_it() -> None:
    masked = stats("scores", neginf=3)
    trace = Trace(
        calls=(
            birth(1, "masked_fill", sentinel=True, output=stats("output", neginf=3)),
            passing(2, 1, kind="add", inputs=(masked,), output=stats("output", neginf=3)),
            passing(3, 2, kind="softmax", inputs=(masked,), samples=(2,)),
            passing(4, 3, kind="matmul"),
        ),
        sinks=(sink("loss", 4),),
    )
    origin = localize(trace, symptom()).origin
    assert (origin.op, origin.location.line, origin.samples) == ("softmax", 3, (2,))


def test_a_sentinel_after_the_one_that_failed_is_no_origin() -> None:
    """What a matrix product after it mixes is the NaN that came from the layer before, and not the mask."""
    masked, both = stats("scores", neginf=3), stats("scores", nan=2, neginf=2)
    trace = Trace(
        calls=(
            birth(1, "masked_fill", sentinel=True, output=masked),
            passing(2, 1, kind="softmax", inputs=(masked,)),
            birth(3, "masked_fill", sentinel=True, output=masked),
            passing(4, 2, 3, kind="add", inputs=(stats(nan=1), masked), output=both),
            passing(5, 4, kind="softmax", inputs=(both,)),
            passing(6, 5, kind="matmul", inputs=(stats(nan=12),), output=stats("output", shape=(4, 1), nan=4)),
        ),
        sinks=(sink("loss", 6),),
    )
    assert localize(trace, symptom()).origin.location.line == 2


def test_a_sentinel_that_a_loss_picks() -> None:
    masked = stats("scores", neginf=3)
    trace = Trace(
        calls=(
            birth(1, "masked_fill", sentinel=True, output=masked),
            passing(2, 1, kind="log_softmax", inputs=(masked,), output=masked),
            passing(3, 2, kind="nll_loss", phase="loss", inputs=(masked,), output=stats("output", shape=(), posinf=1)),
        ),
        sinks=(sink("loss", 3),),
    )
    origin = localize(trace, symptom()).origin
    assert (origin.op, origin.phase) == ("nll_loss", "loss")


def test_a_sentinel_that_goes_straight_to_the_loss_is_the_origin_itself() -> None:
    trace = Trace(calls=(birth(1, "mul", sentinel=True, output=stats(shape=(), posinf=1)),), sinks=(sink("loss", 1),))
    assert localize(trace, symptom()).origin.op == "mul"


def test_a_birth_beside_a_sentinel_comes_first() -> None:
    trace = Trace(
        calls=(birth(1, "masked_fill", sentinel=True, output=LOW), birth(3, "exp", sources=(1,))),
        sinks=(sink("loss", 3),),
    )
    assert localize(trace, symptom()).origin.op == "exp"


def test_a_bad_sample() -> None:
    leaf = Leaf(kind="batch", name="batch['x']", stats=stats("batch['x']", nan=1), read_by=2, samples=(3,))
    trace = Trace(calls=(passing(2, -1, kind="matmul", module="head"),), leaves=(leaf,), sinks=(sink("loss", 2),))
    origin = localize(trace, symptom()).origin
    assert (origin.phase, origin.op, origin.samples, origin.module) == ("data", "input", (3,), "head")
    assert origin.location.line == 2
    assert [one.name for one in origin.inputs] == ["batch['x']"]


def test_a_bad_sample_is_placed_on_the_way_to_the_harm() -> None:
    leaf = Leaf(kind="batch", name="x", stats=stats("x", nan=1), read_by=1)
    calls = (passing(1, -1, kind="mean"), passing(5, -1, kind="matmul"))
    trace = Trace(calls=calls, leaves=(leaf,), sinks=(sink("loss", 5),))
    assert localize(trace, symptom()).origin.location.line == 5


def test_a_bad_label_that_where_hid_from_the_loss() -> None:
    leaf = Leaf(kind="batch", name="y", stats=stats("y", nan=1), read_by=1)
    calls = (passing(1, -1, kind="sub"), passing(2, 1, kind="where", absorbed=True), passing(9, 1, phase="backward"))
    trace = Trace(calls=calls, leaves=(leaf,), sinks=(sink("gradient", 9),))
    origin = localize(trace, symptom("nonfinite-gradient")).origin
    assert (origin.phase, origin.location.line, origin.absorbed_at) == ("data", 1, at(2))


def test_a_bad_parameter_buffer_and_moment() -> None:
    for kind, name, parameter, buffer in (
        ("parameter", "head.weight", "head.weight", None),
        ("buffer", "norm.running_var", None, "norm.running_var"),
        ("moment", "exp_avg of head.weight", "head.weight", None),
        ("gradient", "head.weight", "head.weight", None),
    ):
        leaf = Leaf(kind=kind, name=name, stats=stats(name, nan=1), read_by=2)
        trace = Trace(calls=(passing(2, -1),), leaves=(leaf,), sinks=(sink("loss", 2),))
        origin = localize(trace, symptom()).origin
        assert (origin.phase, origin.op, origin.parameter, origin.buffer) == ("load", kind, parameter, buffer)


def test_a_mask_kept_as_a_buffer_is_innocent_and_its_softmax_is_not() -> None:
    masked = stats("scores", neginf=3)
    leaf = Leaf(kind="buffer", name="mask", stats=masked, read_by=1)
    trace = Trace(
        calls=(
            passing(1, -1, kind="add", inputs=(masked,), output=masked),
            passing(2, 1, kind="softmax", inputs=(masked,)),
        ),
        leaves=(leaf,),
        sinks=(sink("loss", 2),),
    )
    assert localize(trace, symptom()).origin.op == "softmax"


@pytest.mark.parametrize(("kind", "op"), [("buffer", "sub"), ("batch", "input")])
def test_what_is_kept_and_holds_nothing_else_is_a_mask_whoever_reads_it(kind: str, op: str) -> None:
    masked = msgspec.structs.replace(stats("scores", neginf=3), max=0.0)
    leaf = Leaf(kind=kind, name="forbidden", stats=masked, read_by=1)
    trace = Trace(
        calls=(passing(1, -1, kind="sub", inputs=(masked, masked), output=stats("output", nan=3)),), leaves=(leaf,),
        sinks=(sink("loss", 1),),
    )
    assert localize(trace, symptom()).origin.op == op


def test_infinite_features_are_no_mask() -> None:
    leaf = Leaf(kind="batch", name="x", stats=stats("x", neginf=2), read_by=1, samples=(0,))
    trace = Trace(
        calls=(passing(1, -1, kind="matmul", inputs=(stats(neginf=2),)),), leaves=(leaf,), sinks=(sink("loss", 1),)
    )
    assert localize(trace, symptom()).origin.phase == "data"


def test_a_backward_birth_takes_the_place_of_its_forward_call() -> None:
    trace = Trace(
        calls=(
            OpCall(
                index=3,
                kind="sqrt",
                native_op="aten.sqrt.default",
                phase="forward",
                location=at(20),
                module="net",
                inputs=(stats("d"),),
            ),
            birth(9, "div", phase="backward", forward=3, samples=(1,), module="net"),
        ),
        sinks=(sink("gradient", 9, "w"),),
    )
    origin = localize(trace, symptom("nonfinite-gradient")).origin
    assert (origin.phase, origin.op, origin.native_op, origin.location.line) == (
        "backward",
        "sqrt",
        "aten.sqrt.default",
        20,
    )
    assert (origin.module, origin.samples, [one.name for one in origin.inputs]) == ("net", (1,), ["d"])
    assert origin.absorbed_at is None


def test_an_infinity_that_where_hid_and_the_backward_brought_back() -> None:
    hidden = passing(4, 3, kind="where", absorbed=True, output=stats())
    trace = Trace(
        calls=(birth(3, output=LOW), hidden, birth(9, "div", phase="backward", forward=3)),
        sinks=(sink("gradient", 9),),
    )
    origin = localize(trace, symptom("nonfinite-gradient")).origin
    assert (origin.op, origin.location.line, origin.absorbed_at) == ("log", 3, at(4))


def test_an_infinity_that_comes_back_through_a_saved_result() -> None:
    trace = Trace(
        calls=(
            birth(3, "reciprocal", output=LOW),
            passing(4, 3, kind="where", absorbed=True, output=stats()),
            passing(9, 3, phase="backward"),
        ),
        sinks=(sink("gradient", 9),),
    )
    origin = localize(trace, symptom("nonfinite-gradient")).origin
    assert (origin.phase, origin.op, origin.absorbed_at) == ("backward", "reciprocal", at(4))
    assert origin.absorbed == "value"


def test_a_zero_gradient_sent_by_a_mask() -> None:
    trace = Trace(
        calls=(
            OpCall(index=3, kind="sqrt", native_op="aten.sqrt.default", phase="forward", location=at(20)),
            OpCall(index=4, kind="where", native_op="aten.where.self", phase="forward", location=at(21)),
            birth(9, "div", phase="backward", forward=3, gate=4),
        ),
        sinks=(sink("gradient", 9),),
    )
    origin = localize(trace, symptom("nonfinite-gradient")).origin
    assert (origin.absorbed_at, origin.absorbed) == (at(21), "gradient")


def test_a_bad_forward_value_that_the_loss_does_not_see_keeps_its_phase() -> None:
    trace = Trace(calls=(birth(3, "div"), passing(9, 3, phase="backward")), sinks=(sink("gradient", 9),))
    assert localize(trace, symptom("nonfinite-gradient")).origin.phase == "forward"


def test_an_update() -> None:
    call = birth(30, "add", phase="optimizer")
    trace = Trace(calls=(call,), sinks=(sink("parameter", 30, "head.weight"),))
    origin = localize(trace, symptom("nonfinite-parameter", "head.weight")).origin
    assert (origin.phase, origin.op, origin.native_op, origin.parameter) == (
        "optimizer",
        "optimizer_update",
        "aten.add.default",
        "head.weight",
    )


def test_a_rate_that_is_not_a_number() -> None:
    leaf = Leaf(kind="scalar", name="lr", stats=stats("lr", shape=(), nan=1), read_by=30)
    trace = Trace(calls=(passing(30, -1, phase="optimizer"),), leaves=(leaf,), sinks=(sink("parameter", 30, "w"),))
    origin = localize(trace, symptom("nonfinite-parameter")).origin
    assert (origin.phase, origin.op) == ("optimizer", "learning_rate")


def test_the_loss_before_the_gradients_it_spoils() -> None:
    trace = Trace(
        calls=(birth(3), passing(4, 3), birth(9, "div", phase="backward")),
        sinks=(sink("gradient", 9, "w"), sink("loss", 4)),
    )
    assert localize(trace, symptom("nonfinite-gradient")).origin.op == "log"


def test_the_gradients_a_symptom_names() -> None:
    trace = Trace(
        calls=(birth(3, "div", phase="backward"), birth(5, "sqrt", phase="backward")),
        sinks=(sink("gradient", 3, "a"), sink("gradient", 5, "b")),
    )
    assert localize(trace, symptom("nonfinite-gradient", "b")).origin.op == "sqrt"
    assert localize(trace, symptom("nonfinite-gradient")).origin.op == "div"


def test_the_buffer_is_named_where_only_buffers_went_bad() -> None:
    trace = Trace(calls=(birth(3, "div"),), sinks=(sink("buffer", 3, "scale"),))
    assert localize(trace, symptom("nonfinite-buffer")).origin.buffer == "scale"


def test_an_exception_over_finite_values_is_its_own_origin() -> None:
    raised = OpCall(
        index=5,
        kind="cholesky",
        native_op="aten.linalg_cholesky_ex.default",
        phase="forward",
        location=at(5),
        raised="LinAlgError: not positive definite",
        inputs=(stats("a"),),
    )
    trace = Trace(calls=(raised,), sinks=(sink("exception", 5),))
    origin = localize(trace, symptom("numeric-exception")).origin
    assert (origin.op, origin.location.line) == ("cholesky", 5)


def test_an_exception_over_a_bad_value_leads_to_its_birth() -> None:
    raised = passing(5, 3, kind="distribution", raised="ValueError: scale")
    trace = Trace(calls=(birth(3, "div"), raised), sinks=(sink("exception", 5),))
    assert localize(trace, symptom("numeric-exception")).origin.op == "div"


def test_the_place_of_an_exception_where_the_trace_has_none() -> None:
    raised = OpCall(index=5, kind="unknown", native_op="python", phase="forward", raised="ValueError")
    trace = Trace(calls=(raised,), sinks=(sink("exception", 5),))
    info = ExceptionInfo(type="ValueError", message="", location=at(77))
    assert localize(trace, symptom("numeric-exception"), info).origin.location == at(77)


def test_reasons_in_words() -> None:
    assert "made no non-finite loss" in localize(Trace(), symptom()).reason
    info = ExceptionInfo(type="KeyError", message="labels")
    assert "explains KeyError" in localize(Trace(), symptom("numeric-exception"), info).reason
    lost = Trace(sinks=(sink("loss", None),), unseen=("inside the higher-order operator flex",))
    assert "flex" in localize(lost, symptom()).reason
    hanging = Trace(sinks=(sink("loss", 3),))
    assert "could not be followed" in localize(hanging, symptom()).reason


def test_a_trace_survives_a_recording() -> None:
    trace = Trace(calls=(birth(4), passing(7, 4)), sinks=(sink("loss", 7),))
    again = msgspec.json.decode(msgspec.json.encode(trace), type=Trace)
    assert localize(again, symptom()) == localize(trace, symptom())
