"""The microscope in the settings people train in: recomputation, autocast, second order, sparse, half precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from tracing import Traced, marked_line, place, some, trace_step

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Block(nn.Module):
    """A linear layer and a function that fails at zero: in forward, in backward, or hidden."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.fault = fault

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.fc(x)
        d = h * (x > 0.1)
        if self.fault == "log":
            return d.abs().log()  # <- log
        if self.fault == "root":
            return d.abs().sqrt()  # <- root
        return torch.where(d != 0, d.abs().log(), 0.0)  # <- trap


class Holder(nn.Module):
    def __init__(self, fault: str, reentrant: bool | None) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.block = Block(fault)
        self.reentrant = reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.stem(x).sigmoid() * x
        if self.reentrant is None:
            return self.block(h)
        return checkpoint(self.block, h, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [None, False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("fault", ["log", "root", "trap"])
def test_recomputation_and_autocast(fault: str, precision: str, reentrant: bool | None) -> None:
    net, x = Holder(fault, reentrant), some()
    x[5, 1] = 0
    optimizer = torch.optim.AdamW(net.parameters())

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            out = net(x)
            loss = out.float().sum()
        loss.backward()
        optimizer.step()

    traced = trace_step(step, [net], {"x": x}, [optimizer])
    origin = traced.origin("nonfinite-loss" if fault == "log" else "nonfinite-gradient").origin
    assert origin is not None
    assert origin.location.line == marked_line(Block, f"# <- {fault}")
    assert origin.phase == ("forward" if fault == "log" else "backward")
    assert origin.op == ("sqrt" if fault == "root" else "log")
    assert origin.module == "block"
    assert 5 in origin.samples


def gradient_penalty() -> Traced:
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 1)), some()
    x[3] = 0

    def step() -> None:
        inputs = x.clone().requires_grad_()
        norms = (net(inputs) * inputs.abs().sum(1, keepdim=True)).sum(1)
        (slope,) = torch.autograd.grad(norms.sum(), inputs, create_graph=True)
        length = (slope * (x.sum(1, keepdim=True) > 0)).square().sum(1).sqrt()  # <- origin
        (length - 1).square().mean().backward()

    return trace_step(step, [net], {"x": x})


def test_a_gradient_penalty() -> None:
    origin = place(gradient_penalty(), gradient_penalty, "backward", "sqrt", "nonfinite-gradient")
    assert origin.samples == (3,)


def second_order() -> Traced:
    x = some()
    w = torch.ones(4, 1, requires_grad=True)

    def step() -> None:
        z = (x @ w) * (x[:, :1] > 0.05)
        y = z.abs() ** 1.5  # <- origin
        (first,) = torch.autograd.grad(y.sum(), w, create_graph=True)
        first.sum().backward()

    x[2, 0] = 0
    return trace_step(step, [], {"x": x, "w": w}, [torch.optim.SGD([w], 0.1)])


def test_the_backward_of_a_backward_names_the_first_forward_line() -> None:
    origin = place(second_order(), second_order, "backward", "pow", "nonfinite-gradient")
    assert origin.samples == (2,)


def sparse_gradient() -> Traced:
    net = nn.Embedding(10, 4, sparse=True)
    tokens = torch.tensor([1, 2, 3, 3, 5, 6, 7, 8])
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step() -> None:
        h = net(tokens)
        (h * (tokens != 5)[:, None]).square().sum(1).sqrt().sum().backward()  # <- origin
        optimizer.step()

    return trace_step(step, [net], {"tokens": tokens}, [optimizer])


def test_sparse_gradients() -> None:
    traced = sparse_gradient()
    origin = place(traced, sparse_gradient, "backward", "sqrt", "nonfinite-gradient")
    assert origin.samples == (4,)
    assert {(sink.kind, sink.name) for sink in traced.trace.sinks} == {("gradient", "weight"), ("parameter", "weight")}
    assert all(sink.source is not None for sink in traced.trace.sinks)


def half_sum() -> Traced:
    net, x = nn.Linear(4, 1, dtype=torch.float16), torch.ones(8, 4, dtype=torch.float16)
    x[5] = 20000
    with torch.no_grad():
        net.weight.fill_(0.8)

    def step() -> None:
        h = net(x)
        h.square().sum().backward()  # <- origin

    return trace_step(step, [net], {"x": x})


def test_overflow_in_half_precision() -> None:
    origin = place(half_sum(), half_sum, "loss", "pow")
    assert origin.samples == (5,)
    assert origin.inputs[0].dtype == "float16"
    assert [(scalar.name, scalar.value) for scalar in origin.scalars] == [("exponent", 2.0)]


def sum_of_one_row() -> Traced:
    net, x = nn.Linear(4, 4), torch.ones(8, 4)
    scale = torch.ones(8, 1)
    scale[2] = 3e38

    def step() -> None:
        h = net(x).abs() * 0 + scale
        h.sum().backward()  # <- origin

    return trace_step(step, [net], {"x": x, "scale": scale})


def test_a_sum_that_one_row_makes_overflow() -> None:
    assert place(sum_of_one_row(), sum_of_one_row, "loss", "sum").samples == (2,)


def test_complex_numbers() -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = torch.fft.fft(self.head(x))
            return (z / (x.sum(1, keepdim=True) * 0)).abs()  # <- origin

    net, x = Spectrum(), some()
    origin = place(trace_step(lambda: net(x).sum().backward(), [net], {"x": x}), Spectrum, "forward", "div")
    assert origin.inputs[0].dtype == "complex64"


