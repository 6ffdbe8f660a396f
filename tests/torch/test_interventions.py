"""Operators of one line computed otherwise, on real small steps: which calls are met, what they give, and what they leave behind."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from tracing import trace_step

from stayfinite.catalog.operator_predictions import inside_domain, stable
from stayfinite.frameworks.torch.interventions.matching import dispatched, kinds_of
from stayfinite.frameworks.torch.interventions.operators import aligned
from stayfinite.frameworks.torch.interventions.performing import Given, Performer, performer
from stayfinite.frameworks.torch.passes import Window
from stayfinite.frameworks.torch.subjects import Subjects, namer
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.records.incident import Case, Symptom
from stayfinite.records.intervention import Backend, Effect, Form, Intervention, Place, Precision, Stable, Within

HERE = os.path.basename(__file__)
Step = Callable[[Tensor], Tensor]


def given_for(*roots: nn.Module) -> Given:
    """What a repetition would hand to a performer of a step in this file."""
    frames = Frames(lambda file: file == __file__, os.path.basename)
    return Given(Window([]), Subjects(roots, [], namer({}, {})), frames, lambda tensor: "", {})


def line_of(step: Callable[..., Any]) -> int:
    """The line of a lambda, or the only one of a function's body."""
    return step.__code__.co_firstlineno + (step.__name__ != "<lambda>")


def perform(intervention: Intervention, step: Step, value: Tensor) -> tuple[Tensor, Tensor, Effect, Performer]:
    """What `step` makes of `value` under `intervention`, the gradient of its sum there, and what the change came to."""
    leaf = value.clone().requires_grad_()
    one = performer(intervention, given_for())
    with one.entered():
        result = step(leaf * 1.0)
        result.sum().backward()
    assert leaf.grad is not None
    return result.detach(), leaf.grad, one.effect(), one


def at(step: Step, kind: str) -> Place:
    return Place(kind, HERE, line_of(step))


def case_of(step: Step, value: Tensor) -> Case:
    """The failing step under the microscope, as far as predictions look at it."""
    weight = nn.Parameter(torch.ones(()))

    def run() -> float:
        loss = step(value * weight).sum()
        loss.backward()
        return float(loss.detach())

    optimizer = torch.optim.SGD([weight], 0.1)
    traced = trace_step(run, [], {"value": value}, [optimizer], {id(weight): "weight"})
    detector = next(name for name in ("numeric-exception", "nonfinite-loss", "nonfinite-gradient") if traced.origin(name).origin)
    origin = traced.origin(detector).origin
    return Case(Symptom(detector, 0, "loss", "nan"), origin=origin, trace=traced.trace, batch_size=len(value))


# -- spellings -----------------------------------------------------------------------------------------------------------------

ZERO = torch.tensor([0.5, 0.25, 0.0, 0.75])
ONES = torch.ones(4)


def _divided_in_place(x: Tensor) -> Tensor:
    return operator.itruediv(ONES.clone(), x)


