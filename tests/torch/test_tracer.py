"""The microscope on the canonical faults: the right line, module, samples, phase, operator and numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tracing import Traced, marked_line, trace_step

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def train(net: nn.Module, x: torch.Tensor, loss, optimizer: torch.optim.Optimizer | None = None) -> Traced:
    """One ordinary step of `net` on `x` with the loss `loss(output)`."""
    optimizer = optimizer or torch.optim.SGD(net.parameters(), 0.1)

    def step() -> float:
        optimizer.zero_grad()
        value = loss(net(x))
        value.backward()
        optimizer.step()
        return value.item()

    return trace_step(step, [net], {"x": x}, [optimizer])


def some(rows: int = 8, columns: int = 4) -> torch.Tensor:
    """Numbers between 0.1 and 1.1."""
    return torch.rand(rows, columns) + 0.1


def check(traced: Traced, where, phase: str, op: str, *, module: str | None = None, samples: tuple[int, ...] = (),
          detector: str = "nonfinite-loss", mark: str = "# <- origin"):
    """Compare the origin with what is expected; gives it back for more."""
    found = traced.origin(detector)
    assert found.origin is not None, found.reason
    origin = found.origin
    assert (origin.location.file, origin.location.line) == ("test_tracer.py", marked_line(where, mark)), origin
    assert (origin.phase, origin.op) == (phase, op)
    assert origin.module == module
    assert origin.samples == samples
    return origin


# The twelve canonical scenarios ---------------------------------------------------------------------------------------

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
    origin = check(train(RootOfNegative(), x, torch.mean), RootOfNegative, "forward", "sqrt", module="RootOfNegative",
                   samples=(2,))
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
    origin = check(train(Exponential(), x, torch.sum), Exponential, "forward", "exp", module="Exponential", samples=(7,))
    assert origin.inputs[0].culprit_index == (7, 3)
    assert origin.inputs[0].culprit > 88.7
    assert origin.output is not None and origin.output.posinf == 1


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
    origin = check(traced, WhereTrap, "backward", "log", module="WhereTrap", samples=(6,), detector="nonfinite-gradient")
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
    origin = check(train(RootOfZero(), x, torch.sum), RootOfZero, "backward", "sqrt", module="RootOfZero", samples=(4,),
                   detector="nonfinite-gradient")
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
    assert [(leaf.kind, leaf.name, leaf.samples) for leaf in traced.trace.leaves] == [("batch", "batch['features']", (3,))]


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
    check(train(HalfInside(), some(), torch.sum), HalfInside, "backward", "cast", module="HalfInside",
          detector="nonfinite-gradient")


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


# Intended infinities that turn into harm ------------------------------------------------------------------------------

class FullyMasked(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.scores = nn.Linear(4, 4)
        self.kind = kind
        mask = torch.zeros(8, 4)
        mask[5] = float("-inf")
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.scores(x)
        if self.kind == "buffer":
            scores = scores + self.mask
        elif self.kind == "fill":
            scores = scores.masked_fill(self.mask < 0, float("-inf"))
        else:
            scores[self.mask < 0] = -torch.inf
        weights = F.softmax(scores, dim=-1)  # <- origin
        return weights @ weights.t()


@pytest.mark.parametrize("kind", ["buffer", "fill", "assigned"])
def test_the_origin_of_a_masked_row_is_the_softmax(kind: str) -> None:
    check(train(FullyMasked(kind), some(), torch.sum), FullyMasked, "forward", "softmax", module="FullyMasked", samples=(5,))


def masked_class_is_picked() -> Traced:
    net, x = nn.Linear(4, 5), some()
    labels = torch.tensor([0, 1, 0, 4, 2, 1, 0, 2])
    allowed = torch.tensor([True, True, True, True, False])

    def step() -> None:
        scores = net(x).masked_fill(~allowed, float("-inf"))
        logp = F.log_softmax(scores, -1)
        F.nll_loss(logp, labels).backward()  # <- origin

    return trace_step(step, [net], {"x": x, "labels": labels})


def test_a_loss_that_picks_a_masked_class() -> None:
    check(masked_class_is_picked(), masked_class_is_picked, "loss", "nll_loss", samples=(3,))


def infinity_minus_infinity() -> Traced:
    x = some()
    w = torch.randn(4, 4, requires_grad=True)

    def step() -> None:
        bias = torch.full((4,), float("-inf"))
        a = x @ w + bias
        b = a - bias  # <- origin
        b.sum().backward()

    return trace_step(step, [], {"x": x, "w": w})


def test_infinity_minus_infinity() -> None:
    check(infinity_minus_infinity(), infinity_minus_infinity, "forward", "sub")


def test_an_overflow_beside_a_mask_is_a_birth() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            masked = self.scores(x).masked_fill(torch.ones(8, 4).triu(1).bool(), float("-inf"))
            return torch.exp(masked + 1e3 * x)  # <- origin

    x = torch.zeros(8, 4)
    x[6, 0] = 1
    check(train(Both(), x, torch.sum), Both, "forward", "exp", module="Both", samples=(6,))


# In-place, views, names ----------------------------------------------------------------------------------------------

def test_in_place_variants() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.head(x) * 0
            h += x
            h.log_()  # <- origin
            h.mul_(0)
            return h

    x = some()
    x[1, 1] = 0
    origin = check(train(InPlace(), x, torch.sum), InPlace, "forward", "log", module="InPlace", samples=(1,))
    assert (origin.inputs[0].name, origin.inputs[0].zero, origin.inputs[0].culprit) == ("h", 1, 0.0)


def test_rows_written_one_by_one_into_one_tensor() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = torch.empty(len(x), 4)
            for row in range(len(x)):
                out[row] = self.head(x[row])
            out[2] = out[2] / 0  # <- origin
            return out

    origin = check(train(Rows(), some(), torch.sum), Rows, "forward", "div", module="Rows")
    assert origin.inputs[0].name == "out[2]"


def test_an_augmented_assignment() -> None:
    def step_with(x: torch.Tensor, w: torch.Tensor) -> Traced:
        def step() -> None:
            y = x @ w
            y /= (x - x).sum(1, keepdim=True)  # <- origin
            y.sum().backward()

        return trace_step(step, [], {"x": x, "w": w})

    traced = step_with(some(), torch.ones(4, 4, requires_grad=True))
    origin = check(traced, step_with, "forward", "div")
    assert [one.name for one in origin.inputs] == ["y", "(x - x).sum(1, keepdim=True)"]
    assert origin.inputs[1].culprit == 0.0


def test_uninitialised_memory_that_is_used() -> None:
    class Uninitialised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            room = torch.empty(8, 4)  # <- origin
            room.untyped_storage().copy_(torch.full((8, 4), float("nan")).untyped_storage())
            return self.head(x) + room

    check(train(Uninitialised(), some(), torch.sum), Uninitialised, "forward", "empty", module="Uninitialised")


def test_uninitialised_memory_that_is_only_written() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            room = torch.full((8, 4), float("nan"))
            room.copy_(x)
            other = torch.empty_like(x).fill_(1.0)
            return self.head(room) * other

    traced = train(Written(), some(), torch.sum)
    assert traced.trace.sinks == ()


# Singular slopes -----------------------------------------------------------------------------------------------------

class Slope(nn.Module):
    """A function with a slope that is infinite at zero, applied to squared differences that may vanish."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        d = x * self.head(x)
        if self.kind == "pow":
            return d.abs() ** 0.5  # <- pow
        if self.kind == "root of a sum":
            return d.square().sum(1).sqrt()  # <- sqrt
        if self.kind == "cosine":
            return torch.acos(1 - d.square())  # <- acos
        return torch.rsqrt(d.square() + 1e-45).clamp(max=10.0)  # <- rsqrt


