"""What a loss is the sum of, what made an operand, and the lengths of a CTC loss."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from tracing import trace_step

from stayfinite.records.trace import LossTerm, Trace


def traced(step: object, *models: nn.Module) -> Trace:
    return trace_step(step, list(models), {}, []).trace  # type: ignore[arg-type]


def by_name(trace: Trace) -> dict[str, LossTerm]:
    return {term.name: term for term in trace.terms}


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


def test_addends_have_their_value_weight_line_and_own_gradient(net: nn.Module) -> None:
    x, y = torch.randn(5, 6), torch.randn(5, 2)

    def step() -> None:
        fit = F.mse_loss(net(x), y)
        size = net(x).square().sum()
        decay = sum(p.abs().sum() for p in net.parameters())
        loss = fit + 30.0 * size - 1e-3 * decay / 2
        loss.backward()

    terms = by_name(traced(step, net))
    assert list(terms) == ["fit", "30.0 * size", "1e-3 * decay / 2"]
    fit, size, decay = terms.values()
    assert (fit.kind, size.kind, decay.kind, decay.count) == ("mse", "sum", "sum", 4)
    assert (float(fit.weight), float(size.weight)) == (1.0, 30.0)
    assert float(decay.weight) == pytest.approx(-5e-4)
    assert size.location.code == "size = net(x).square().sum()"
    assert size.weighted_at is not None and size.weighted_at.code.startswith("loss =")
    alone = torch.autograd.grad(30.0 * net(x).square().sum(), list(net.parameters()))
    assert float(size.gradient) == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in alone)), rel=1e-5)
    assert fit.group == size.group == decay.group


def test_a_sum_that_is_weighted_as_a_whole_gives_its_addends_the_weight() -> None:
    net, x, y = nn.Linear(4, 2), torch.randn(8, 4), torch.randn(8, 2)

    def step() -> None:
        norms = net.weight.square().sum() + net.bias.square().sum()
        loss = F.mse_loss(net(x), y) + 30.0 * norms
        (loss / 4).backward()  # of all terms, and therefore the weight of none

    fit, *sizes = traced(step, net).terms
    assert fit.weighted_at is None
    assert {float(size.weight) for size in sizes} == {7.5}
    assert all(size.weighted_at is not None and size.weighted_at.code.startswith("loss =") for size in sizes)


def test_a_gradient_that_fails_names_the_term_and_leaves_the_others(net: nn.Module) -> None:
    x = torch.randn(5, 6)

    def step() -> None:
        h = net(x)
        parts = [h.mean() ** 2, torch.sqrt((h - h).square().sum())]
        torch.stack(parts).mul(torch.tensor([1.0, 0.5])).sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)

    good, bad = traced(step, net).terms
    assert bad.measured and bad.gradient == "nan" and bad.parameters
    assert good.measured and math.isfinite(float(good.gradient))


def test_terms_are_found_behind_a_product_with_their_weights(net: nn.Module) -> None:
    x = torch.randn(5, 6)

    def step() -> None:
        fit = net(x).abs().mean()
        size = F.mse_loss(net(x), torch.zeros(5, 2), reduction="sum")
        torch.dot(torch.tensor([1.0, 50.0]), torch.stack([fit, size])).backward()

    terms = by_name(traced(step, net))
    assert {name: float(term.weight) for name, term in terms.items()} == {"fit": 1.0, "size": 50.0}
    assert (terms["fit"].kind, terms["size"].kind) == ("mean", "sum")


def test_the_step_computes_what_it_would_have_computed(net: nn.Module) -> None:
    x = torch.randn(5, 6)

    def step() -> None:
        for p in net.parameters():
            p.grad = None
        (net(x).square().mean() + 0.1 * net(x).abs().mean()).backward()

    step()
    expected = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    assert len(traced(step, net).terms) == 2
    assert all(torch.equal(p.grad, one) for p, one in zip(net.parameters(), expected, strict=True) if p.grad is not None)


def test_a_loss_of_one_thing_is_no_sum(net: nn.Module) -> None:
    assert traced(lambda: net(torch.ones(2, 6)).mean().backward(), net).terms == ()


def test_losses_of_different_networks_do_not_compete() -> None:
    one, other = nn.Linear(3, 1), nn.Linear(3, 1)

    def step() -> None:
        one(torch.ones(2, 3)).sum().backward()
        other(torch.ones(2, 3)).sum().backward()

    first, second = traced(step, one, other).terms
    assert first.group != second.group


def test_an_operand_says_what_made_it() -> None:
    x = torch.full((1, 1, 6, 6), 213.3) + 1e-3 * torch.arange(36.0).reshape(1, 1, 6, 6)
    scale = nn.Parameter(torch.ones(1))

    def step() -> None:
        mean, square = F.avg_pool2d(x, 3, stride=1), F.avg_pool2d(x**2, 3, stride=1)
        variance = square - mean**2 - 1.0
        (torch.sqrt(variance) * scale).sum().backward()

    trace = trace_step(step, [], {}, [torch.optim.SGD([scale], 0.1)]).trace
    root = next(call for call in trace.calls if call.kind == "sqrt" and call.born)
    assert root.inputs[0].made_by == ("sub", "sub", "avg_pool", "pow")
    assert root.inputs[0].made_at is not None and root.inputs[0].made_at.code == "variance = square - mean**2 - 1.0"


@pytest.mark.parametrize(("cut", "made"), [(lambda h: h[3:3], "move"), (lambda h: h[h.sum(1) > 1e9], "index")])
def test_an_empty_slice_is_told_from_an_empty_selection(net: nn.Module, cut: object, made: str) -> None:
    def step() -> None:
        cut(net(torch.ones(4, 6)).square()).mean(0).sum().backward()  # type: ignore[operator]

    born = next(call for call in traced(step, net).calls if call.kind == "mean" and call.born)
    assert born.inputs[0].made_by[0] == made


def test_the_lengths_of_a_line_that_cannot_be_aligned() -> None:
    layer = nn.Linear(4, 5)

    def step() -> None:
        log_probs = layer(torch.randn(4, 3, 4)).log_softmax(-1)
        lines = torch.tensor([[1, 2, 3], [2, 2, 2], [3, 2, 1]])
        F.ctc_loss(log_probs, lines, torch.tensor([4, 4, 4]), torch.tensor([3, 3, 3])).backward()

    loss = next(call for call in traced(step, layer).calls if call.kind == "ctc_loss" and call.phase != "backward")
    told = {scalar.name: scalar.value for scalar in loss.scalars}
    assert told["infeasible"] == 1 and loss.samples == (1,)
    assert (told["input_length"], told["target_length"], told["repeats"]) == (4, 3, 2)