SPELLINGS: dict[str, Step] = {
    "x.log()": lambda x: x.log(),
    "torch.log(x)": lambda x: torch.log(x),
    "torch.log(input=x)": lambda x: torch.log(input=x),
    "x.log_()": lambda x: x.clone().log_(),
    "x.log2()": lambda x: x.log2(),
    "torch.log10": lambda x: torch.log10(x),
    "1 / x": lambda x: 1 / x,
    "2.5 / x": lambda x: 2.5 / x,
    "y / x": lambda x: ONES / x,
    "y.div(x)": lambda x: ONES.div(x),
    "torch.div(y, x)": lambda x: torch.div(ONES, x),
    "torch.div(y, other=x)": lambda x: torch.div(ONES, other=x),
    "torch.true_divide": lambda x: torch.true_divide(ONES, x),
    "y.div_(x)": lambda x: ONES.clone().div_(x),
    "y /= x": _divided_in_place,
    "x / sum of nothing": lambda x: x / (x.sum() * 0),
    "x ** -1": lambda x: x**-1,
    "x ** -0.5": lambda x: x**-0.5,
    "torch.pow(x, -2)": lambda x: torch.pow(x, -2),
    "x.pow(exponent=-1)": lambda x: x.pow(exponent=-1),
    "x.pow_(-1)": lambda x: x.clone().pow_(-1),
    "x.reciprocal()": lambda x: x.reciprocal(),
    "x.reciprocal_()": lambda x: x.clone().reciprocal_(),
    "x.rsqrt()": lambda x: x.rsqrt(),
    "torch.rsqrt": lambda x: torch.rsqrt(x),
    "sqrt behind 0": lambda x: torch.sqrt(x),
    "x.sqrt_()": lambda x: x.clone().sqrt_(),
    "x ** 0.5": lambda x: x**0.5,
    "sqrt of a negative": lambda x: (x - 0.3).sqrt(),
    "acos": lambda x: torch.acos(x + 1.0),
    "arccos": lambda x: torch.arccos(1.0 - x),
    "asin": lambda x: (x + 1).asin(),
    "atanh": lambda x: torch.atanh(1 - x),
    "acosh": lambda x: torch.arccosh(x + 1.0),
    "erfinv": lambda x: torch.special.erfinv(1 - x),
    "log1p": lambda x: torch.log1p(-x * 4.0 / 3.0),
    "logit": lambda x: torch.logit(x),
    "special.logit": lambda x: torch.special.logit(x),
    "xlogy": lambda x: torch.xlogy(ONES, x),
    "special.xlogy": lambda x: torch.special.xlogy(ONES, x),
    "digamma": lambda x: torch.digamma(x),
    "lgamma": lambda x: torch.lgamma(x),
    "special.gammaln": lambda x: torch.special.gammaln(x),
    "F.normalize": lambda x: F.normalize(x[2:3].reshape(1, 1), dim=1, eps=0.0),
}


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_an_operand_is_met_however_the_operation_is_spelled(spelled: str) -> None:
    step = SPELLINGS[spelled]
    leaf = ZERO.clone().requires_grad_()
    step(leaf * 1.0).sum().backward()
    plain = step(leaf.detach() * 1.0)
    assert leaf.grad is not None and not (torch.isfinite(plain).all() and torch.isfinite(leaf.grad).all())
    case = case_of(step, ZERO)
    assert case.origin is not None and case.origin.location.line == line_of(step), case.origin
    met = 0
    for predicted in inside_domain(case):
        result, slope, effect, _ = perform(predicted.change, step, ZERO)
        assert not effect.refused, (case.origin.op, effect)
        if effect.applied:
            met += 1
            assert torch.isfinite(result).all() and torch.isfinite(slope).all(), (case.origin.op, result, slope)
    assert met, case.origin.op


def test_only_the_line_that_is_meant_is_changed() -> None:
    def step(x: Tensor) -> Tensor:
        return torch.log(x + 1.0) + 0.0 * torch.log(x.detach() + 2.0)

    elsewhere = Place("log", HERE, line_of(step) + 1)
    result, _, effect, one = perform(Within(elsewhere, 0, low=5.0), step, ZERO)
    assert effect.applied == 0 and torch.equal(result, torch.log(ZERO + 1.0))
    assert {place.kind for place in one.places()} >= {"log", "add", "mul"}


def test_a_composite_function_is_of_the_kinds_it_dispatches() -> None:
    value = torch.ones(2, 3)
    assert {"norm", "div"} <= dispatched(F.normalize, (value,), {}) and "var" not in kinds_of(F.normalize)
    assert "softmax" in dispatched(F.gumbel_softmax, (value,), {})
    before = torch.get_rng_state()
    assert "sample" in dispatched(torch.nn.functional.dropout, (value, 0.5), {}) | {"sample"}
    assert torch.equal(before, torch.get_rng_state())


def test_a_loop_over_layers_is_changed_at_the_one_that_is_meant() -> None:
    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Layer(), Layer()])

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x + 2.0)
            return x

    net, line = Net(), Layer.forward.__code__.co_firstlineno + 1
    for module, count in ((None, 2), ("layers.1", 1), ("layers.7", 0)):
        one = performer(Within(Place("log", HERE, line, module), 0, low=100.0), given_for(net))
        with one.entered():
            net(torch.ones(1))
        assert one.effect().applied == count


# -- masks and cures --------------------------------------------------------------------------------------------------------

SCORES = torch.tensor([[0.0, 200.0, 0.0], [1.0, 2.0, 3.0]])


