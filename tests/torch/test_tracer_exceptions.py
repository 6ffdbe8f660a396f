"""Exceptions are the commonest form of a numeric failure: they are located and explained like a NaN."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from tracing import Traced, marked_line, trace_step

torch.set_num_threads(1)


def check(traced: Traced, where, op: str, error: type[BaseException]):
    assert isinstance(traced.error, error)
    assert [sink.kind for sink in traced.trace.sinks if sink.kind == "exception"] == ["exception"]
    origin = traced.origin("numeric-exception").origin
    assert origin is not None
    assert origin.location.line == marked_line(where), origin
    assert origin.op == op
    return origin


def outside_of_zero_and_one() -> Traced:
    torch.manual_seed(0)
    net, x = nn.Linear(4, 1), torch.rand(8, 4)
    criterion = nn.BCELoss()

    def step() -> None:
        p = net(x).sigmoid()
        p = p + (torch.arange(8) == 6).float()[:, None]
        criterion(p, torch.ones(8, 1)).backward()  # <- origin

    return trace_step(step, [net], {"x": x})


def test_bce_outside_of_its_domain() -> None:
    origin = check(outside_of_zero_and_one(), outside_of_zero_and_one, "bce", RuntimeError)
    assert (origin.phase, origin.samples, origin.module) == ("loss", (6,), "BCELoss")
    assert origin.inputs[0].name == "p"
    assert origin.inputs[0].culprit_index == (6, 0) and origin.inputs[0].culprit > 1


def bad_scale() -> Traced:
    torch.manual_seed(0)
    net, x = nn.Linear(4, 2), torch.rand(8, 4)

    def step() -> None:
        mean, raw = net(x).chunk(2, -1)
        scale = (raw - raw) / (raw - raw)  # <- birth
        policy = torch.distributions.Normal(mean, scale)  # <- origin
        policy.log_prob(torch.zeros(8, 1)).sum().backward()

    return trace_step(step, [net], {"x": x})


def test_a_distribution_with_a_bad_scale_leads_to_its_birth() -> None:
    traced = bad_scale()
    origin = traced.origin("numeric-exception").origin
    assert isinstance(traced.error, ValueError)
    assert origin is not None
    assert (origin.op, origin.location.line) == ("div", marked_line(bad_scale, "# <- birth"))
    raised = [call for call in traced.trace.calls if call.raised]
    assert [(call.kind, call.native_op) for call in raised] == [("distribution", "torch.distributions.Normal")]
    assert raised[0].location.line == marked_line(bad_scale)
    assert raised[0].inputs[0].name == "scale" and raised[0].inputs[0].nan == 8


def negative_scale() -> Traced:
    torch.manual_seed(0)
    net, x = nn.Linear(4, 1), torch.rand(8, 4)

    def step() -> None:
        scale = (net(x) * 0) + (torch.arange(8) != 3).float()[:, None] - 0.5
        torch.distributions.Normal(loc=torch.zeros(8, 1), scale=scale)  # <- origin

    return trace_step(step, [net], {"x": x})


def test_a_distribution_with_a_negative_scale() -> None:
    origin = check(negative_scale(), negative_scale, "distribution", ValueError)
    assert origin.samples == (3,)
    assert (origin.inputs[0].name, origin.inputs[0].culprit) == ("scale", -0.5)


def not_a_simplex() -> Traced:
    torch.manual_seed(0)
    net, x = nn.Linear(4, 3), torch.rand(8, 4)

    def step() -> None:
        p = net(x).softmax(-1) - (torch.arange(8) == 2).float()[:, None] * 2
        torch.multinomial(p, 1)  # <- origin

    return trace_step(step, [net], {"x": x})


def test_multinomial_over_negative_probabilities() -> None:
    origin = check(not_a_simplex(), not_a_simplex, "sample", RuntimeError)
    assert origin.samples == (2,)
    assert origin.inputs[0].name == "p" and origin.inputs[0].min < 0


def not_positive_definite() -> Traced:
    w = torch.eye(3, requires_grad=True)

    def step() -> None:
        a = w - 2 * torch.eye(3)
        torch.linalg.cholesky(a).sum().backward()  # <- origin

    return trace_step(step, [], {"w": w})


def test_cholesky_of_an_indefinite_matrix() -> None:
    origin = check(not_positive_definite(), not_positive_definite, "cholesky", RuntimeError)
    assert origin.inputs[0].name == "a" and origin.inputs[0].min == -1


def label_too_large() -> Traced:
    torch.manual_seed(0)
    net, x, y = nn.Linear(4, 3), torch.rand(8, 4), torch.tensor([0, 1, 2, 0, 1, 3, 0, -100])

    def step() -> None:
        F.cross_entropy(net(x), y).backward()  # <- origin

    return trace_step(step, [net], {"x": x, "y": y})


def test_a_label_out_of_range() -> None:
    origin = check(label_too_large(), label_too_large, "nll_loss", IndexError)
    assert (origin.phase, origin.samples) == ("loss", (5,))
    assert (origin.inputs[1].name, origin.inputs[1].culprit) == ("y", 3)


def token_too_large() -> Traced:
    net, tokens = nn.Embedding(10, 4), torch.tensor([[1, 2], [3, 10], [4, 5]])

    def step() -> None:
        net(tokens).sum().backward()  # <- origin

    return trace_step(step, [net], {"tokens": tokens})


def test_a_token_out_of_range() -> None:
    origin = check(token_too_large(), token_too_large, "embedding", IndexError)
    assert (origin.phase, origin.samples, origin.module) == ("forward", (1,), "Embedding")
    assert origin.inputs[1].culprit == 10


def too_many_classes() -> Traced:
    y = torch.tensor([0, 1, 2, 7])

    def step() -> None:
        F.one_hot(y, 3)  # <- origin

    return trace_step(step, [], {"y": y})


def test_a_check_above_every_operator() -> None:
    origin = check(too_many_classes(), too_many_classes, "embedding", RuntimeError)
    assert origin.inputs[0].max == 7


def test_an_exception_somebody_catches_is_no_incident() -> None:
    net, x = nn.Linear(4, 4), torch.rand(8, 4)

    def step() -> None:
        a = net(x).t() @ net(x)
        try:
            root = torch.linalg.cholesky(-a)
        except RuntimeError:
            root = torch.linalg.cholesky(a + 10 * torch.eye(4))
        root.sum().backward()

    traced = trace_step(step, [net], {"x": x})
    assert traced.error is None
    assert traced.trace.sinks == ()


def svd_of_nan() -> Traced:
    w = torch.eye(3, requires_grad=True)

    def step() -> None:
        a = w / (w.sum() - 3)  # <- origin
        torch.linalg.svd(a)[1].sum().backward()

    return trace_step(step, [], {"w": w})


def test_a_decomposition_of_a_bad_matrix_leads_to_its_birth() -> None:
    traced = svd_of_nan()
    if traced.error is None:
        pytest.skip("this LAPACK accepts non-finite matrices")
    assert check(traced, svd_of_nan, "div", RuntimeError).phase in ("forward", "loss")


def test_an_exception_that_has_nothing_to_do_with_numbers() -> None:
    def step() -> None:
        raise KeyError("labels")

    traced = trace_step(step)
    assert isinstance(traced.error, KeyError)
    sinks = traced.trace.sinks
    assert [sink.name for sink in sinks] == ["KeyError"]


@pytest.mark.parametrize("form", ["assert", "raise", "item"])
def test_a_guard_of_the_users_leads_to_the_birth(form: str) -> None:
    torch.manual_seed(0)
    net, x = nn.Linear(4, 4), torch.rand(8, 4)
    x[3] = 0

    def step() -> None:
        mask = torch.full((4,), float("-inf"))
        ratio = net(x) / x.sum(1, keepdim=True)  # <- birth
        loss = ratio.mean()
        if form == "assert":
            assert torch.isfinite(loss), "diverged"
        elif form == "raise" and not torch.isfinite(loss):
            raise ValueError("diverged")
        elif loss.item() != loss.item():
            raise RuntimeError(f"loss {mask}")
        loss.backward()

    traced = trace_step(step, [net], {"x": x})
    assert traced.error is not None
    origin = traced.origin("numeric-exception").origin
    assert origin is not None
    assert (origin.op, origin.samples) == ("div", (3,))
    here = test_a_guard_of_the_users_leads_to_the_birth
    assert origin.location.line == marked_line(here, "# <- birth")


@pytest.mark.parametrize("guard", ["isfinite", "item", "compare"])
def test_a_loss_that_is_thrown_away_is_a_sink(guard: str) -> None:
    net, x = nn.Linear(4, 4), torch.rand(8, 4)

    def step() -> None:
        h = net(x)
        loss = (h / (h - h)).mean()  # <- origin
        if guard == "isfinite" and not torch.isfinite(loss):
            return
        if guard == "item" and loss.item() != 0:
            return
        if guard == "compare" and loss != loss:
            return
        loss.backward()

    traced = trace_step(step, [net], {"x": x})
    assert [sink.kind for sink in traced.trace.sinks] == ["loss"]
    origin = traced.origin().origin
    assert origin is not None
    assert (origin.phase, origin.op) == ("loss", "div")
    assert origin.location.line == marked_line(test_a_loss_that_is_thrown_away_is_a_sink)


def test_arithmetic_of_python_over_a_number_that_left_a_tensor() -> None:
    net, x = nn.Linear(4, 4), torch.rand(8, 4)

    def step() -> None:
        h = net(x)
        ratio = h.sum() / (h.sum() * 0)  # <- origin
        steps = int(ratio.item())
        (h * steps).sum().backward()

    traced = trace_step(step, [net], {"x": x})
    check(traced, test_arithmetic_of_python_over_a_number_that_left_a_tensor, "div", OverflowError)


def test_an_error_of_the_engine_is_not_blamed_on_a_bad_value_elsewhere() -> None:
    net, x = nn.Linear(4, 4), torch.rand(8, 4)

    def step() -> None:
        h = net(x)
        (h.detach() / 0).sum()
        loss = h.sum()
        loss.backward()
        loss.backward()  # <- origin

    traced = trace_step(step, [net], {"x": x})
    assert isinstance(traced.error, RuntimeError)
    origin = traced.origin("numeric-exception").origin
    assert origin is not None
    assert origin.location.line == marked_line(test_an_error_of_the_engine_is_not_blamed_on_a_bad_value_elsewhere)
    assert all(one.nonfinite == 0 for one in origin.inputs)
