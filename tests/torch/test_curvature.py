"""The largest curvature of a loss, and the longest steps that are stable on it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from forkserver import run_cli
from hypothesis import given, settings
from hypothesis import strategies as st

from stayfinite.frameworks.torch.history.curvature import Vector, largest_eigenvalue, limit_of

SGD = [
    {"momentum": 0.0}, {"momentum": 0.5}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.3, "nesterov": True},
    {"momentum": 0.9, "dampening": 0.9}, {"momentum": 0.8, "dampening": 0.5},
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-10.0, 10.0), min_size=2, max_size=6), st.integers(0, 10**6))
def test_the_largest_eigenvalue(values: list[float], seed: int) -> None:
    """Of a symmetric matrix with known ones, whichever is largest in magnitude; its rows are shared out over two tensors."""
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(seed)).double()).Q
    matrix = basis @ torch.diag(torch.tensor(values).double()) @ basis.T

    def times(direction: Vector) -> Vector:
        return list((matrix @ torch.cat(direction)).split([1, len(values) - 1]))

    found = largest_eigenvalue(times, [torch.zeros(1).double(), torch.zeros(len(values) - 1).double()])
    assert math.isclose(found, max(values), rel_tol=0.03, abs_tol=1e-6 * max(map(abs, values)) + 1e-12)


@pytest.mark.parametrize("options", SGD, ids=str)
def test_a_step_is_stable_just_below_the_limit_and_not_just_above(options: dict[str, Any]) -> None:
    limit = limit_of("SGD", {"dampening": 0.0, "nesterov": False, **options})
    assert limit is not None

    def distance(product: float) -> float:
        weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=product / 4.0, **options)
        for _ in range(800):
            optimizer.zero_grad()
            (2.0 * weight * weight).sum().backward()  # curvature 4
            optimizer.step()
        return abs(float(weight.detach()))

    assert distance(0.97 * limit) < 0.1
    assert distance(1.03 * limit) > 10.0


def test_adam_is_an_average_of_gradients_that_are_divided() -> None:
    average = limit_of("SGD", {"momentum": 0.9, "dampening": 0.9, "nesterov": False})
    adam = limit_of("Adam", {"betas": (0.9, 0.999)})
    assert adam is not None and average is not None and math.isclose(adam, average) and math.isclose(adam, 38.0)
    assert limit_of("LBFGS", {}) is None


SCRIPT = """\
import torch
torch.manual_seed(0)
x = torch.randn(64, 5)
y = x @ torch.randn(5, 1)
layer = torch.nn.Linear(5, 1, bias=False)
optimizer = torch.optim.{optimizer}
for step in range(400):
    optimizer.zero_grad()
    loss = ((layer(x) - y) ** 2).{reduction}()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.parametrize(("optimizer", "reduction", "times", "limit"), [
    ("SGD(layer.parameters(), lr=1.5)", "mean", 1.5 / 64, 2.0),
    ("SGD(layer.parameters(), lr=0.1, momentum=0.5)", "sum", 0.1, 3.0),
])
def test_a_run_says_how_sharp_it_was_before_it_grew(
    tmp_path: Path, optimizer: str, reduction: str, times: float, limit: float
) -> None:
    """The Hessian of a linear regression is known: twice the moments of the data."""
    (tmp_path / "train.py").write_text(SCRIPT.format(optimizer=optimizer, reduction=reduction))
    run_cli(["run", "--quiet", "--report", "out", "train.py"], tmp_path)
    causes = json.loads(next(tmp_path.rglob("report.json")).read_text())["incidents"][-1]["causes"]
    assert causes[0]["cause"] == "learning-rate-too-high"
    claim = next(e["claim"] for e in causes[0]["evidence"] if e["fact"] == "sharpness")
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    expected = times * float(torch.linalg.eigvalsh(2.0 * x.T @ x).max())
    told = float(claim.partition("was ")[2].partition(";")[0])
    assert math.isclose(told, expected, rel_tol=0.05) and claim.endswith(f"up to {limit:g}")