def test_a_clamp_hides_a_failure_and_a_stable_form_cures_it() -> None:
    step: Step = lambda z: -torch.log(torch.softmax(z, 1))[:, 0]  # noqa: E731
    clamped, dead, effect, _ = perform(Within(at(step, "log"), 0, low=1e-6), step, SCORES)
    assert torch.isfinite(clamped).all() and effect.gradient == "zero" and not dead[0].any()
    cured, slope, effect, _ = perform(Stable(at(step, "log"), "log-softmax"), step, SCORES)
    assert effect.gradient == "finite" and effect.arrived == "finite" and effect.deviation < 1e-5
    assert torch.allclose(cured, F.cross_entropy(SCORES, torch.zeros(2, dtype=torch.long), reduction="none"))
    assert slope[0, 1] == 1.0 and slope[0, 0] == -1.0


def test_what_is_masked_later_gets_no_gradient() -> None:
    step: Step = lambda x: torch.where(x > 0, x.log(), torch.zeros_like(x))  # noqa: E731
    _, slope, effect, _ = perform(Within(at(step, "log"), 0, low=1e-6), step, ZERO)
    assert effect.arrived == "zero" and torch.isfinite(slope).all()
    used: Step = lambda x: x.sqrt()  # noqa: E731
    assert perform(Within(at(used, "sqrt"), 0, low=1e-6), used, ZERO)[2].arrived == "finite"
    result, slope, effect, _ = perform(Stable(at(step, "log"), "double-where"), step, ZERO)
    assert effect.arrived == effect.gradient == "zero" and torch.isfinite(slope).all() and effect.applied == 1
    assert torch.equal(result, torch.where(ZERO > 0, ZERO.log(), torch.zeros(4))) and effect.deviation == 0.0


# -- logarithms --------------------------------------------------------------------------------------------------------------

LOGS: dict[str, tuple[str, Step]] = {
    "picked": ("log", lambda z: z.softmax(1)[torch.arange(2), torch.tensor([0, 1])].log()),
    "gathered": ("log", lambda z: torch.softmax(z, dim=1).gather(1, torch.tensor([[0], [1]])).squeeze(1).log()),
    "sigmoid": ("log", lambda z: torch.log(torch.sigmoid(-z))),
    "one minus sigmoid": ("log", lambda z: torch.log(1 - torch.sigmoid(z))),
    "one minus softmax": ("log", lambda z: torch.log(1.0 - torch.softmax(z, 1))),
    "log1p of minus": ("log1p", lambda z: torch.log1p(-torch.sigmoid(z))),
    "log of exp": ("log", lambda z: torch.log(torch.exp(-z))),
    "log of sum of exp": ("log", lambda z: torch.exp(-z * 4).sum(1).log()),
    "log of mean": ("log", lambda z: torch.softmax(z, 1)[:, ::2].mean(1).log()),
    "quotient by hand": ("log", lambda z: (torch.exp(-z) / torch.exp(-z).sum(1, keepdim=True))[:, 1].log()),
    "product": ("log", lambda z: torch.log(torch.sigmoid(-z) * torch.softmax(z, 1))),
    "one over": ("log", lambda z: torch.log(1 / (1 + torch.exp(z)))),
    "base 2": ("log", lambda z: torch.sigmoid(-z).log2()),
    "stacked": ("log", lambda z: torch.stack([torch.sigmoid(-z), torch.sigmoid(z)]).log()),
    "chosen": ("log", lambda z: torch.where(z > 1, torch.sigmoid(-z), torch.sigmoid(z)).log()),
    "squared": ("log", lambda z: torch.sigmoid(-z).square().log()),
    "mixture": ("log", lambda z: (0.5 * torch.sigmoid(-z) + 0.5 * torch.sigmoid(-2 * z)).log()),
    "xlogy": ("xlogy", lambda z: torch.xlogy(torch.ones_like(z), torch.softmax(z, 1))),
    "logit": ("logit", lambda z: torch.logit(torch.sigmoid(-z))),
    "bce": ("bce", lambda z: F.binary_cross_entropy(torch.sigmoid(z), torch.ones_like(z) * 0.25)),
    "through a view": ("log", lambda z: torch.softmax(z, 1).reshape(-1).view(3, 2).t().contiguous().log()),
}


