"""Interventions on the batch, the state and the terms of a step, performed on real small steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stayfinite.frameworks.torch.interventions.living import Living
from stayfinite.frameworks.torch.interventions.performing import Given, Performer, performer
from stayfinite.frameworks.torch.passes import Window
from stayfinite.frameworks.torch.subjects import Subjects, namer
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.records.intervention import (
    Damped,
    Intervention,
    Joined,
    Place,
    Rows,
    Scaled,
    State,
    Term,
    Values,
    Within,
)

SIZE = 6
BAD = 2


def given_for(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, **named: Any) -> Given:
    """What a repetition would hand to a performer of a step that trains `model`."""
    subjects = Subjects([model], [optimizer] if optimizer is not None else [], namer({}, {}))

    def name(tensor: Tensor) -> str:
        return subjects.parameter_names.get(id(tensor), "")

    return Given(Window([]), subjects, Frames(lambda file: True, lambda file: file), name, named)


def perform(intervention: Intervention, given: Given, step: Callable[[], Any]) -> tuple[Any, Performer]:
    """The result of `step` under `intervention`."""
    one = performer(intervention, given)
    one.begin()
    with one.entered():
        result = step()
    return result, one


def linear(width: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(width, 1)


def data(*shape: int) -> Tensor:
    """Numbers that all differ; those of row `BAD` are NaN."""
    values = torch.arange(float(np.prod(shape))).reshape(shape)
    values[BAD] = float("nan")
    return values


@dataclass
class Batch:
    x: Tensor
    y: Tensor


class Held:
    def __init__(self, x: Tensor) -> None:
        self.batch = {"x": x}


Way = Callable[[Tensor], tuple[Callable[[nn.Module], Tensor], Any]]


def _table(x: Tensor) -> tuple[Tensor, Tensor]:
    """A table of thirty rows, and where those of `x` stand in it."""
    table = torch.ones(30, x.shape[1])
    rows = torch.tensor([3, 9, 12, 13, 20, 29])
    table[rows] = x
    return table, rows


def _by_name(x: Tensor) -> Any:
    return lambda model: model(x)


def _by_dataclass(x: Tensor) -> Any:
    batch = Batch(x, x[:, 0].clone())
    return lambda model: model(batch.x)


def _by_attribute(x: Tensor) -> Any:
    held = Held(x)
    return lambda model: model(held.batch["x"])


def _by_tuple(x: Tensor) -> Any:
    pair = (x, {"mask": torch.ones(SIZE)})
    return lambda model: model(pair[0]) * pair[1]["mask"][:, None]


def _by_index(x: Tensor) -> Any:
    table, rows = _table(x)
    return lambda model: model(table[rows])


def _by_index_made_inside(x: Tensor) -> Any:
    table, rows = _table(x)
    return lambda model: model(table[torch.tensor(rows.tolist())])


def _by_slice(x: Tensor) -> Any:
    table = torch.cat([torch.ones(7, x.shape[1]), x, torch.ones(9, x.shape[1])])
    return lambda model: model(table[7 : 7 + SIZE])


def _by_index_select(x: Tensor) -> Any:
    table, rows = _table(x)
    return lambda model: model(table.index_select(0, rows))


def _by_array(x: Tensor) -> Any:
    array = x.numpy().astype(np.float64)
    return lambda model: model(torch.from_numpy(array).float())


def _by_array_of_a_table(x: Tensor) -> Any:
    table, rows = _table(x)
    array = table.numpy().astype(np.float64)
    return lambda model: model(torch.tensor(array[rows.numpy()], dtype=torch.float32))


def _by_array_scaled(x: Tensor) -> Any:
    table, rows = _table(x)
    array = table.numpy()
    return lambda model: model(torch.as_tensor(array[rows.numpy()] * 2.0 - 1.0))


def _by_stack(x: Tensor) -> Any:
    table, rows = _table(x)
    return lambda model: model(torch.stack([table[int(row)] for row in rows]))


def _by_lists(x: Tensor) -> Any:
    lists = x.tolist()
    return lambda model: model(torch.tensor([[2.0 * value for value in row] for row in lists]))


def _by_scaling_in_the_step(x: Tensor) -> Any:
    table, rows = _table(x)
    return lambda model: model(((table - 0.5) / 2.0)[rows][:, :3].contiguous())


WAYS = [value for name, value in list(globals().items()) if name.startswith("_by_")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_samples_are_replaced_wherever_the_batch_comes_from(way: Callable[[Tensor], Any]) -> None:
    x = data(SIZE, 3)
    before = x.clone()
    step, model = way(x), linear()
    plain = step(model)
    result, one = perform(Rows((BAD,), SIZE), given_for(model, x=x), lambda: step(model))
    effect = one.effect()
    assert not effect.refused and effect.applied > 0
    assert torch.isfinite(result).all()
    kept = [row for row in range(SIZE) if row != BAD]
    assert torch.equal(result[kept], plain[kept])
    assert any(torch.equal(result[BAD], plain[row]) for row in kept)
    assert torch.equal(x.nan_to_num(7.0), before.nan_to_num(7.0))
    assert torch.equal(step(model).nan_to_num(7.0), plain.nan_to_num(7.0))


def test_a_sequence_first_batch_is_replaced_along_its_second_dimension() -> None:
    torch.manual_seed(0)
    model = nn.GRU(3, 4)
    x = torch.randn(5, SIZE, 3)
    x[1, BAD] = float("nan")
    result, one = perform(Rows((BAD,), SIZE), given_for(model), lambda: model(x)[0])
    assert one.effect().applied > 0 and result.shape == (5, SIZE, 4) and torch.isfinite(result).all()


def test_lists_of_samples_that_next_gives_are_replaced_too() -> None:
    boxes = [torch.full((row + 1, 4), float("nan") if row == BAD else 1.0) for row in range(SIZE)]
    one = performer(Rows((BAD,), SIZE), given_for(linear()))
    _, items = one.rebind({}, [("item", [torch.ones(SIZE, 3), boxes]), ("error", StopIteration())])
    images, changed = items[0][1]
    assert images.shape == (SIZE, 3) and len(changed) == SIZE
    assert all(torch.isfinite(box).all() for box in changed) and torch.isnan(boxes[BAD]).all()
    assert isinstance(items[1][1], StopIteration)


def test_graphs_that_lie_one_after_the_other_cannot_be_exchanged() -> None:
    given = given_for(linear())
    members = torch.tensor([0, 0, 0, 1, 2, 2])
    item = {"nodes": torch.ones(6, 3), "graph": members, "y": torch.ones(3)}
    one_pass = type("One", (), {"items": [("item", item)]})()
    given.window.passes.append(one_pass)  # type: ignore[arg-type]
    one = performer(Rows((1,), 3), given)
    assert "of different sizes" in one.refused


def test_what_belongs_to_the_training_is_no_data() -> None:
    """Weights, moments and gradients with as many rows as the batch stay what they are."""
    torch.manual_seed(0)
    model = nn.Linear(3, SIZE)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    x = torch.randn(SIZE, 3)

    def step() -> list[Tensor]:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        return [p.detach().clone() for p in model.parameters()]

    start = {name: value.clone() for name, value in model.state_dict().items()}
    x[BAD] = x[0]
    wanted = step()
    model.load_state_dict(start)
    optimizer.state.clear()
    x[BAD] = 55.0
    given = given_for(model, optimizer)
    one = performer(Rows((BAD,), SIZE), given)
    with one.entered():
        optimizer.zero_grad()
        model(x).square().mean().backward()
        one.before_step(optimizer)
        optimizer.step()
        one.after_step(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(wanted, model.parameters(), strict=True))
    assert float(x[BAD, 0]) == 55.0


def test_a_batch_that_takes_a_gradient_takes_it_in_its_place() -> None:
    """Physics-informed losses differentiate by the points themselves."""
    model = linear()
    x = data(SIZE, 3).requires_grad_()

    def step() -> Tensor:
        return torch.autograd.grad(model(x).square().sum(), x)[0]

    result, one = perform(Rows((BAD,), SIZE), given_for(model), step)
    assert one.effect().applied > 0 and torch.isfinite(result).all() and x.grad is None


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_values_of_a_named_tensor_are_filled_wherever_it_is_made(way: Callable[[Tensor], Any]) -> None:
    x = data(SIZE, 3)
    step, model = way(x), linear()
    if way in (_by_array_scaled, _by_lists, _by_scaling_in_the_step):
        pytest.skip("the step itself computes what it is given: nothing of that name and content is handed to a function")
    result, one = perform(Values("x", "filled"), given_for(model, x=x), lambda: step(model))
    assert one.effect().applied > 0 and torch.isfinite(result).all() and torch.isnan(x[BAD]).all()
    result, one = perform(Values("x", "filled", others=True), given_for(model, x=x), lambda: step(model))
    assert one.effect().applied > 0 and torch.isnan(result[BAD]).all()


def test_what_has_no_name_of_its_own_is_met_where_models_are_given_it() -> None:
    table, model = data(3 * SIZE, 3), linear()
    rows = torch.arange(SIZE)
    step = lambda: model(table[rows])  # noqa: E731
    assert torch.isnan(step()[BAD]).all()
    result, one = perform(Values("input", "filled"), given_for(model, table=table), step)
    assert one.effect().applied > 0 and not one.effect().refused and torch.isfinite(result).all()
    _, one = perform(Values("reading", "filled"), given_for(model, table=table), step)
    assert "`reading` is no name" in one.effect().refused


def test_filled_takes_the_mean_of_what_is_left_of_a_column() -> None:
    x = torch.tensor([[1.0, 1e20], [3.0, 2.0], [float("nan"), 6.0]])
    seen, _ = perform(Values("x", "filled", above=1e19), given_for(linear(), x=x), lambda: x + 0.0)
    assert torch.equal(seen, torch.tensor([[1.0, 4.0], [3.0, 2.0], [2.0, 6.0]]))


def test_standardised_columns_and_their_placebo() -> None:
    x = torch.tensor([[1e4, 5.0], [3e4, 5.0], [5e4, 5.0]])
    seen, _ = perform(Values("x", "standardised"), given_for(linear(), x=x), lambda: x + 0.0)
    assert torch.allclose(seen.mean(0), torch.zeros(2), atol=1e-6) and torch.allclose(seen[:, 0].std(correction=0), torch.ones(()))
    seen, _ = perform(Values("x", "standardised", others=True), given_for(linear(), x=x), lambda: x + 0.0)
    assert not torch.equal(seen, x) and torch.equal(seen.sort(0).values, x.sort(0).values)


def test_values_of_what_models_are_given_without_a_name() -> None:
    model = linear()
    x = data(SIZE, 3)
    result, one = perform(Values("", "filled"), given_for(model), lambda: model(x * 1.0))
    assert one.effect().applied == 1 and torch.isfinite(result).all()
    assert torch.isnan(model(x)[BAD]).all()


def test_a_name_that_nobody_has_is_refused_in_words() -> None:
    one = performer(Values("nothing", "filled"), given_for(linear()))
    assert "`nothing`" in one.effect().refused


# -- state ---------------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))


def restated(intervention: State, given: Given) -> Performer:
    """The performer of `intervention` after it changed the state."""
    one = performer(intervention, given)
    one.begin()
    with one.entered():
        one.rebind({}, [])
    return one


def test_mended_parameters_are_those_of_a_fresh_layer_where_they_were_bad() -> None:
    model = network()
    weight = model.get_parameter("0.weight")
    before = weight.detach().clone()
    with torch.no_grad():
        weight[1] = float("nan")
    one = restated(State("parameters", "mended", ("0.weight",)), given_for(model))
    bound = 1.0 / 3.0**0.5
    assert one.effect().applied == 3 and torch.isfinite(weight).all() and float(weight.detach().abs().max()) <= bound
    assert torch.equal(weight[[0, 2, 3]], before[[0, 2, 3]]) and float(weight[1].detach().abs().min()) > 0


def test_the_placebo_of_mending_touches_as_many_others_and_leaves_the_bad_ones() -> None:
    model = network()
    weight = model.get_parameter("0.weight")
    with torch.no_grad():
        weight[1] = float("nan")
    others = {name: value.clone() for name, value in model.state_dict().items() if name != "0.weight" and value.is_floating_point()}
    one = restated(State("parameters", "mended", ("0.weight",), others=True), given_for(model))
    assert one.effect().applied == 3 and torch.isnan(weight[1]).all()
    now = model.state_dict()
    # a buffer that is as it begins may be set to what it is
    assert sum(int((now[name] != value).sum()) for name, value in others.items()) <= 3


def test_mended_buffers_take_what_a_fresh_layer_measures() -> None:
    model = network()
    norm = model.get_submodule("1")
    norm.running_mean[2], norm.running_var[0] = float("inf"), -0.5
    restated(State("buffers", "mended"), given_for(model))
    assert torch.equal(norm.running_mean, torch.zeros(4)) and torch.equal(norm.running_var, torch.ones(4))


def test_a_buffer_that_was_assigned_anew_is_mended_in_a_copy() -> None:
    """No snapshot has the new tensor, so it must not be written."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Module())
    model[1].register_buffer("centre", torch.zeros(3))
    given = given_for(model)
    model[1].centre = assigned = torch.tensor([1.0, float("nan"), 3.0])
    one = performer(State("buffers", "mended", ("1.centre",)), given)
    one.begin()
    with one.entered():
        one.rebind({}, [])
        assert torch.equal(model[1].centre, torch.tensor([1.0, 2.0, 3.0])) and one.effect().applied == 1
    assert model[1].centre is assigned and bool(assigned.isnan()[1])


