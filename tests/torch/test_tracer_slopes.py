"""Slopes that are not finite where the value is, and selections that hide them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from tracing import check, marked_line, some, train

from stayfinite.catalog.clues import incoming_gradient, masked_later
from stayfinite.records.incident import Case, Symptom

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Slope(nn.Module):
    """A function with a slope that is infinite at zero, applied to squared differences that may vanish."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        d = x * self.head(x)
        if self.kind == "pow":
            return d.abs() ** 0.5  # <- pow
        if self.kind == "root of a sum":
            return d.square().sum(1).sqrt()  # <- sqrt
        if self.kind == "cosine":
            return torch.acos(1 - d.square())  # <- acos
        return torch.rsqrt(d.square() + 1e-45).clamp(max=10.0)  # <- rsqrt


@pytest.mark.parametrize(("kind", "op"), [("pow", "pow"), ("root of a sum", "sqrt"), ("cosine", "acos")])
def test_singular_slopes(kind: str, op: str) -> None:
    x = some()
    x[3] = 0
    check(
        train(Slope(kind), x, torch.sum),
        Slope,
        "backward",
        op,
        module="Slope",
        samples=(3,),
        detector="nonfinite-gradient",
        mark=f"# <- {op}",
    )


def test_the_deviation_of_one_element() -> None:
    class Deviation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x).std(dim=1)  # <- origin

    origin = check(train(Deviation(), some(), torch.sum), Deviation, "forward", "std", module="Deviation")
    assert origin.inputs[0].shape == (8, 1)


@pytest.mark.parametrize("harmless", ["norm", "std", "cdist"])
def test_slopes_that_torch_masks_itself_are_no_incident(harmless: str) -> None:
    class Masks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.head(x) * 0
            return {"norm": lambda: h.norm(dim=1), "std": lambda: h.std(dim=1), "cdist": lambda: torch.cdist(h, h)}[
                harmless
            ]()

    traced = train(Masks(), some(), torch.sum)
    assert traced.trace.sinks == ()


@pytest.mark.parametrize("kind", ["masked_fill", "index", "multiply"])
def test_other_ways_to_hide_a_bad_slope(kind: str) -> None:
    class Trap(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            p = x * self.head(x).sigmoid()
            q = torch.sqrt(p) if kind == "multiply" else torch.log(p)  # <- origin
            if kind == "masked_fill":
                return q.masked_fill(p == 0, 0.0)  # <- masked_fill
            if kind == "index":
                return q[p > 0]  # <- index
            return q * (p > 0)  # <- multiply

    x = some()
    x[2, 3] = 0
    op = "sqrt" if kind == "multiply" else "log"
    origin = check(
        train(Trap(), x, torch.sum), Trap, "backward", op, module="Trap", samples=(2,), detector="nonfinite-gradient"
    )
    assert origin.absorbed_at is not None
    assert origin.absorbed_at.line == marked_line(Trap, f"# <- {kind}")


@pytest.mark.parametrize("kind", ["reciprocal", "division"])
def test_a_trap_whose_infinity_comes_back_through_a_saved_result(kind: str) -> None:
    class Saved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            d = x * self.head(x).sigmoid()
            inverse = d.reciprocal() if kind == "reciprocal" else d / d  # <- origin
            return torch.where(d > 0, inverse, 0.0)  # <- absorbed

    x = some()
    x[2, 3] = 0
    op = "reciprocal" if kind == "reciprocal" else "div"
    origin = check(
        train(Saved(), x, torch.sum), Saved, "backward", op, module="Saved", samples=(2,), detector="nonfinite-gradient"
    )
    assert origin.absorbed_at is not None and origin.absorbed_at.line == marked_line(Saved, "# <- absorbed")


def test_a_power_whose_result_is_thrown_away_is_met_by_an_exact_zero() -> None:
    """Its slope is made first, times the exponent, and then multiplied with what arrives: the selection is two products away."""
    class Shrunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            size = (x * self.head(x)).abs()
            root = size ** 0.3  # <- origin
            return torch.where(size > 0, root, size)

    x = some()
    x[3] = 0
    traced = train(Shrunk(), x, torch.sum)
    origin = check(traced, Shrunk, "backward", "pow", module="Shrunk", samples=(3,), detector="nonfinite-gradient")
    case = Case(Symptom("nonfinite-gradient", 0, "gradient", "nan"), origin=origin, trace=traced.trace)
    assert incoming_gradient(case) == 0.0 and masked_later(case)