@pytest.mark.parametrize("name", LOGS)
def test_logarithms_begin_where_the_scores_are(name: str) -> None:
    kind, step = LOGS[name]
    change = Stable(at(step, kind), "log-softmax")
    result, slope, effect, _ = perform(change, step, SCORES)
    assert effect.applied == 1 and not effect.refused, effect
    exact = SCORES.double().requires_grad_()
    # torch's own loss on probabilities cuts logarithms at -100
    wide = step(exact) if name != "bce" else F.binary_cross_entropy_with_logits(exact, torch.ones_like(exact) * 0.25)
    wide.sum().backward()
    assert exact.grad is not None
    fine = torch.isfinite(wide)
    assert torch.allclose(result[fine].double(), wide.detach()[fine], rtol=1e-4)
    assert torch.isfinite(result).all() and torch.isfinite(slope).all()
    if fine.all() and torch.isfinite(exact.grad).all():
        assert torch.allclose(slope.double(), exact.grad, rtol=1e-3, atol=1e-6)
    assert effect.gradient in ("finite", "") and effect.deviation < 1e-3


def test_a_logarithm_of_something_else_is_left_alone() -> None:
    step: Step = lambda x: torch.log(x.relu())  # noqa: E731
    result, _, effect, _ = perform(Stable(at(step, "log"), "log-softmax"), step, ZERO)
    assert effect.applied == 0 and torch.isinf(result).any()


@settings(deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=2, max_size=6))
def test_in_log_space_nothing_changes_where_all_is_well(numbers: list[float]) -> None:
    scores = torch.tensor([numbers, numbers[::-1]])
    for name in ("picked", "one minus softmax", "quotient by hand", "bce", "one over"):
        kind, step = LOGS[name]
        result, _, effect, _ = perform(Stable(at(step, kind), "log-softmax"), step, scores)
        exact = step(scores.double())  # in float32 the spelling by hand is the one that is off: 1 - p loses what p lacks of 1
        assert effect.applied == 1 and torch.allclose(result.double(), exact, rtol=1e-3, atol=1e-4)


# -- softmax written by hand ---------------------------------------------------------------------------------------------------