def test_weights_that_were_divided_by_an_infinity_are_mended_as_a_whole() -> None:
    model = nn.Module()
    model.register_buffer("weight", torch.tensor([0.0, float("nan"), 0.0]))
    restated(State("buffers", "mended"), given_for(model))
    assert torch.equal(model.weight, torch.ones(3))


def test_mended_moments_are_those_of_a_fresh_optimizer() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    state = optimizer.state[model.get_parameter("3.weight")]
    state["exp_avg"][0, 1] = float("nan")
    kept = state["exp_avg"].clone()
    one = restated(State("moments", "mended", ("exp_avg of 3.weight",)), given_for(model, optimizer))
    assert one.effect().applied == 1 and float(state["exp_avg"][0, 1]) == 0.0
    assert torch.equal(state["exp_avg"][0, 2:], kept[0, 2:])


@pytest.mark.parametrize(("how", "largest"), [("redrawn", 0.6), ("scaled-draw", 3.0)])
def test_weights_drawn_anew_have_the_size_of_a_layer(how: Any, largest: float) -> None:
    model = network()
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(1e20)
    one = restated(State("parameters", how, ("0.weight",)), given_for(model))
    assert one.effect().applied == 12 and float(model.get_parameter("0.weight").detach().abs().max()) < largest


def test_shuffled_weights_are_the_same_numbers_elsewhere() -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    restated(State("parameters", "shuffled"), given_for(model))
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old.reshape(-1).sort().values, new.detach().reshape(-1).sort().values)
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_gradients_are_cleared_before_each_of_several_steps() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(5, 3)
    model(x).sum().backward()
    one = performer(State("gradients", "zeroed"), given_for(model, optimizer))
    one.rebind({}, [])
    assert one.effect().applied > 0 and not any(p.grad.any() for p in model.parameters() if p.grad is not None)
    model(x).sum().backward()
    one.before_step(optimizer)
    one.after_step(optimizer)
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("how", ["frozen", "thawed"])
def test_frozen_and_thawed_parameters_are_as_before_afterwards(how: Any) -> None:
    model = network()
    weight = model.get_parameter("0.weight").requires_grad_(how == "frozen")
    one = performer(State("parameters", how, ("0.weight",)), given_for(model))
    with one.entered():
        model(torch.randn(5, 3)).sum().backward()
    assert (weight.grad is None) == (how == "frozen") and weight.requires_grad == (how == "frozen")
    assert one.effect().applied == 1


