"""The microscope on the canonical faults: the right line, module, samples, phase, operator and numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from tracing import Traced, check, marked_line, some, trace_step, train

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class LogOfZero(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = x * self.head(x).sigmoid()
        return torch.log(p) * 0  # <- origin


def test_log_of_an_exact_zero_that_is_multiplied_by_zero() -> None:
    x = some()
    x[5, 2] = 0
    origin = check(train(LogOfZero(), x, torch.sum), LogOfZero, "forward", "log", module="LogOfZero", samples=(5,))
    operand = origin.inputs[0]
    assert (operand.name, operand.zero, operand.culprit_index, operand.culprit) == ("p", 1, (5, 2), 0.0)
    assert origin.location.expression == "torch.log(p)"
    assert origin.location.code.startswith("return torch.log(p) * 0")
    assert origin.output is not None and origin.output.neginf == 1
    assert origin.native_op == "aten.log.default"


class RootOfNegative(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spread = x - 0.5
        return self.body(x) * spread.sqrt()  # <- origin


def test_root_of_a_negative_number() -> None:
    x = torch.ones(8, 4)
    x[2, 1] = 0.25
    origin = check(
        train(RootOfNegative(), x, torch.mean), RootOfNegative, "forward", "sqrt", module="RootOfNegative", samples=(2,)
    )
    assert (origin.inputs[0].name, origin.inputs[0].culprit) == ("spread", -0.25)


class Exponential(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        log_variance = self.encoder(x) + 100 * x
        return log_variance.exp()  # <- origin


def test_overflow_of_an_exponential() -> None:
    x = torch.zeros(8, 4)
    x[7, 3] = 1.0
    origin = check(
        train(Exponential(), x, torch.sum), Exponential, "forward", "exp", module="Exponential", samples=(7,)
    )
    assert origin.inputs[0].culprit_index == (7, 3)
    assert origin.inputs[0].culprit > 88.7
    assert origin.output is not None and origin.output.posinf == 1


class Bytes(nn.Module):
    def __init__(self, spare: bool) -> None:
        super().__init__()
        self.spare = spare
        self.scale = nn.Linear(4, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        kept = pixels.clone()
        kept += 0 if self.spare else 6
        return self.scale(torch.log(kept.float()))  # <- origin


@pytest.mark.parametrize("spare", [False, True])
def test_bytes_that_came_back_at_the_other_end_are_told_from_others(spare: bool) -> None:
    """Both times the logarithm is given a 0: that of a byte beyond 255, and one that was there."""
    pixels = torch.full((8, 4), 100, dtype=torch.uint8)
    pixels[2, 1], pixels[5, 3] = (0, 100) if spare else (250, 255)
    origin = check(train(Bytes(spare), pixels, torch.sum), Bytes, "forward", "log", module="Bytes", samples=(2,))
    traced = train(Bytes(spare), pixels, torch.sum)
    born = [call for call in traced.trace.calls if call.born]
    assert origin.inputs[0].culprit_index == (2, 1)
    assert [(one.kind, one.count, one.exact, one.became) for one in traced.trace.wraps] == ([] if spare else [("add", 2, 256, 0)])
    assert born[0].wrapped == (-1 if spare else traced.trace.wraps[0].index)


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        scores = self.scores(x) + bias
        weights = scores.softmax(-1)  # <- origin
        return weights[:3]


def test_softmax_over_a_row_that_is_masked_entirely_and_that_the_loss_does_not_use() -> None:
    net, x = Masked(), some()
    bias = torch.zeros(8, 4)
    bias[5] = float("-inf")
    bias[1, 2] = float("-inf")
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step() -> None:
        net(x, bias).square().sum().backward()
        optimizer.step()

    traced = trace_step(step, [net], {"x": x, "bias": bias}, [optimizer])
    assert not [sink for sink in traced.trace.sinks if sink.kind == "loss"]
    origin = check(traced, Masked, "forward", "softmax", module="Masked", samples=(5,), detector="nonfinite-gradient")
    assert (origin.inputs[0].name, origin.inputs[0].neginf) == ("scores", 5)


class WhereTrap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = x * self.head(x).sigmoid()
        entropy = p.log()  # <- origin
        return torch.where(p > 0, entropy, torch.zeros_like(p))  # <- absorbed


def test_a_where_that_hides_an_infinity_which_the_backward_brings_back() -> None:
    x = some()
    x[6, 0] = 0
    traced = train(WhereTrap(), x, torch.sum)
    origin = check(
        traced, WhereTrap, "backward", "log", module="WhereTrap", samples=(6,), detector="nonfinite-gradient"
    )
    assert origin.absorbed_at is not None and origin.absorbed_at.line == marked_line(WhereTrap, "# <- absorbed")
    assert (origin.inputs[0].name, origin.inputs[0].culprit) == ("p", 0.0)


class RootOfZero(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squares = (x * self.head(x)).square()
        return torch.sqrt(squares)  # <- origin


def test_the_slope_of_a_root_at_zero() -> None:
    x = some()
    x[4, 1] = 0
    origin = check(
        train(RootOfZero(), x, torch.sum),
        RootOfZero,
        "backward",
        "sqrt",
        module="RootOfZero",
        samples=(4,),
        detector="nonfinite-gradient",
    )
    assert origin.absorbed_at is None
    assert (origin.inputs[0].name, origin.inputs[0].culprit_index, origin.inputs[0].culprit) == ("squares", (4, 1), 0.0)


def nan_sample() -> Traced:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    batch = {"features": some(), "labels": torch.randint(2, (8,))}
    batch["features"][3, 2] = float("nan")
    optimizer = torch.optim.Adam(net.parameters())

    def step() -> None:
        optimizer.zero_grad()
        scores = net(batch["features"])  # <- origin
        F.cross_entropy(scores, batch["labels"]).backward()
        optimizer.step()

    return trace_step(step, [net], {"batch": batch}, [optimizer])


def test_a_sample_that_is_not_a_number() -> None:
    traced = nan_sample()
    origin = check(traced, nan_sample, "data", "input", module="0", samples=(3,))
    assert origin.inputs[0].name == "batch['features']"
    assert (origin.inputs[0].nan, origin.inputs[0].culprit_index) == (1, (3, 2))
    assert [(leaf.kind, leaf.name, leaf.samples) for leaf in traced.trace.leaves] == [
        ("batch", "batch['features']", (3,))
    ]


def every_label_ignored() -> Traced:
    net, x = nn.Linear(4, 3), some()
    labels = torch.full((8,), -100)

    def step() -> None:
        scores = net(x)
        F.cross_entropy(scores, labels).backward()  # <- origin

    return trace_step(step, [net], {"x": x, "labels": labels})


def test_a_mean_over_labels_that_are_all_ignored() -> None:
    traced = every_label_ignored()
    origin = check(traced, every_label_ignored, "loss", "nll_loss")
    assert origin.location.library is not None and "functional.py" in origin.location.library
    assert (origin.inputs[1].name, origin.inputs[1].max) == ("labels", -100)
    assert [sink.kind for sink in traced.trace.sinks] == ["loss"]


def bad_parameter() -> Traced:
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), some()
    with torch.no_grad():
        net[1].weight[1, 2] = float("nan")
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step() -> None:
        net(x).sum().backward()  # <- origin
        optimizer.step()

    return trace_step(step, [net], {"x": x}, [optimizer])


def test_a_parameter_that_was_bad_before() -> None:
    traced = bad_parameter()
    origin = check(traced, bad_parameter, "load", "parameter", module="1")
    assert origin.parameter == "1.weight"
    assert origin.inputs[0].culprit_index == (1, 2)
    assert not [sink for sink in traced.trace.sinks if sink.kind == "parameter" and sink.name == "1.weight"]


def step_overflows() -> Traced:
    net, x = nn.Linear(4, 1, bias=False), some() * 1e4
    optimizer = torch.optim.SGD(net.parameters(), lr=1e38)

    def step() -> None:
        net(x).sum().backward()
        optimizer.step()  # <- origin

    return trace_step(step, [net], {"x": x}, [optimizer])


def test_finite_gradients_and_a_step_that_overflows() -> None:
    origin = check(step_overflows(), step_overflows, "optimizer", "optimizer_update", detector="nonfinite-parameter")
    assert origin.parameter == "weight"
    assert origin.output is not None and origin.output.nonfinite == 4


class HalfInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.head(x)
        small = h.half()
        return small.float() * 1e6  # <- origin


def test_a_cast_whose_gradient_overflows() -> None:
    check(
        train(HalfInside(), some(), torch.sum),
        HalfInside,
        "backward",
        "cast",
        module="HalfInside",
        detector="nonfinite-gradient",
    )


class Causal(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.scores = nn.Linear(4, 6)
        self.kind = kind
        self.register_buffer("mask", torch.full((6, 6), float("-inf")).triu(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.scores(x)
        if self.kind == "buffer":
            scores = scores + self.mask
        elif self.kind == "fill":
            scores = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), float("-inf"))
        elif self.kind == "where":
            scores = torch.where(torch.ones(6, 6).tril().bool(), scores, torch.tensor(float("-inf")))
        elif self.kind == "made":
            scores = scores + torch.full((6, 6), float("-inf")).triu(1)
        elif self.kind == "assigned":
            scores = scores.clone()
            scores[torch.ones(6, 6).triu(1).bool()] = float("-inf")
        best = torch.tensor(float("inf"))
        return torch.minimum(best, scores.softmax(-1).sum())


@pytest.mark.parametrize("kind", ["buffer", "fill", "where", "made", "assigned"])
def test_a_causal_mask_is_no_birth_that_matters(kind: str) -> None:
    traced = train(Causal(kind), some(6), torch.sum)
    assert traced.trace.sinks == ()
    assert [call for call in traced.trace.calls if call.born and not call.sentinel] == []
    assert traced.origin().origin is None
    assert "no non-finite loss" in traced.origin().reason


def test_what_the_model_was_given() -> None:
    """Under the names of its `forward`, with the row that stands out; what autograd made is no data."""
    x = some()
    x[3, 1] = -5e30
    net = WhereTrap()

    def step() -> None:
        net(net(x).abs()).sum().backward()

    given = trace_step(step, [net]).trace.model_inputs
    assert [(stats.name, stats.absmax_index) for stats in given] == [("x", (3, 1))]
    assert isinstance(given[0].typical_row, float) and given[0].typical_row < 10
