"""Single numbers of a state that lie far beyond all others of their tensor."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from stayfinite.frameworks.torch.outlying import outlying
from stayfinite.frameworks.torch.subjects import Subjects, namer


def subjects() -> Subjects:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(8, 3)).square().sum().backward()
    optimizer.step()
    return Subjects([model], [optimizer], namer({}, {}))


def named(found: Subjects, name: str) -> torch.Tensor:
    tensors = {**{found.parameter_names[id(p)]: p for p in found.parameters}, **{found.buffer_names[id(b)]: b for b in found.buffers}}
    return tensors[name].detach()


def test_an_ordinary_state_has_none() -> None:
    assert outlying(subjects()) == ()


@pytest.mark.parametrize("value", [1e36, -1e36, math.inf, math.nan])
def test_one_number_is_found_with_its_place(value: float) -> None:
    state = subjects()
    named(state, "0.weight")[2, 1] = value
    (leaf,) = outlying(state)
    assert (leaf.kind, leaf.name, leaf.stats.absmax_index) == ("parameter", "0.weight", (2, 1))


def test_many_large_numbers_are_no_bit_that_fell_over() -> None:
    state = subjects()
    named(state, "0.weight").mul_(1e30)
    named(state, "1.running_var")[:2] = 1e20
    assert outlying(state) == ()


def test_the_largest_comes_first_because_the_others_may_have_come_of_it() -> None:
    state = subjects()
    named(state, "0.bias")[1] = 1e30
    named(state, "2.weight")[0, 3] = 1e37
    moments = next(iter(state.optimizers[0].state.values()))
    moments["exp_avg"][0, 0] = 1e33
    found = outlying(state)
    assert [leaf.kind for leaf in found] == ["parameter", "moment", "parameter"]
    assert [leaf.name for leaf in found] == ["2.weight", "exp_avg of 0.weight", "0.bias"]
