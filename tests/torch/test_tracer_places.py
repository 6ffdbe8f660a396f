"""Places and names: in-place writes and views, losses of every form, layers of every kind, Python code in the
backward."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from tracing import Traced, check, some, trace_step, train

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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

    origin = check(train(Rows(), some(), torch.sum), Rows, "forward", "div", module="Rows", samples=(2,))
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
    origin = check(bad_embedding_row(), bad_embedding_row, "load", "parameter", module="EmbeddingBag", samples=(1,))
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