def test_a_state_that_is_not_there_is_refused_in_words() -> None:
    one = restated(State("parameters", "mended", ("nothing",)), given_for(network()))
    assert "`nothing`" in one.effect().refused


# -- terms ---------------------------------------------------------------------------------------------------------


def two_terms(model: nn.Module, x: Tensor) -> Tensor:
    """A loss of two terms."""
    fit = model(x).square().mean()
    return fit + 100.0 * model(x).abs().sum()


def _line_of(text: str) -> int:
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if text in line)


@pytest.mark.parametrize(("expression", "text"), [
    ("model(x).square().mean()", "fit = model(x).square().mean()"), ("model(x).abs().sum()", "100.0 * model(x).abs().sum()"),
])
def test_a_term_is_left_out_with_its_gradient(expression: str, text: str) -> None:
    model, x = linear(), torch.randn(5, 3)
    kind = "mean" if "mean" in expression else "sum"
    term = Term(Place(kind, __file__, _line_of(text)), expression, expression)
    loss, one = perform(term, given_for(model), lambda: two_terms(model, x))
    assert one.effect().applied == 1
    rest = 100.0 * model(x).abs().sum() if kind == "mean" else model(x).square().mean()
    wanted = torch.autograd.grad(rest, list(model.parameters()))
    found = torch.autograd.grad(loss, list(model.parameters()))
    assert torch.allclose(loss, rest) and all(torch.allclose(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_loss_that_is_nothing_else_can_go_backward_without_it() -> None:
    """A penalty is switched on later: until then the other term is all there is."""
    model, x = linear(), torch.randn(5, 3)

    def step() -> Tensor:
        return model(x).square().amax()

    term = Term(Place("max", __file__, _line_of("return model(x).square().amax()")), "fit")
    loss, one = perform(term, given_for(model), step)
    loss += 0.0
    loss.backward()
    assert one.effect().applied == 1 and float(loss.detach()) == 0.0 and all(p.grad is None for p in model.parameters())


def test_of_two_terms_on_one_line_the_expression_tells_which() -> None:
    model, x = linear(), torch.randn(5, 3)

    def step() -> Tensor:
        return model(x).square().sum() + 3.0 * model(x).abs().sum()

    line = _line_of("return model(x).square().sum() + 3.0")
    term = Term(Place("sum", __file__, line), "b", "model(x).abs().sum()")
    loss, one = perform(term, given_for(model), step)
    assert one.effect().applied == 1 and torch.equal(loss, model(x).square().sum())
    loss, one = perform(msgspec.structs.replace(term, weight=0.01), given_for(model), step)
    assert one.effect().applied == 1 and torch.allclose(loss, model(x).square().sum() + 0.03 * model(x).abs().sum())


def test_a_closure_that_an_optimizer_calls_is_part_of_the_step() -> None:
    model, x = linear(), data(SIZE, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    one = performer(Rows((BAD,), SIZE), given_for(model, optimizer))
    with one.entered():
        one.before_step(optimizer)
        loss = optimizer.step(closure)
        one.after_step(optimizer)
    assert torch.isfinite(loss) and all(torch.isfinite(p).all() for p in model.parameters())


def test_an_operand_kept_inside_its_domain_stays_so_for_later_operators() -> None:
    var = torch.tensor([0.0, 0.5, 2.0], requires_grad=True)

    def step() -> Tensor:
        error = torch.ones(3)
        return (torch.log(var) + error / var).sum()

    line = step.__code__.co_firstlineno + 2
    loss, one = perform(Within(Place("log", __file__, line), 0, low=1e-6), given_for(linear()), step)
    assert one.applied == 1 and bool(torch.isfinite(loss))
    loss.backward()
    assert var.grad is not None and bool(torch.isfinite(var.grad).all()) and var.grad[0] == 0.0
    assert one.effect().gradient == "zero"  # a diagnosis, and no cure
    untouched = step()
    assert not bool(torch.isfinite(untouched))


# -- operands, gradients and the graph -------------------------------------------------------------------------------


def flat(model: nn.Module, x: Tensor) -> Tensor:
    return torch.tanh(1e3 * model(x)).sum()  # flat


def _slope(step: Callable[[], Tensor], parameters: list[Tensor]) -> float:
    gradients = torch.autograd.grad(step(), parameters, allow_unused=True)
    return max(float(g.abs().max()) for g in gradients if g is not None)


def test_an_operand_in_the_middle_of_its_range_lets_the_gradient_through() -> None:
    model, x = linear(), torch.randn(40, 3)
    given, place = given_for(model), Place("tanh", __file__, _line_of("# flat"))
    parameters = [*model.parameters()]

    def slope_under(intervention: Intervention) -> tuple[float, Performer]:
        found, one = perform(intervention, given, lambda: _slope(lambda: flat(model, x), parameters))
        return float(found), one

    scaled, one = slope_under(Scaled(place))
    assert one.effect().applied == 40
    turned, one = slope_under(Scaled(place, others=True))
    assert one.effect().applied == 40
    assert scaled > 0.1 and turned < 1e-3 * scaled


@pytest.mark.parametrize("shape", [(40, 3), (6, 3, 4, 4), (40, 5, 3)])
def test_each_unit_is_scaled_over_the_batch_for_itself(shape: tuple[int, ...]) -> None:
    """Units that differ by their biases and hardly over the samples: a common deviation leaves their slopes as small as they were."""
    x = torch.randn(shape, dtype=torch.float64)
    units = 1 if len(shape) == 4 else len(shape) - 1
    apart = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64).reshape([3 if axis == units else 1 for axis in range(len(shape))])
    over = [axis for axis in range(len(shape)) if axis != units]

    def step() -> Tensor:
        return torch.tanh(apart + 1e-4 * x)  # slopes

    place = Place("tanh", __file__, _line_of("# slopes"))
    common, _ = perform(Scaled(place), given_for(linear()), step)
    alone, one = perform(Scaled(place, each=True), given_for(linear()), step)
    assert one.effect().applied == x.numel()
    assert float(common.std(over).max()) < 1e-3 and float(alone.std(over).min()) > 0.3


def grown(x: Tensor, w: Tensor) -> Tensor:
    for _ in range(60):
        x = x * w  # grows
    return x.sum()


def test_gradients_through_one_line_do_not_grow_beyond_the_limit() -> None:
    w = torch.tensor([10.0])
    place = Place("mul", __file__, _line_of("# grows"))
    start = torch.ones(1, requires_grad=True)

    def step() -> Tensor:
        return torch.autograd.grad(grown(start, w), start)[0]

    assert torch.isinf(step()).all()
    found, one = perform(Damped(place, 1e3), given_for(linear()), step)
    assert one.effect().applied == 60
    assert 1e3 <= float(found) <= 1e4 * 1.01  # the first factor still multiplies what the limit let through


@pytest.mark.parametrize("line", ["cut = model(x).detach()", "cut = model(x).data"])
def test_what_is_detached_stays_in_the_graph(line: str) -> None:
    model, x = linear(), torch.randn(5, 3)
    given = given_for(model)

    def by_method() -> Tensor:
        cut = model(x).detach()
        return cut

    def by_attribute() -> Tensor:
        cut = model(x).data
        return cut

    step = by_method if "detach" in line else by_attribute
    result, one = perform(Joined(Place("detach", __file__, _line_of(f"        {line}"))), given, step)
    assert one.effect().applied == 1 and result.requires_grad and not step().requires_grad


def test_parameters_that_no_optimizer_has_are_given_to_one_for_the_step() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.get_submodule("0").parameters(), lr=0.1)
    head = model.get_parameter("3.weight")
    before = head.detach().clone()
    one = performer(State("parameters", "adopted", ("3.weight",)), given_for(model, optimizer))
    with one.entered():
        model(torch.randn(5, 3)).sum().backward()
        optimizer.step()
    assert one.effect().applied == 1 and not torch.equal(head, before)
    assert len(optimizer.param_groups) == 1 and all(p is not head for p in optimizer.param_groups[0]["params"])


def test_gradients_are_kept_over_what_a_step_does_to_them() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one = performer(State("gradients", "kept"), given_for(model, optimizer))
    with one.entered():
        model(torch.randn(5, 3)).sum().backward()
        delivered = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        optimizer.zero_grad()
        one.before_step(optimizer)
    assert all(p.grad is not None and torch.equal(p.grad, d) for p, d in zip(model.parameters(), delivered, strict=True))
    model(torch.randn(5, 3)).sum().backward()  # the hooks are gone
    assert len(one._delivered) == len(delivered)  # type: ignore[attr-defined]


class Seen(nn.Module):
    """Notes the mean of what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.means: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        self.means.append(float(x.mean()))
        return x


@pytest.mark.parametrize("cut_in_the_pass", [True, False])
def test_a_run_changes_the_batch_of_each_pass_and_not_what_is_left_of_the_last(cut_in_the_pass: bool) -> None:
    table, model = torch.arange(24.0).reshape(8, 3), Seen()
    given = given_for(model)
    living = Living([Values("x", "standardised")], lambda tensor: "", lambda file: file)
    for rows in torch.arange(8).split(4):
        if not cut_in_the_pass:
            x = table[rows]
        with living.around(_scene(given, cut_in_the_pass)):
            if cut_in_the_pass:
                x = table[rows]
            model(x)
    living.close()
    assert model.means == pytest.approx([0.0, 0.0], abs=1e-6)


def _scene(given: Any, bound: bool) -> Any:
    """The caller's frame as that of a pass, which may bind ``x`` itself."""
    block = SimpleNamespace(bound=frozenset({"x"} if bound else ()))
    return SimpleNamespace(frame=sys._getframe(1), window=given.window, subjects=given.subjects, block=block)


def test_a_batch_of_the_loops_header_that_came_back_as_another_object_is_still_the_batch() -> None:
    model = Seen()
    given = given_for(model)
    living = Living([Values("price", "standardised")], lambda tensor: "", lambda file: file)
    for price in torch.arange(24.0).reshape(2, 4, 3):
        for _ in range(2):
            with living.around(_scene(given, False)):
                model(price)
                price = price.clone()  # as after a repetition of the pass
            assert not living.refused
    living.close()
    assert model.means == pytest.approx([0.0] * 4, abs=1e-6)


def test_levelled_columns_have_nothing_to_tell() -> None:
    x = torch.tensor([[[1.0, 1e20, 4.0], [3.0, float("nan"), 5.0]], [[2.0, 1e20, 6.0], [2.0, 1e20, 7.0]]])
    seen, one = perform(Values("x", "levelled", columns=(0, 1)), given_for(linear(), x=x), lambda: x + 0.0)
    assert torch.equal(seen[..., 0], torch.full((2, 2), 2.0)) and torch.allclose(seen[..., 1], torch.full((2, 2), 1e20))
    assert torch.equal(seen[..., 2], x[..., 2]) and one.effect().applied > 0
    _, one = perform(Values("x", "levelled", columns=(3,)), given_for(linear(), x=x), lambda: x + 0.0)
    assert not one.effect().applied
