"""What the vocabulary of operators says, against what torch computes."""

from __future__ import annotations

import math

import pytest
import torch

from stayfinite.catalog.dtypes import DTYPES, dtype_facts
from stayfinite.catalog.ops import KINDS, op_kind, power_in_domain, power_is_singular, power_limit

UNARY = {
    "log": torch.log, "log1p": torch.log1p, "logit": torch.logit, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt,
    "acos": torch.acos, "asin": torch.asin, "acosh": torch.acosh, "atanh": torch.atanh, "reciprocal": torch.reciprocal,
    "lgamma": torch.lgamma, "digamma": torch.digamma, "erfinv": torch.erfinv,
}
GROWING = {"exp": torch.exp, "exp2": torch.exp2, "sinh": torch.sinh, "cosh": torch.cosh}
POINTS = (-2.5, -2.0, -1.5, -1.0, -0.5, -1e-3, 0.0, 1e-3, 0.5, 1.0, 1.5, 2.0, 30.0)


@pytest.mark.parametrize("name", DTYPES)
def test_formats(name: str) -> None:
    facts, real = DTYPES[name], torch.finfo(getattr(torch, name))
    assert facts.largest == real.max
    assert facts.smallest_normal == real.smallest_normal
    assert facts.epsilon == real.eps
    assert facts.bits == real.bits
    smallest = torch.tensor(facts.smallest, dtype=torch.float64).to(getattr(torch, name))
    assert float(smallest) == facts.smallest
    assert float(torch.tensor(facts.smallest / 2.0, dtype=torch.float64).to(getattr(torch, name))) == 0.0


def test_formats_by_other_names() -> None:
    assert dtype_facts("complex64") is DTYPES["float32"]
    assert dtype_facts("int64") is None


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("x", POINTS)
def test_domains(name: str, x: float) -> None:
    value = UNARY[name](torch.tensor(x, dtype=torch.float64))
    assert KINDS[name].in_domain(x) is bool(torch.isfinite(value)), float(value)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("x", POINTS)
def test_singular_slopes(name: str, x: float) -> None:
    if not KINDS[name].in_domain(x) and not KINDS[name].singular(x):
        return
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    UNARY[name](point).backward()
    assert point.grad is not None
    # a pole that is met through rounding gives a huge number on some builds and an infinity on others
    finite = bool(torch.isfinite(point.grad)) and abs(float(point.grad)) < 1e30
    assert KINDS[name].singular(x) is not finite, float(point.grad)


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_overflow_limits(name: str, dtype: str) -> None:
    limit = KINDS[name].overflow_limit(dtype)
    just_below = torch.tensor(limit * 0.999, dtype=getattr(torch, dtype))
    just_above = torch.tensor(limit * 1.001, dtype=getattr(torch, dtype))
    assert bool(torch.isfinite(GROWING[name](just_below)))
    assert not bool(torch.isfinite(GROWING[name](just_above)))


@pytest.mark.parametrize(
    ("dtype", "limit"), [("float16", 11.09), ("bfloat16", 88.72), ("float32", 88.72), ("float64", 709.78)]
)
def test_the_famous_limits_of_exp(dtype: str, limit: float) -> None:
    assert op_kind("exp").overflow_limit(dtype) == pytest.approx(limit, abs=0.01)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_squares_end_at_the_root_of_the_largest_number(dtype: str) -> None:
    limit = op_kind("mse").overflow_limit(dtype)
    zero = torch.zeros(1, dtype=getattr(torch, dtype))
    assert bool(torch.isfinite(torch.nn.functional.mse_loss(zero + limit * 0.99, zero)))
    assert not bool(torch.isfinite(torch.nn.functional.mse_loss(zero + limit * 1.01, zero)))


@pytest.mark.parametrize("power", [0.5, 2.0, 3.0, 7.5])
def test_power_limits(power: float) -> None:
    limit = power_limit(power, "float32")
    if power < 1.0:
        assert limit > DTYPES["float32"].largest, "roots of finite numbers are finite"
        return
    assert bool(torch.isfinite(torch.tensor(limit * 0.999) ** power))
    assert not bool(torch.isfinite(torch.tensor(limit * 1.001) ** power))


@pytest.mark.parametrize("base", [-2.0, -1.5, -1.0, 0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("power", [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0])
def test_domain_and_slope_of_powers(base: float, power: float) -> None:
    point = torch.tensor(base, dtype=torch.float64, requires_grad=True)
    value = point**power
    assert power_in_domain(base, power) is bool(torch.isfinite(value))
    if power_in_domain(base, power):
        value.backward()
        assert point.grad is not None
        assert power_is_singular(base, power) is not bool(torch.isfinite(point.grad))


def test_every_kind_says_what_it_is() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.domain
        for dtype in DTYPES:
            limit = kind.overflow_limit(dtype)
            assert limit > 0.0
            assert math.isinf(limit) or kind.limit_formula
        assert (not kind.singular(0.3) and kind.in_domain(0.3)) or kind.name == "acosh"


def test_names_that_are_not_in_the_vocabulary() -> None:
    assert op_kind("no_such_operator") is KINDS["unknown"]
    assert op_kind("unknown").overflow_limit("float32") == math.inf
    assert op_kind("exp").overflow_limit("int64") == math.inf


def test_frameworks_use_no_other_name() -> None:
    from stayfinite.frameworks.torch.ops import KINDS as aliases

    assert set(aliases.values()) - set(KINDS) == set()