BY_HAND: dict[str, Step] = {
    "quotient": lambda z: (lambda e: e / e.sum(1, keepdim=True))(torch.exp(z)),
    "weighted sum": lambda z: (lambda e: (e * torch.arange(3.0)).sum(1) / e.sum(1))(z.exp()),
    "attention": lambda z: (lambda e: (e @ torch.eye(3, dtype=z.dtype)) / (e.sum(-1, keepdim=True) + 1e-9))(torch.exp(z)),
    "log of the sum": lambda z: torch.exp(z).sum(1).log(),
    "chosen": lambda z: (lambda e: e / e.sum(1, keepdim=True))(torch.where(z > 0.0, torch.exp(z), torch.zeros_like(torch.exp(z)))),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_largest_score_is_subtracted_where_it_cancels(name: str) -> None:
    step = BY_HAND[name]
    result, slope, effect, _ = perform(Stable(at(step, "exp"), "shifted-softmax"), step, SCORES)
    assert effect.applied and not effect.refused and effect.deviation < 1e-5
    assert torch.allclose(result.double(), step(SCORES.double()), rtol=1e-5) and torch.isfinite(slope).all()


@pytest.mark.parametrize("step", [
    lambda z: torch.exp(z) + 1.0,
    lambda z: torch.exp(z).square().mean(),
    lambda z: torch.exp(z) / torch.exp(z).sum(0),
    lambda z: 1 / torch.exp(z),
])
def test_what_does_not_cancel_is_no_softmax(step: Step) -> None:
    _, _, effect, _ = perform(Stable(at(step, "exp"), "shifted-softmax"), step, SCORES)
    assert effect.refused


# -- nothing to work on ----------------------------------------------------------------------------------------------------------

EMPTY = torch.ones(2, 0)
MASKED = torch.tensor([[-torch.inf, -torch.inf], [0.5, -torch.inf]])
FORMS: dict[str, tuple[Form, str, Tensor, Step]] = {
    "mean": ("mean-over-some", "mean", EMPTY, lambda x: x.mean(1)),
    "amax": ("mean-over-some", "max", EMPTY, lambda x: x.amax(1)),
    "max": ("mean-over-some", "max", EMPTY, lambda x: x.max(1).values),
    "count": ("mean-over-some", "div", torch.zeros(3), lambda x: x.sum() / (x > 0).sum()),
    "masked maximum": ("mean-over-some", "max", MASKED, lambda x: x.amax(1)),
    "errors of no box": ("mean-over-some", "smooth_l1", EMPTY, lambda x: F.smooth_l1_loss(x, torch.ones(2, 0))),
    "ignored labels": ("mean-over-some", "nll_loss", SCORES, lambda x: F.cross_entropy(x, torch.tensor([-100, -100]))),
    "too small a window": ("mean-over-some", "max_pool", torch.ones(1, 1, 3), lambda x: F.max_pool1d(x, 8)),
    "too small for a filter": ("mean-over-some", "conv", torch.ones(1, 1, 3), lambda x: F.conv1d(x, torch.ones(1, 1, 5))),
    "one value": ("unbiased-off", "var", torch.ones(1, 3), lambda x: x.var(0)),
    "one value's deviation": ("unbiased-off", "std", torch.ones(1, 3), lambda x: torch.std(x, dim=0, keepdim=True)),
    "one value, unbiased": ("unbiased-off", "var", torch.ones(1), lambda x: torch.var(x, unbiased=True)),
    "batch of one": ("unbiased-off", "batch_norm", torch.ones(1, 3), lambda x: F.batch_norm(x, None, None, training=True)),
    "softmax": ("safe-softmax", "softmax", MASKED, lambda x: torch.softmax(x, dim=1)),
    "x.softmax": ("safe-softmax", "softmax", MASKED, lambda x: x.softmax(-1)),
    "F.softmax": ("safe-softmax", "softmax", MASKED, lambda x: F.softmax(x, dim=-1)),
    "a group without spread": ("epsilon-inside", "group_norm", torch.ones(2, 4), lambda x: F.group_norm(x, 2, eps=0.0)),
    "a layer without spread": ("epsilon-inside", "layer_norm", torch.ones(2, 4), lambda x: F.layer_norm(x, (4,), eps=0.0)),
    "cosine": ("epsilon-inside", "cosine_similarity", torch.zeros(2, 3), lambda x: F.cosine_similarity(x, x * 0 + 1, eps=0.0)),
    "cholesky": ("jitter", "cholesky", torch.ones(3, 3), lambda x: torch.linalg.cholesky(x)),
    "solve": ("jitter", "solve", torch.ones(3, 3), lambda x: torch.linalg.solve(x, torch.ones(3))),
    "inverse": ("jitter", "inverse", torch.ones(3, 3), lambda x: x.inverse()),
    "equal eigenvalues": ("jitter", "eigh", torch.eye(3), lambda x: torch.linalg.eigh(x).eigenvectors[:, 0]),
    "equal singular values": ("jitter", "svd", torch.eye(3, 4), lambda x: torch.linalg.svd(x, full_matrices=False)[0][:, 0]),
    "hypot": ("hypot", "sqrt", torch.tensor([1e30, 3.0]), lambda x: (x.square() + x.square()).sqrt()),
    "long vector": ("hypot", "norm", torch.tensor([1e30, 3.0]), lambda x: x.norm()),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_lets_the_step_pass_with_a_gradient_that_is_a_number(name: str) -> None:
    form, kind, value, step = FORMS[name]
    result, slope, effect, _ = perform(Stable(at(step, kind), form), step, value)
    assert effect.applied and not effect.refused, effect
    assert torch.isfinite(result).all() and torch.isfinite(slope).all(), (result, slope)
    assert effect.deviation < 1e-4
    with pytest.raises((AssertionError, RuntimeError, IndexError, ValueError)):  # the unchanged step fails: the form is needed
        leaf = value.clone().requires_grad_()
        plain = step(leaf * 1.0)
        plain.sum().backward()
        assert leaf.grad is not None and torch.isfinite(plain).all() and torch.isfinite(leaf.grad).all()


def test_a_sample_that_is_padding_throughout_does_not_spoil_attention() -> None:
    attend = nn.MultiheadAttention(4, 2, batch_first=True)
    step: Step = lambda x: attend(x, x, x, key_padding_mask=torch.tensor([[True, True], [False, True]]))[0]  # noqa: E731
    result, slope, effect, _ = perform(Stable(at(step, "softmax"), "safe-softmax"), step, torch.rand(2, 2, 4))
    assert effect.applied and torch.isfinite(result).all() and torch.isfinite(slope).all()
    fused: Step = lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.tensor([[False, False], [True, True]]))  # noqa: E731
    result, slope, effect, _ = perform(Stable(at(fused, "attention"), "safe-softmax"), fused, torch.rand(1, 2, 4))
    assert effect.applied and torch.isfinite(result).all() and not result[0, 0].any()


def test_a_line_that_fits_into_no_alignment_counts_nothing() -> None:
    def step(x: Tensor) -> Tensor:
        return F.ctc_loss(x.log_softmax(2), torch.ones(1, 5, dtype=torch.long), torch.tensor([2]), torch.tensor([5]))

    result, slope, effect, _ = perform(Stable(at(step, "ctc_loss"), "zero-infinity"), step, torch.rand(2, 1, 3))
    assert effect.applied and result == 0 and torch.isfinite(slope).all()


# -- indices and infinities --------------------------------------------------------------------------------------------------------

INDICES: dict[str, tuple[str, int, Step]] = {
    "cross entropy": ("nll_loss", 1, lambda x: F.cross_entropy(x, torch.tensor([0, 7]))),
    "embedding": ("embedding", 1, lambda x: F.embedding(torch.tensor([0, 7]), x)),
    "index": ("index", 2, lambda x: x[torch.tensor([0, 1]), torch.tensor([0, 7])]),
    "gather": ("index", 1, lambda x: x.gather(1, torch.tensor([[0], [7]]))),
    "index_select": ("index", 1, lambda x: torch.index_select(x, 1, torch.tensor([0, 7]))),
    "rows": ("index", 1, lambda x: x[torch.tensor([0, 7])]),
}


@pytest.mark.parametrize("name", INDICES)
def test_labels_are_kept_in_their_range(name: str) -> None:
    kind, operand, step = INDICES[name]
    result, _, effect, _ = perform(Within(at(step, kind), operand, low=0.0, high=1.0), step, SCORES)
    assert effect.applied == 1 and torch.isfinite(result).all()
    with pytest.raises((IndexError, RuntimeError)):
        perform(Within(at(step, kind), operand, low=0.0, high=1.0, others=True), step, SCORES)


def test_infinities_of_all_operands_become_numbers() -> None:
    step: Step = lambda x: x - x.mean(1, keepdim=True)  # noqa: E731
    result, _, effect, _ = perform(Within(at(step, "sub"), -1, low=-1e4, high=1e4), step, MASKED)
    assert effect.applied == 5 and torch.isfinite(result).all()


def test_an_infinite_number_of_the_line_becomes_finite() -> None:
    step: Step = lambda x: x + (1 - torch.ones(3, 3).tril()) * float("-inf")  # noqa: E731
    result, _, effect, _ = perform(Within(at(step, "mul"), -1, low=-1e4, high=1e4), step, torch.ones(3, 3))
    assert effect.applied and torch.isfinite(result).all()


def shares(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=-1, keepdim=True)


def test_a_row_whose_sum_overflowed_is_not_held_against_its_softmax() -> None:
    """88.5 beside 89: over a sum that is infinite it is 0, and a third of the softmax."""
    step: Step = lambda x: shares(torch.exp(x))  # noqa: E731
    scores = torch.tensor([[88.5, 89.0, 87.5], [1.0, 2.0, 3.0]])
    result, slope, effect, _ = perform(Stable(at(step, "exp"), "shifted-softmax"), step, scores)
    assert effect.applied and not effect.refused and torch.allclose(result, torch.softmax(scores, 1))
    assert torch.isfinite(slope).all()


def test_of_rows_and_columns_the_largest_of_all_is_subtracted() -> None:
    step: Step = lambda z: (lambda e: e.diag() / e.sum(1) + e.diag() / e.sum(0))(torch.exp(z))  # noqa: E731
    scores = torch.tensor([[70.0, 1.0, 95.0], [2.0, 90.0, 60.0], [66.0, 71.0, 70.5]])
    one_way = perform(Stable(at(step, "exp"), "shifted-softmax", -1), step, scores)[2]
    result, slope, effect, _ = perform(Stable(at(step, "exp"), "shifted-softmax", whole=True), step, scores)
    assert one_way.refused and effect.applied and not effect.refused
    assert torch.allclose(result.double(), step(scores.double()), rtol=1e-5) and torch.isfinite(slope).all()


# -- formats -----------------------------------------------------------------------------------------------------------------------

HALF = torch.tensor([300.0, 1e-4, 2.0], dtype=torch.float16)


@pytest.mark.parametrize(("step", "fits"), [
    (lambda h: (h * h) / (h * h).sum(), False),
    (lambda h: (h * h).sqrt(), True),
    (lambda h: (h.square() + 1e-3).log(), True),
    (lambda h: (h * h).float().sqrt(), True),
])
def test_a_result_that_its_format_cannot_hold_stays_wide_until_it_fits(step: Step, fits: bool) -> None:
    plain = step(HALF)
    assert not torch.isfinite(plain).all()
    result, slope, effect, _ = perform(Precision("float32", at(step, "")), step, HALF)
    assert effect.applied and torch.isfinite(result).all() and torch.isfinite(slope).all()
    assert (result.dtype is plain.dtype) == fits
    assert torch.allclose(result.float(), step(HALF.float()), rtol=2e-3)


@pytest.mark.parametrize("step", [
    lambda x: x * (x.detach().to(torch.uint8) + 56).float(),
    lambda x: x * (x.detach().to(torch.int16) * 200).sum(),
    lambda x: x * (lambda b: (b.add_(56), b.float())[1])(x.detach().to(torch.uint8)),
])
def test_whole_numbers_stay_wide_where_their_own_format_could_not_hold_them(step: Step) -> None:
    value = torch.tensor([200.0, 3.0, 250.0])
    right = {56.0: value * (value + 56.0), 200.0: value * (value * 200.0).sum()}
    result, _, effect, _ = perform(Precision("int64", at(step, "")), step, value)
    assert effect.applied and effect.changed and any(torch.equal(result, one) for one in right.values())
    assert not any(torch.equal(step(value), one) for one in right.values())


def test_the_whole_step_in_a_wider_format_brings_gradients_that_fit() -> None:
    def step(h: Tensor) -> Tensor:
        return (h.half() * 300.0).float() * 300.0

    leaf = HALF.clone().requires_grad_()
    one = performer(Precision("float32"), given_for())
    with one.entered():
        step(leaf).sum().backward()
    assert leaf.grad is not None and torch.isfinite(leaf.grad).all() and leaf.grad.dtype is torch.float16
    leaf = HALF.clone().requires_grad_()
    step(leaf).sum().backward()
    assert leaf.grad is not None and torch.isinf(leaf.grad).all()


@pytest.mark.parametrize("whole", [False, True])
def test_a_wider_format_holds_against_autocast(whole: bool) -> None:
    """The operands are float32, and autocast makes them float16 inside of the operator."""
    def step(x: Tensor) -> Tensor:
        return torch.log1p((x @ x.T).float())

    leaf = torch.full((3, 4), 200.0, requires_grad=True)
    one = performer(Precision("float32", None if whole else Place("matmul", HERE, line_of(step))), given_for())
    with torch.autocast("cpu", torch.float16):
        assert torch.isinf(step(leaf)).all()
        with one.entered():
            result = step(leaf)
    assert torch.isfinite(result).all() and one.effect().applied


# -- what is left behind -----------------------------------------------------------------------------------------------------------


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient / (ctx.saved_tensors[0] * 0)


def test_the_derivative_of_the_forward_part_takes_the_place_of_a_wrong_one() -> None:
    step: Step = lambda x: Wrong.apply(x)  # noqa: E731
    leaf = ZERO.clone().requires_grad_()
    step(leaf).sum().backward()
    assert leaf.grad is not None and not torch.isfinite(leaf.grad).any()
    one = performer(Backend("own-derivative"), given_for())
    leaf = ZERO.clone().requires_grad_()
    before = torch.autograd.Function.__dict__["apply"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stayfinite.frameworks.torch.interventions.backends.is_user_file", lambda file: file == __file__)
        with one.entered():
            step(leaf).sum().backward()
    assert leaf.grad is not None and torch.allclose(leaf.grad, ZERO.cos()) and one.effect().applied == 1
    assert torch.autograd.Function.__dict__["apply"] is before


@pytest.mark.parametrize("change", [
    Backend("plain-attention"), Backend("deterministic"), Backend("own-derivative"), Precision("float64"),
    Stable(Place("log", HERE, 1, "net"), "log-softmax"), Within(Place("log", HERE, 1), 0, low=0.5),
])
@pytest.mark.parametrize("error", [None, ValueError("the user's")])
def test_nothing_is_left_behind(change: Intervention, error: Exception | None) -> None:
    def found() -> Any:
        return (
            len(_get_current_function_mode_stack()), torch.are_deterministic_algorithms_enabled(),
            torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled(), torch.get_rng_state().tolist(),
            torch.autograd.Function.__dict__["apply"], len(torch.nn.modules.module._global_forward_pre_hooks),
        )

    before, attend, query = found(), nn.MultiheadAttention(4, 2), torch.rand(3, 1, 4)
    torch.set_rng_state(torch.tensor(before[4], dtype=torch.uint8))
    one = performer(change, given_for())
    with pytest.raises(ValueError) if error else one.entered():
        if error is None:
            attend(query, query, query)
        else:
            with one.entered():
                raise error
    assert found() == before


def test_a_change_that_breaks_is_told_and_the_step_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    step: Step = lambda x: x.log()  # noqa: E731
    one = performer(Within(at(step, "log"), 0, low=0.5), given_for())

    def broken(*_: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(one, "_bounded", broken)
    with one.entered():
        assert torch.equal(step(ZERO), ZERO.log())
    assert "ours" in one.effect().refused


def test_the_rest_of_the_step_draws_the_same_numbers() -> None:
    def step(x: Tensor) -> Tensor:
        return F.dropout(x.sqrt(), 0.5) + torch.rand(4)

    for kind in ("sqrt", "dropout", "add"):
        torch.manual_seed(5)
        plain = step(ONES)
        torch.manual_seed(5)
        result, _, effect, _ = perform(Precision("float64", at(step, kind)), step, ONES)
        assert effect.applied and torch.allclose(result, plain)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.data())
def test_elements_of_a_result_belong_to_those_they_were_reduced_from(shape: list[int], data: st.DataObject) -> None:
    chosen = torch.tensor(data.draw(st.lists(st.booleans(), min_size=(n := torch.Size(shape).numel()), max_size=n))).reshape(shape)
    value = torch.ones(shape)
    assert torch.equal(aligned(chosen, value), chosen)  # type: ignore[arg-type]
    axis = data.draw(st.integers(0, len(shape) - 1))
    kept = aligned(chosen, value.sum(axis, keepdim=True))
    assert kept is None or kept.shape == value.sum(axis, keepdim=True).shape
    spread = aligned(chosen, torch.ones(4, *shape))
    assert spread is not None and bool((spread == chosen).all())


def test_a_stable_form_is_predicted_for_the_line_of_the_origin() -> None:
    step: Step = lambda x: (x[:0]).mean()  # noqa: E731
    case = case_of(step, ZERO)
    (predicted,) = stable(case, "mean-over-some")
    assert predicted.change == Stable(at(step, "mean"), "mean-over-some")


def test_what_is_kept_inside_its_domain_for_a_whole_run_is_driven_back_into_it() -> None:
    step: Step = lambda value: torch.log(value)  # noqa: E731
    value, slope, effect, _ = perform(Within(at(step, "log"), 0, low=0.125, passes=True), step, ZERO)
    assert torch.equal(value, ZERO.clamp(min=0.125).log())
    assert torch.equal(slope, 1.0 / ZERO.clamp(min=0.125)) and effect.gradient == "finite"
    _, dead, effect, _ = perform(Within(at(step, "log"), 0, low=0.125), step, ZERO)
    assert dead[2] == 0.0 and effect.gradient == "zero"


def test_whole_numbers_are_left_as_they_are_where_the_gradient_would_have_to_go_on() -> None:
    labels = torch.tensor([0, 5])
    step: Step = lambda value: F.cross_entropy(value, labels, reduction="none")  # noqa: E731
    one = performer(Within(at(step, "cross_entropy"), 1, low=0.0, high=1.0, passes=True), given_for())
    with one.entered(), pytest.raises(IndexError):
        step(torch.zeros(2, 2))
    assert one.effect().applied == 0
