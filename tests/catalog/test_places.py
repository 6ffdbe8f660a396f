"""Each cause names the line it is about, among those that make what failed; without one, what was seen to run."""

from __future__ import annotations

import msgspec
import pytest
from catalog.writing import HERE, P, case, nan_of, origin, stats

from stayfinite.catalog import pages
from stayfinite.records.incident import Case, Configuration, OptimizerInfo
from stayfinite.records.location import Location
from stayfinite.records.survey import Birth, Making, Role, Subject
from stayfinite.records.trace import Trace

SAVED = Birth(Location("train.py", 3), "it was loaded", "setup", by="checkpoint")


def making(of: Subject, by: Role, line: int, name: str = "", far: int = 1, code: str = "") -> Making:
    return Making(of, name, by, Location("train.py", line, code=code), far)


def place(cause: str, of: Case, *makings: Making) -> Location:
    return pages.load("causes", cause).locate(msgspec.structs.replace(of, makings=makings))


def failed(op: str = "log", *inputs: object, size: int = 8) -> Case:
    located = case(origin(op, "loss", list(inputs) or [P], nan_of(P)))
    wide = stats("x", (size, 4), min=-1.0, max=9e5)
    aim = stats("y", (size,), min=0.0, max=4e4)
    return msgspec.structs.replace(
        located, batch=(wide, aim), batch_size=size, trace=Trace(model_inputs=(wide,)),
        configuration=Configuration(),
    )


CHOICES: dict[str, tuple[Case, Making, Making]] = {
    # cause: the case, the line it is about, and one that is nearer and of another sort
    "learning-rate-too-high": (failed(), making("rate", "constant", 7, "by hand", 3), making("rate", "made", 8, "by hand")),
    "single-element-variance": (failed("std", size=1), making("loop", "loader", 7, far=3), making("batch", "table", 8)),
    "degenerate-batch-statistics": (failed("var", size=1), making("loop", "loader", 7, far=3), making("batch", "table", 8)),
    "unscaled-input": (failed("mse"), making("batch", "table", 7, "x", 3), making("batch", "table", 8, "y")),
    "unscaled-target": (failed("mse"), making("batch", "table", 7, "y", 3), making("batch", "table", 8, "x")),
    "bad-initialization": (failed("matmul"), making("operand", "draw", 7, "w", 3, "w = nn.init.normal_(w)"),
                           making("operand", "draw", 8, "x", 1, "x = torch.randn(3)")),
    "uninitialized-parameter": (failed("add"), making("operand", "reserve", 7, "self.bias", 3), making("operand", "made", 8)),
    "zero-class-count": (failed("cross_entropy"), making("weight", "divide", 7, "weight", 3), making("operand", "divide", 8)),
    "half-precision-underflow": (failed("log"), making("operand", "cast", 7, "soft", 3), making("operand", "made", 8)),
    "infeasible-ctc-target": (failed("ctc_loss"), making("operand", "filter", 7, "frames", 3), making("operand", "made", 8)),
    "label-out-of-range": (failed("nll_loss", P, stats("birds", (8,), "int64", max=12.0)), making("operand", "write", 7, "birds", 3),
                           making("operand", "made", 8, "logits")),
}


@pytest.mark.parametrize("cause", CHOICES)
def test_the_line_the_cause_is_about_is_named(cause: str) -> None:
    of, right, nearer = CHOICES[cause]
    assert place(cause, of, nearer, right) == right.location
    assert place(cause, of) != right.location  # it is the record that tells, and not the case


def test_a_schedule_with_a_rate_of_its_own_is_the_place() -> None:
    at = Location("train.py", 9)
    made = OptimizerInfo("SGD", (4.0,), schedulers=("OneCycleLR",), scheduled_at=at)
    cycled = msgspec.structs.replace(failed(), configuration=Configuration((made,)))
    rate = making("rate", "constant", 7, "optimizer[0]")
    assert place("learning-rate-too-high", cycled, rate) == at
    plain = msgspec.structs.replace(made, schedulers=("StepLR",))
    stepped = msgspec.structs.replace(cycled, configuration=Configuration((plain,)))
    assert place("learning-rate-too-high", stepped, rate) == rate.location


def test_a_full_batch_is_no_reason_to_change_the_loader() -> None:
    assert place("single-element-variance", failed("std", size=8), making("loop", "loader", 7)).line == HERE.line


def test_of_several_that_a_layer_reserves_the_parameter_that_failed_is_the_place() -> None:
    case = failed("mm")
    named = msgspec.structs.replace(case, origin=msgspec.structs.replace(case.origin, parameter="head.0.up"))
    first = making("operand", "reserve", 7, code="self.down = nn.Parameter(torch.empty(r, n))")
    for line in ("self.up = nn.Parameter(torch.empty(m, r))", 'self.register_parameter("up", nn.Parameter(torch.empty(m)))'):
        assert place("uninitialized-parameter", named, first, making("operand", "reserve", 8, code=line)).line == 8


def test_what_a_gradient_goes_to_was_not_counted() -> None:
    def bits(phase: str) -> float:
        ratio = stats("count / mean", (8,), zero=1, min=0.0, max=4.0, culprit=0.0)
        found = case(origin("log", phase, [ratio], nan_of(P), "torch.log(count / mean)"))
        return sum(one.bits for one in pages.load("causes", "zero-class-count").evidence(found))

    assert bits("backward") < 2.0 < bits("loss")


def test_a_division_by_the_count_itself_is_the_place() -> None:
    assert place("zero-class-count", failed("div"), making("operand", "divide", 7, code="share = counts / n")).line == HERE.line


@pytest.mark.parametrize(("line", "function", "code"), [
    (7, "refresh", "self.offset = torch.tensor(means)"), (8, "refresh", "self.offset[seen] = means[seen]"),
    (9, "__init__", "self.offset = 0"),
])
def test_a_buffer_that_got_another_value_is_the_place(line: int, function: str, code: str) -> None:
    """A division far back made the data; a constructor gave the value that was replaced."""
    offset = stats("offset", (60,), nan=1)
    of = msgspec.structs.replace(case(origin("buffer", "load", [offset], output=offset, buffer="shop.offset")), makings=())
    written = Making("operand", "offset", "table", Location("train.py", line, function=function, code=code), 1)
    divided = Making("operand", "offset", "divide", Location("train.py", 3, code="share / share.sum()"), 7)
    assert place("corrupt-buffer", of, written, divided).line == (3 if function == "__init__" else line)


@pytest.mark.parametrize("cause", ["corrupt-checkpoint", "corrupt-optimizer-state"])
def test_a_state_saved_in_half_precision_is_mended_where_it_is_saved(cause: str) -> None:
    found = failed("parameter")
    assert found.origin is not None
    loaded = msgspec.structs.replace(found, origin=msgspec.structs.replace(found.origin, birth=SAVED))
    cast = making("saved", "cast", 7, far=2)
    assert place(cause, loaded, cast) == cast.location
    assert place(cause, loaded) == SAVED.location


def test_the_formula_of_an_own_optimizer_is_the_place() -> None:
    own = case(origin("div", "optimizer", [P], nan_of(P), "m / (1 - b ** t)"))
    assert own.origin is not None
    assert place("optimizer-arithmetic", own) == own.origin.location
