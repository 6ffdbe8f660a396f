"""The microscope in the settings people train in: recomputation, autocast, closures, scalers, sparse, half precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tracing import Traced, marked_line, trace_step

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def some(rows: int = 8, columns: int = 4) -> torch.Tensor:
    return torch.rand(rows, columns) + 0.1


def check(traced: Traced, where, phase: str, op: str, detector: str = "nonfinite-loss"):
    found = traced.origin(detector)
    assert found.origin is not None, found.reason
    origin = found.origin
    assert origin.location.line == marked_line(where), origin
    assert (origin.phase, origin.op) == (phase, op)
    return origin


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


def lbfgs() -> Traced:
    net, x = nn.Linear(4, 1), some()
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=3)

    def step() -> None:
        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            h = net(x)
            loss = (h - h.detach()).sum() / (h * 0).sum()  # <- origin
            loss.backward()
            return loss

        optimizer.step(closure)

    return trace_step(step, [net], {"x": x}, [optimizer])


def test_a_closure_is_not_the_optimizer() -> None:
    traced = lbfgs()
    origin = check(traced, lbfgs, "loss", "div")
    assert traced.error is None and origin.module is None


def lbfgs_overflow() -> Traced:
    net, x = nn.Linear(4, 1, bias=False), some()
    optimizer = torch.optim.LBFGS(net.parameters(), lr=1e40, max_iter=2)

    def step() -> None:
        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = (net(x) * 1e3).sum()
            loss.backward()
            return loss

        optimizer.step(closure)  # <- origin

    return trace_step(step, [net], {"x": x}, [optimizer])


def test_an_update_inside_lbfgs() -> None:
    check(lbfgs_overflow(), lbfgs_overflow, "optimizer", "optimizer_update", "nonfinite-parameter")


def scaled() -> Traced:
    net, x = nn.Linear(4, 4), some()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**15)

    def step() -> None:
        optimizer.zero_grad()
        h = net(x)
        loss = h.half().float().square().mean() * 1e4  # <- origin
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return trace_step(step, [net], {"x": x}, [optimizer])


def test_a_scaler_that_skips() -> None:
    traced = scaled()
    origin = check(traced, scaled, "backward", "cast", "nonfinite-gradient")
    assert origin.module is None
    assert not [sink for sink in traced.trace.sinks if sink.kind == "parameter"]


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
    origin = check(gradient_penalty(), gradient_penalty, "backward", "sqrt", "nonfinite-gradient")
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
    origin = check(second_order(), second_order, "backward", "pow", "nonfinite-gradient")
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
    origin = check(traced, sparse_gradient, "backward", "sqrt", "nonfinite-gradient")
    assert origin.samples == (4,)
    assert {(sink.kind, sink.name) for sink in traced.trace.sinks} == {("gradient", "weight"), ("parameter", "weight")}
    assert all(sink.source is not None for sink in traced.trace.sinks)


@pytest.mark.parametrize("foreach", [False, True])
def test_half_precision_parameters_and_an_epsilon_that_is_lost(foreach: bool) -> None:
    net, x = nn.Linear(4, 2, dtype=torch.float16), some().half()
    x[:, 1] = 0
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, eps=1e-8, foreach=foreach)

    def step() -> None:
        optimizer.zero_grad()
        net(x).float().sum().backward()
        optimizer.step()  # <- origin

    traced = trace_step(step, [net], {"x": x}, [optimizer])
    assert {sink.kind for sink in traced.trace.sinks} == {"parameter"}
    origin = traced.origin("nonfinite-parameter").origin
    assert origin is not None
    assert origin.location.line == marked_line(test_half_precision_parameters_and_an_epsilon_that_is_lost)
    assert (origin.phase, origin.op, origin.parameter) == ("optimizer", "optimizer_update", "weight")
    assert origin.location.library is not None and "adam" in origin.location.library


def rate_is_nan() -> Traced:
    net, x = nn.Linear(4, 2), some()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    optimizer.param_groups[0]["lr"] = float("nan")

    def step() -> None:
        net(x).sum().backward()
        optimizer.step()  # <- origin

    return trace_step(step, [net], {"x": x}, [optimizer])


def test_a_rate_that_is_not_a_number() -> None:
    traced = rate_is_nan()
    check(traced, rate_is_nan, "optimizer", "learning_rate", "nonfinite-parameter")
    assert [(leaf.kind, leaf.name) for leaf in traced.trace.leaves] == [("scalar", "lr")]


def bad_moment() -> Traced:
    net, x = nn.Linear(4, 2), some()
    optimizer = torch.optim.Adam(net.parameters(), foreach=False)
    net(x).sum().backward()
    optimizer.step()
    optimizer.state[net.weight]["exp_avg_sq"][1, 3] = float("nan")

    def step() -> None:
        optimizer.zero_grad()
        net(x).sum().backward()
        optimizer.step()  # <- origin

    return trace_step(step, [net], {"x": x}, [optimizer])


def test_a_moment_that_was_bad_before() -> None:
    traced = bad_moment()
    origin = check(traced, bad_moment, "load", "moment", "nonfinite-parameter")
    assert origin.parameter == "weight"
    assert origin.inputs[0].name == "exp_avg_sq of weight"


def gradient_left_over() -> Traced:
    net, x = nn.Linear(4, 2), some()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net.weight.grad = torch.full_like(net.weight, float("inf"))

    def step() -> None:
        net(x).sum().backward()
        optimizer.step()

    return trace_step(step, [net], {"x": x}, [optimizer])


def test_a_gradient_left_over_from_before() -> None:
    traced = gradient_left_over()
    origin = traced.origin("nonfinite-parameter").origin
    assert origin is not None
    assert (origin.phase, origin.op, origin.parameter) == ("load", "gradient", "weight")
    assert ("gradient", "weight") not in {(sink.kind, sink.name) for sink in traced.trace.sinks}


def test_a_buffer_that_was_bad_before() -> None:
    net, x = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), some()
    net[1].running_var[2] = float("nan")
    net.eval()
    origin = trace_step(lambda: net(x).sum().backward(), [net], {"x": x}).origin().origin
    assert origin is not None
    assert (origin.phase, origin.op, origin.buffer, origin.module) == ("load", "buffer", "1.running_var", "1")


@pytest.mark.parametrize("form", ["from_numpy", "tensor", "list"])
def test_arrays_of_the_batch(form: str) -> None:
    net, values = nn.Linear(4, 2), some().numpy().astype(np.float64 if form == "tensor" else np.float32)
    values[6, 1] = np.nan
    batch = {"rows": values.tolist() if form == "list" else values}

    def step() -> None:
        rows = batch["rows"]
        x = torch.from_numpy(rows) if form == "from_numpy" else torch.tensor(rows, dtype=torch.float32)
        net(x).sum().backward()

    traced = trace_step(step, [net], batch)
    origin = traced.origin().origin
    assert origin is not None
    assert (origin.phase, origin.op) == ("data", "input")
    assert origin.inputs[0].name == "rows"
    assert origin.inputs[0].nan == 1
    if form != "list":
        assert origin.samples == (6,)


def number_in_between() -> Traced:
    net, x = nn.Linear(4, 2), some()

    def step() -> None:
        h = net(x)
        scale = (h.detach().sum() / (h.detach().sum() * 0)).item()  # <- origin
        (h * scale).sum().backward()

    return trace_step(step, [net], {"x": x})


def test_a_number_that_leaves_the_data_flow_and_comes_back() -> None:
    check(number_in_between(), number_in_between, "loss", "div")


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
    origin = check(half_sum(), half_sum, "loss", "pow")
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
    assert check(sum_of_one_row(), sum_of_one_row, "loss", "sum").samples == (2,)


def test_complex_numbers() -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = torch.fft.fft(self.head(x))
            return (z / (x.sum(1, keepdim=True) * 0)).abs()  # <- origin

    net, x = Spectrum(), some()
    origin = check(trace_step(lambda: net(x).sum().backward(), [net], {"x": x}), Spectrum, "forward", "div")
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


def test_clipping_and_clearing_do_not_erase_who_was_bad() -> None:
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), some()
    x[1, 1] = 0

    def step() -> None:
        h = net[0](x)
        (h.detach() * net[1](x) + (x * h).abs().sqrt()).sum().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        net.zero_grad()

    traced = trace_step(step, [net], {"x": x})
    assert {sink.name for sink in traced.trace.sinks if sink.kind == "gradient"} == {"0.weight", "0.bias"}


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


def test_the_names_a_caller_gives() -> None:
    net, x = nn.Linear(4, 1), some()
    with torch.no_grad():
        net.weight.fill_(float("nan"))
    names = {id(net.weight): "critic.weight"}
    origin = trace_step(lambda: net(x).sum().backward(), [net], {"x": x}, names=names).origin().origin
    assert origin is not None and origin.parameter == "critic.weight"


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
    origin = check(traced, Normed, "forward", "div", "nonfinite-buffer")
    assert origin.buffer == "scale"


def test_cross_entropy_over_infinite_scores() -> None:
    net, x = nn.Linear(4, 3), some()

    def step() -> None:
        scores = net(x) / (x.sum() * 0)  # <- origin
        F.cross_entropy(scores, torch.zeros(8, dtype=torch.long)).backward()

    origin = check(trace_step(step, [net], {"x": x}), test_cross_entropy_over_infinite_scores, "loss", "div")
    assert origin.inputs[1].name == "(x.sum() * 0)" or origin.inputs[1].name == "x.sum() * 0"


@pytest.mark.parametrize("modules", [True, False])
def test_a_batch_that_is_fetched_inside_the_step(modules: bool) -> None:
    stream = iter([some()])
    late: dict[str, object] = {}
    w = torch.ones(4, 1, requires_grad=True)
    net = nn.Linear(4, 1)

    def step() -> None:
        x = next(stream)
        x.numpy()[3, 2] = np.nan
        late.update(x=x)
        (net(x) if modules else x @ w).sum().backward()

    origin = trace_step(step, [net] if modules else [], optimizers=[torch.optim.SGD([w], 0.1)], late=late).origin().origin
    assert origin is not None
    assert (origin.phase, origin.op, origin.inputs[0].name, origin.samples) == ("data", "input", "x", (3,))


def test_rows_of_a_batch_that_is_fetched_inside_the_step() -> None:
    stream = iter([some()])
    late: dict[str, object] = {}
    w = torch.ones(4, 1, requires_grad=True)

    def step() -> None:
        x = next(stream)
        x[5] = 0
        late.update(x=x)
        torch.log((x @ w)).sum().backward()  # <- origin

    traced = trace_step(step, optimizers=[torch.optim.SGD([w], 0.1)], late=late)
    assert check(traced, test_rows_of_a_batch_that_is_fetched_inside_the_step, "loss", "log").samples == (5,)
    assert traced.batch_size == 8


def missing_labels() -> Traced:
    net, x, y = nn.Linear(4, 1), some(), torch.zeros(8, 1)
    y[4] = float("nan")

    def step() -> None:
        error = (net(x) - y) ** 2  # <- origin
        torch.where(y.isnan(), 0.0, error).mean().backward()  # <- absorbed

    return trace_step(step, [net], {"x": x, "y": y})


def test_missing_labels_that_where_hides_come_back() -> None:
    origin = check(missing_labels(), missing_labels, "data", "input", "nonfinite-gradient")
    assert (origin.inputs[0].name, origin.samples) == ("y", (4,))
    assert origin.absorbed_at is not None and origin.absorbed_at.line == marked_line(missing_labels, "# <- absorbed")


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad])
def test_fused_optimizers(kind: type[torch.optim.Optimizer]) -> None:
    net, x = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2)), some()
    optimizer = kind(net.parameters(), lr=3e38, fused=True)

    def step() -> None:
        (net(x) * 1e3).sum().backward()
        optimizer.step()  # <- origin

    traced = trace_step(step, [net], {"x": x}, [optimizer])
    if not [sink for sink in traced.trace.sinks if sink.kind == "parameter"]:
        pytest.skip("this rule divides the gradient away")
    origin = traced.origin("nonfinite-parameter").origin
    assert origin is not None
    assert (origin.phase, origin.location.line) == ("optimizer", marked_line(test_fused_optimizers))
    assert origin.native_op.startswith("aten._fused_")
    assert origin.parameter in {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_every_parameter_of_a_foreach_update_has_its_own_origin() -> None:
    net, x = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 2, bias=False)), some()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0, foreach=True)

    def step() -> None:
        net(x).sum().backward()
        net[1].weight.grad.fill_(3e38)
        net[1].weight.data.fill_(-3e38)
        optimizer.step()

    traced = trace_step(step, [net], {"x": x}, [optimizer])
    assert [(sink.kind, sink.name) for sink in traced.trace.sinks] == [("parameter", "1.weight")]
    origin = traced.origin("nonfinite-parameter").origin
    assert origin is not None
    assert (origin.op, origin.parameter) == ("optimizer_update", "1.weight")


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

    origin = check(trace_step(step, [net], {"x": x}), Half, "forward", "cast")
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