@pytest.mark.parametrize(("kind", "op"), [("pow", "pow"), ("root of a sum", "sqrt"), ("cosine", "acos")])
def test_singular_slopes(kind: str, op: str) -> None:
    x = some()
    x[3] = 0
    check(train(Slope(kind), x, torch.sum), Slope, "backward", op, module="Slope", samples=(3,),
          detector="nonfinite-gradient", mark=f"# <- {op}")


def test_the_deviation_of_one_element() -> None:
    class Deviation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x).std(dim=1)  # <- origin

    origin = check(train(Deviation(), some(), torch.sum), Deviation, "forward", "std", module="Deviation")
    assert origin.inputs[0].shape == (8, 1)


@pytest.mark.parametrize("harmless", ["norm", "std", "cdist"])
def test_slopes_that_torch_masks_itself_are_no_incident(harmless: str) -> None:
    class Masks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.head(x) * 0
            return {"norm": lambda: h.norm(dim=1), "std": lambda: h.std(dim=1), "cdist": lambda: torch.cdist(h, h)}[harmless]()

    traced = train(Masks(), some(), torch.sum)
    assert traced.trace.sinks == ()


@pytest.mark.parametrize("kind", ["masked_fill", "index", "multiply"])
def test_other_ways_to_hide_a_bad_slope(kind: str) -> None:
    class Trap(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            p = x * self.head(x).sigmoid()
            q = torch.sqrt(p) if kind == "multiply" else torch.log(p)  # <- origin
            if kind == "masked_fill":
                return q.masked_fill(p == 0, 0.0)  # <- masked_fill
            if kind == "index":
                return q[p > 0]  # <- index
            return q * (p > 0)  # <- multiply

    x = some()
    x[2, 3] = 0
    op = "sqrt" if kind == "multiply" else "log"
    origin = check(train(Trap(), x, torch.sum), Trap, "backward", op, module="Trap", samples=(2,), detector="nonfinite-gradient")
    assert origin.absorbed_at is not None
    assert origin.absorbed_at.line == marked_line(Trap, f"# <- {kind}")


@pytest.mark.parametrize("kind", ["reciprocal", "division"])
def test_a_trap_whose_infinity_comes_back_through_a_saved_result(kind: str) -> None:
    class Saved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            d = x * self.head(x).sigmoid()
            inverse = d.reciprocal() if kind == "reciprocal" else d / d  # <- origin
            return torch.where(d > 0, inverse, 0.0)  # <- absorbed

    x = some()
    x[2, 3] = 0
    op = "reciprocal" if kind == "reciprocal" else "div"
    origin = check(train(Saved(), x, torch.sum), Saved, "backward", op, module="Saved", samples=(2,),
                   detector="nonfinite-gradient")
    assert origin.absorbed_at is not None and origin.absorbed_at.line == marked_line(Saved, "# <- absorbed")


# Phases and places ---------------------------------------------------------------------------------------------------

def functional_loss() -> tuple[Traced, object]:
    net, x, y = nn.Linear(4, 3), some(), torch.randint(3, (8,))

    def compute_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        p = torch.softmax(1e3 * scores, -1)
        picked = p[torch.arange(8), labels]
        return -torch.log(picked).mean()  # <- origin

    def step() -> None:
        compute_loss(net(x), y).backward()

    return trace_step(step, [net], {"x": x, "y": y}), compute_loss


def test_a_loss_written_as_a_function() -> None:
    traced, function = functional_loss()
    origin = check(traced, function, "loss", "log", samples=traced.origin().origin.samples)
    assert origin.samples and origin.location.function.endswith("compute_loss")
    assert origin.inputs[0].name == "picked"


def loss_inline() -> Traced:
    net, x, y = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), some(), torch.ones(8, 1)
    with torch.no_grad():
        net[0].bias.fill_(-200.0)

    def step() -> None:
        p = net(x)
        cost = -(y * p.log() + (1 - y) * (1 - p).log()).mean()  # <- origin
        cost.backward()

    return trace_step(step, [net], {"x": x, "y": y})


