"""Optimizers under the microscope: closures, fused and list updates, scalers, moments, rates."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from tracing import Traced, marked_line, place, some, trace_step

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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
    origin = place(traced, lbfgs, "loss", "div")
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
    place(lbfgs_overflow(), lbfgs_overflow, "optimizer", "optimizer_update", "nonfinite-parameter")


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
    place(traced, rate_is_nan, "optimizer", "learning_rate", "nonfinite-parameter")
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
    origin = place(traced, bad_moment, "load", "moment", "nonfinite-parameter")
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
    origin = place(traced, scaled, "backward", "cast", "nonfinite-gradient")
    assert origin.module is None
    assert not [sink for sink in traced.trace.sinks if sink.kind == "parameter"]
