"""Values that were bad before the step computed anything, and what they are called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from tracing import Traced, marked_line, place, some, trace_step

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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
    place(number_in_between(), number_in_between, "loss", "div")


def test_the_names_a_caller_gives() -> None:
    net, x = nn.Linear(4, 1), some()
    with torch.no_grad():
        net.weight.fill_(float("nan"))
    names = {id(net.weight): "critic.weight"}
    origin = trace_step(lambda: net(x).sum().backward(), [net], {"x": x}, names=names).origin().origin
    assert origin is not None and origin.parameter == "critic.weight"


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

    origin = (
        trace_step(step, [net] if modules else [], optimizers=[torch.optim.SGD([w], 0.1)], late=late).origin().origin
    )
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
        torch.log(x @ w).sum().backward()  # <- origin

    traced = trace_step(step, optimizers=[torch.optim.SGD([w], 0.1)], late=late)
    assert place(traced, test_rows_of_a_batch_that_is_fetched_inside_the_step, "loss", "log").samples == (5,)
    assert traced.batch_size == 8


def missing_labels() -> Traced:
    net, x, y = nn.Linear(4, 1), some(), torch.zeros(8, 1)
    y[4] = float("nan")

    def step() -> None:
        error = (net(x) - y) ** 2  # <- origin
        torch.where(y.isnan(), 0.0, error).mean().backward()  # <- absorbed

    return trace_step(step, [net], {"x": x, "y": y})


def test_missing_labels_that_where_hides_come_back() -> None:
    origin = place(missing_labels(), missing_labels, "data", "input", "nonfinite-gradient")
    assert (origin.inputs[0].name, origin.samples) == ("y", (4,))
    assert origin.absorbed_at is not None and origin.absorbed_at.line == marked_line(missing_labels, "# <- absorbed")