def test_a_loss_written_in_the_loop() -> None:
    check(loss_inline(), loss_inline, "loss", "log")


def model_without_modules() -> Traced:
    x, y = some(), torch.zeros(8, 1)
    w = torch.randn(4, 1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)

    def step() -> None:
        h = torch.sqrt(x @ w - 1e3)  # <- origin
        loss = ((h + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            for p in (w, b):
                p -= 0.1 * p.grad

    return trace_step(step, [], {"x": x, "y": y, "w": w, "b": b})


def test_a_model_without_modules() -> None:
    check(model_without_modules(), model_without_modules, "forward", "sqrt")


def update_by_hand() -> Traced:
    x = some()
    w = torch.ones(4, 1, requires_grad=True)

    def step() -> None:
        loss = (x @ w).sum() * 1e30
        loss.backward()
        with torch.no_grad():
            w.sub_(1e20 * w.grad)  # <- origin

    return trace_step(step, [], {"x": x, "w": w}, names={id(w): "w"})


def test_an_update_by_hand_that_overflows() -> None:
    traced = update_by_hand()
    assert [(sink.kind, sink.name) for sink in traced.trace.sinks] == [("parameter", "w")]
    origin = check(traced, update_by_hand, "optimizer", "optimizer_update", detector="nonfinite-parameter")
    assert origin.parameter == "w"


class Loss(nn.Module):
    def forward(self, p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        ratio = y / p  # <- origin
        return ratio.mean()


def test_a_loss_module_is_not_the_forward() -> None:
    net, criterion, x = nn.Sequential(nn.Linear(4, 1), nn.ReLU()), Loss(), some()
    with torch.no_grad():
        net[0].bias.fill_(-100.0)

    def step() -> None:
        criterion(net(x), torch.ones(8, 1)).backward()

    origin = check(trace_step(step, [net], {"x": x}), Loss, "loss", "div", module="Loss")
    assert [one.name for one in origin.inputs] == ["y", "p"]
    assert origin.inputs[1].zero == 8


def test_a_library_function_is_named_beside_the_line() -> None:
    class Cosine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.head(x)
            return F.normalize(h * 1e30, dim=-1, p=2.0)  # <- origin

    calls = [call for call in train(Cosine(), some(), torch.sum).trace.calls if call.born]
    assert calls[0].kind == "norm"
    assert calls[0].location.library is not None
    assert calls[0].location.library.startswith("torch/nn/functional.py:")
    assert calls[0].location.library.endswith(" in normalize")
    assert calls[0].inputs[0].name == "h * 1e30"


def test_two_branches() -> None:
    class Branch(nn.Module):
        def __init__(self, bad: bool) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.bad = bad

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.fc(x)
            return (h - h) / (h - h) if self.bad else h  # <- origin

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = Branch(False), Branch(True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.left(x) + self.right(x)

    traced = train(Two(), some(), torch.sum)
    check(traced, Branch, "forward", "div", module="right")
    assert {sink.name for sink in traced.trace.sinks if sink.kind == "gradient"} == {"right.fc.weight", "right.fc.bias"}


def test_batch_and_time_folded_together() -> None:
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(10, 4)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            h = self.embed(tokens).view(-1, 4)
            scale = (tokens != 7).float().view(-1, 1)
            return h / scale  # <- origin

    net, tokens = Folded(), torch.randint(0, 7, (8, 5))
    tokens[3, 2] = 7
    check(train(net, tokens, torch.sum), Folded, "forward", "div", module="Folded", samples=(3,))


def test_a_convolutional_net_with_batch_statistics() -> None:
    class Conv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
            self.head = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.stem(x).mean((2, 3))
            gain = x.amax((1, 2, 3)).view(-1, 1)
            return self.head(h) / gain  # <- origin

    x = torch.rand(8, 1, 8, 8) + 0.1
    x[6] = 0
    check(train(Conv(), x, torch.sum), Conv, "forward", "div", module="Conv", samples=(6,))


def bad_image() -> Traced:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    x = torch.rand(8, 1, 8, 8)
    x[2, 0, 3, 4] = float("inf")
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step() -> None:
        net(x).sum().backward()  # <- origin
        optimizer.step()

    return trace_step(step, [net], {"x": x}, [optimizer])


def test_a_bad_image_spoils_the_running_statistics_too() -> None:
    traced = bad_image()
    check(traced, bad_image, "data", "input", module="0", samples=(2,))
    buffers = [sink for sink in traced.trace.sinks if sink.kind == "buffer"]
    assert {sink.name for sink in buffers} == {"1.running_mean", "1.running_var"}
    check(traced, bad_image, "data", "input", module="0", samples=(2,), detector="nonfinite-buffer")


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_nets(kind: type[nn.Module]) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = kind(4, 6, batch_first=True)
            self.head = nn.Linear(6, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, _ = self.cell(x)
            gap = x[:, 1:].sum(-1) * 0 + x[:, :1].sum(-1)
            return self.head(states[:, 1:]) / gap[..., None]  # <- origin

    x = torch.rand(8, 5, 4) + 0.1
    x[4, 0] = 0
    check(train(Recurrent(), x, torch.sum), Recurrent, "forward", "div", module="Recurrent", samples=(4,))


def padded_attention() -> Traced:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.rand(4, 5, 8)
    padding = torch.zeros(4, 5, dtype=torch.bool)
    padding[2] = True
    padding[1, 3:] = True

    def step() -> None:
        out, _ = attention(x, x, x, key_padding_mask=padding)  # <- origin
        out.sum().backward()

    return trace_step(step, [attention], {"x": x, "padding": padding})


def test_attention_over_a_sample_that_is_all_padding() -> None:
    check(padded_attention(), padded_attention, "forward", "softmax", module="MultiheadAttention", samples=(2,))


def bad_embedding_row() -> Traced:
    net = nn.EmbeddingBag(10, 4, mode="mean")
    with torch.no_grad():
        net.weight[3] = float("nan")
    tokens = torch.tensor([[1, 2], [3, 4], [5, 6]])

    def step() -> None:
        net(tokens).sum().backward()  # <- origin

    return trace_step(step, [net], {"tokens": tokens})


def test_a_bad_row_of_an_embedding() -> None:
    origin = check(bad_embedding_row(), bad_embedding_row, "load", "parameter", module="EmbeddingBag")
    assert origin.parameter == "weight"


class Bad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.abs().sqrt()

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return gradient / (2 * x.abs().sqrt())  # <- origin


def test_a_custom_function_with_a_bad_backward() -> None:
    class Custom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Bad.apply(self.head(x) * x)

    x = some()
    x[0, 0] = 0
    traced = train(Custom(), x, torch.sum)
    check(traced, Bad, "backward", "div", module="Custom", samples=(0,), detector="nonfinite-gradient")


def test_a_hook_that_spoils_the_gradient() -> None:
    net, x = nn.Linear(4, 4), some()

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        return gradient / gradient.sub(gradient)  # <- origin

    def step() -> None:
        h = net(x)
        h.register_hook(spoil)
        h.sum().backward()

    check(trace_step(step, [net], {"x": x}), spoil, "backward", "div", module="Linear", detector="nonfinite-gradient")