def test_the_profile_and_the_gradient_profile() -> None:
    net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), some()
    traced = trace_step(lambda: net(x).sum().backward(), [net], {"x": x})
    assert [(one.module, one.kind) for one in traced.trace.profile] == [("0", "Linear"), ("1", "ReLU"), ("2", "Linear")]
    first = net[0](x)
    assert traced.trace.profile[0].absmax == pytest.approx(first.abs().max().item())
    assert traced.trace.profile[0].std == pytest.approx(first.std(correction=0).item(), rel=1e-5)
    assert {one.module for one in traced.trace.gradient_profile[:2]} == {"2.weight", "2.bias"}
    assert {one.module for one in traced.trace.gradient_profile[2:]} == {"0.weight", "0.bias"}
    assert traced.trace.operations > 10


def test_two_models_and_two_losses() -> None:
    generator, critic = nn.Linear(4, 4), nn.Linear(4, 1)
    x = some()

    def step() -> None:
        fake = generator(x)
        loss_d = critic(x).mean() - critic(fake.detach()).mean()
        loss_d.backward()
        score = critic(fake)
        (-torch.log(score - score)).mean().backward()

    origin = trace_step(step, [generator, critic], {"x": x}).origin().origin
    assert origin is not None
    assert (origin.phase, origin.op) == ("loss", "log")


def test_batch_norm_statistics_overflow_while_the_loss_is_finite() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(()))
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                self.scale.div_(x.sum() * 0)  # <- origin
            return self.head(x)

    net, x = Normed(), some()
    traced = trace_step(lambda: net(x).sum().backward(), [net], {"x": x})
    origin = place(traced, Normed, "forward", "div", "nonfinite-buffer")
    assert origin.buffer == "scale"


def test_cross_entropy_over_infinite_scores() -> None:
    net, x = nn.Linear(4, 3), some()

    def step() -> None:
        scores = net(x) / (x.sum() * 0)  # <- origin
        F.cross_entropy(scores, torch.zeros(8, dtype=torch.long)).backward()

    origin = place(trace_step(step, [net], {"x": x}), test_cross_entropy_over_infinite_scores, "loss", "div")
    assert origin.inputs[1].name == "(x.sum() * 0)" or origin.inputs[1].name == "x.sum() * 0"


def test_a_scripted_module() -> None:
    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.log(self.fc(x) * 0)

    net, x = torch.jit.script(Scripted()), some()

    def step() -> None:
        net(x).sum().backward()  # <- origin

    origin = trace_step(step, [net], {"x": x}).origin().origin
    assert origin is not None
    assert (origin.op, origin.location.line) == ("log", marked_line(test_a_scripted_module))


def test_half_precision_autocast() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)  # <- origin

    net, x = Half(), some() * 1e4
    x[2] *= 20
    with torch.no_grad():
        net.fc.weight.fill_(0.5)

    def step() -> None:
        with torch.autocast("cpu", torch.float16):
            out = net(x)
        out.float().sum().backward()

    origin = place(trace_step(step, [net], {"x": x}), Half, "forward", "cast")
    assert origin.samples == (2,)
    assert origin.inputs[0].dtype == "float32" and origin.output.dtype == "float16"


def test_memory_that_is_filled_to_find_its_use() -> None:
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.LSTM(4, 4)), some()
    torch.use_deterministic_algorithms(True)
    try:
        traced = trace_step(lambda: net(x)[0].sum().backward(), [net], {"x": x})
    finally:
        torch.use_deterministic_algorithms(False)
    assert traced.error is None
    assert traced.trace.sinks == ()
    assert [call for call in traced.trace.calls if call.born] == []


class Contrast(nn.Module):
    """A loss of the user's own, whose name does not say so."""

    def forward(self, z: torch.Tensor, aim: torch.Tensor) -> torch.Tensor:
        picked = z.gather(1, aim[:, None])
        apart = (z - z.detach()).log()  # <- picked
        return apart.mean() + picked.mean()


@pytest.mark.parametrize(("labels", "phase", "op"), [([0, 1, 2, 3], "loss", "log"), ([0, 1, 2, 7], "loss", "index")])
def test_a_module_that_makes_one_number_of_what_a_model_gave(labels: list[int], phase: str, op: str) -> None:
    net, contrast, x = nn.Linear(4, 4), Contrast(), torch.rand(4, 4)
    aim = torch.tensor(labels)

    def step() -> None:
        contrast(net(x), aim).backward()

    # the block knows both modules, as it does where both are names of the script
    traced = trace_step(step, [net, contrast], {"x": x, "aim": aim})
    detector = "nonfinite-loss" if op == "log" else "numeric-exception"
    origin = traced.origin(detector).origin
    assert origin is not None
    assert (origin.phase, origin.op) == (phase, op)


def test_an_activation_that_is_called_on_its_own_stays_forward() -> None:
    net, root, x = nn.Linear(4, 4), nn.Identity(), torch.rand(4, 4)
    root.forward = lambda z: (z - z.detach()).log()  # type: ignore[method-assign, assignment]

    def step() -> None:
        net(root(net(x))).sum().backward()

    origin = trace_step(step, [net, root], {"x": x}).origin("nonfinite-loss").origin
    assert origin is not None
    assert origin.phase == "forward"
