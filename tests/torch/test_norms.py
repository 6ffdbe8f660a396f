"""The prepared norm is `hold.norm` up to rounding, misses no bad element, and survives tensors that change under it."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.norms import Norm


def mixed() -> list[Tensor]:
    """Tensors of every kind that gradients and parameters are made of; several fill more than one run."""
    torch.manual_seed(0)
    odd = [
        torch.randn(()), torch.randn(5), torch.randn(7, 3), torch.randn(6, 3), torch.randn(3, 7).t(), torch.randn(0),
        torch.randn(0, 3), torch.randn(300, 100), torch.randn(3).double(), torch.randn(2).double() * 1e30,
        torch.randn(4).half() * 1e4, torch.full((3,), 6e4).half(), torch.randn(8).bfloat16(),
        torch.randn(200, 200).half(),
        torch.randn(3, dtype=torch.complex64), torch.randn(3, dtype=torch.complex64).conj(),
    ]
    return [*odd, *(torch.randn(128, 128) for _ in range(12)), *(torch.randn(128) for _ in range(30))]


def exact(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.detach().to_dense().abs().double().square().sum()) for t in tensors))


@pytest.mark.parametrize("read", [hold.norm, Norm().read], ids=["hold.norm", "Norm"])
def test_it_is_the_norm(read) -> None:
    for _ in range(2):  # the second time with what was prepared
        assert read(mixed()) == pytest.approx(exact(mixed()), rel=1e-4)
    assert read([]) == 0.0
    assert read([t.requires_grad_() for t in mixed()]) == pytest.approx(exact(mixed()), rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e20])
def test_no_bad_element_is_missed(bad: float) -> None:
    norm = Norm()
    tensors = [tensor for tensor in mixed() if tensor.dtype is torch.float32 and tensor.numel()]
    assert norm.read(tensors) < math.inf
    for tensor in tensors:
        before = tensor.clone()
        for place in (0, -1):
            tensor[(place,) * tensor.dim()] = bad
            assert not norm.read(tensors) < math.inf
            assert not hold.norm(tensors) < math.inf
            tensor.copy_(before)
    assert norm.read(tensors) < math.inf


def test_what_is_prepared_follows_its_tensors() -> None:
    norm = Norm()
    first = [torch.randn(4), torch.randn(4), torch.randn(4, 2)]
    changed = [
        [t.double() for t in first],
        [t.half() for t in first],
        [t.to(torch.complex64) for t in first],
        [first[0].view(2, 2), *first[1:]],
        [first[0], first[1].to_sparse(), first[2]],
        first[:2],
        [*first, torch.randn(50, 50)],
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Sparse invariant")
        for tensors in changed:
            norm.read(first)
            assert norm.read(tensors) == pytest.approx(exact(tensors), rel=1e-3)


def test_tensors_are_only_read() -> None:
    tensors = mixed()
    before = [tensor.clone() for tensor in tensors]
    versions = [tensor._version for tensor in tensors]
    Norm().read(tensors)
    assert [tensor._version for tensor in tensors] == versions
    assert all(torch.equal(tensor, kept) for tensor, kept in zip(tensors, before, strict=True))


@pytest.mark.parametrize("size", [0, 3, 4, 9])
def test_a_size_that_changes_under_an_equal_number_of_tensors(size: int) -> None:
    """Sizes are asked for at every 16th reading only; the numbers must be right at each of them."""
    first = [torch.randn(4), torch.randn(4), torch.randn(4, 2)]
    for before in range(20):
        norm = Norm()
        for _ in range(before):
            norm.read(first)
        changed = [torch.randn(size), *first[1:]]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="An output with one or more elements was resized")
            for _ in range(3):
                assert norm.read(changed) == pytest.approx(exact(changed), rel=1e-3)
                assert norm.read(first) == pytest.approx(exact(first), rel=1e-3)
        changed[0] = torch.full((size + 1,), math.inf)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert not norm.read(changed) < math.inf


def test_sparse_gradients_in_the_middle_of_a_training() -> None:
    norm = Norm()
    rows = torch.tensor([[0, 2]])
    for _ in range(3):
        sparse = torch.sparse_coo_tensor(rows, torch.randn(2, 3), (5, 3))
        tensors = [torch.randn(4), sparse, torch.randn(4)]
        assert norm.read(tensors) == pytest.approx(exact(tensors), rel=1e-4)
        assert norm.read([torch.randn(4), torch.randn(5, 3), torch.randn(4)]) > 0
    bad = torch.sparse_coo_tensor(rows, torch.tensor([[1.0, math.nan, 0.0], [0.0, 0.0, 0.0]]), (5, 3))
    assert not norm.read([torch.randn(4), bad, torch.randn(4)]) < math.inf
