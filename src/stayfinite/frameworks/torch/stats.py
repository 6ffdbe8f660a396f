"""Looking into tensors without leaving a trace: is anything non-finite, where, and what are the numbers.

Every function here takes a plain dense tensor (see `dense`) of floating point, complex or integer dtype, any shape, any
device, and neither records a gradient nor draws a random number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import torch
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch.utils._python_dispatch import _disable_current_modes, is_traceable_wrapper_subclass

from stayfinite.records.numbers import Number, to_number
from stayfinite.records.tensor import TensorStats

_NARROW = {
    dtype
    for dtype in (
        getattr(torch, name, None)
        for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
    )
    if dtype is not None
}
NARROW_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32)
"""Formats of whole numbers that arithmetic leaves sooner than the one of 64 bits."""
_DENSE_TYPES = {torch.Tensor, torch.nn.Parameter}


@contextmanager
def quietly() -> Iterator[None]:
    """A block whose tensor operations no mode of anybody sees and autograd does not record."""
    with torch._C.DisableTorchFunction(), _disable_current_modes(), torch.no_grad():
        yield


def is_number(tensor: torch.Tensor) -> bool:
    """True for floating-point and complex tensors: those that can hold a NaN."""
    return tensor.is_floating_point() or tensor.is_complex()


def dense(tensor: torch.Tensor) -> torch.Tensor | None:
    """The dense tensor that holds the values of `tensor`: itself; the values of a sparse or nested one; the local part
    of a wrapper; what `torch.func` transforms. ``None`` where there are no values (meta and fake tensors) or no known
    way to them."""
    while is_functorch_wrapped_tensor(tensor):
        tensor = get_unwrapped(tensor)
    if type(tensor) in _DENSE_TYPES and tensor.layout is torch.strided and not tensor.is_nested:
        return None if tensor.is_meta else tensor
    try:
        if is_traceable_wrapper_subclass(tensor):
            parts = [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]
            found = (dense(part) for part in parts if isinstance(part, torch.Tensor) and is_number(part))
            return next((part for part in found if part is not None), None)
        if tensor.is_meta or type(tensor).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl:
            return None
        if tensor.layout is torch.sparse_coo:
            return tensor._values()
        if tensor.layout in (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc):
            return tensor.values()
        if tensor.is_nested:
            return torch.nested.to_padded_tensor(tensor, 0.0)
        return tensor if tensor.layout is torch.strided else None
    except (RuntimeError, NotImplementedError, AttributeError, TypeError):
        return None


def is_readable(tensor: torch.Tensor) -> bool:
    """False if there is no memory behind `tensor`: it was given back (sharded training frees storages under living
    tensors), or never taken (autograd stands in for a gradient of zeros with a tensor without data)."""
    if tensor.numel() == 0:
        return True
    if tensor._is_zerotensor() or tensor.untyped_storage().data_ptr() == 0:
        return False
    reach = tensor.storage_offset() + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1
    return tensor.untyped_storage().nbytes() >= reach * tensor.element_size()


def is_bad(tensor: torch.Tensor) -> bool:
    """True if a floating-point or complex `tensor` holds a NaN or an infinity.

    The sum is the suspicion: it is non-finite if any element is, and costs one pass over the memory. It is taken in
    float32 or wider, where half-precision sums would overflow; a sum that overflows nevertheless is settled by
    `isfinite`, which is an order of magnitude dearer.
    """
    if tensor.numel() == 0 or not is_readable(tensor):
        return False
    if tensor.dtype in _NARROW:
        tensor = tensor.to(torch.float32)
    if tensor.is_complex():
        total = tensor.sum().item()
        if math.isfinite(total.real) and math.isfinite(total.imag):
            return False
    elif math.isfinite(tensor.sum(dtype=torch.float32 if tensor.element_size() < 4 else None).item()):
        return False
    array = _array(tensor)
    return not bool(torch.isfinite(tensor).all() if array is None else np.isfinite(array).all())


def _array(tensor: torch.Tensor) -> Any:
    """The values of a floating-point tensor in ordinary memory as a NumPy array, which tests single elements some ten
    times faster than torch does there; ``None`` for tensors on a device and for complex ones."""
    if tensor.device.type != "cpu" or not tensor.is_floating_point() or tensor.is_neg():
        return None
    values = tensor.detach()
    return (values if values.element_size() >= 4 else values.to(torch.float32)).numpy()


def has_nan(tensor: torch.Tensor) -> bool:
    """True if a floating-point or complex `tensor` holds a NaN. A sum that is no NaN settles it; one that is may also
    come from infinities of both signs."""
    if tensor.numel() == 0 or not is_readable(tensor):
        return False
    if tensor.dtype in _NARROW:
        tensor = tensor.to(torch.float32)
    total = tensor.sum().item()
    if total == total:
        return False
    array = _array(tensor)
    return bool(torch.isnan(tensor).any() if array is None else np.isnan(array).any())


def bad_mask(tensor: torch.Tensor) -> torch.Tensor:
    """Boolean tensor of the same shape, true where `tensor` is NaN or infinite."""
    if tensor.dtype in _NARROW:
        tensor = tensor.to(torch.float32)
    array = _array(tensor) if is_readable(tensor) else None
    return ~torch.isfinite(tensor) if array is None else torch.from_numpy(np.asarray(~np.isfinite(array)))


def first_true(mask: torch.Tensor) -> tuple[int, ...]:
    """Index of the first true element in row-major order; empty if there is none or `mask` has no dimension."""
    if mask.dim() == 0 or mask.numel() == 0:
        return ()
    flat = int(mask.reshape(-1).to(torch.uint8).argmax())
    index: list[int] = []
    for extent in reversed(mask.shape):
        index.append(flat % extent)
        flat //= extent
    return tuple(reversed(index))


def aligned_index(index: tuple[int, ...], shape: torch.Size, of: torch.Size) -> tuple[int, ...] | None:
    """Where element `index` of a tensor of shape `of` comes from in an operand of shape `shape` that was broadcast to
    it; ``None`` if it cannot have been."""
    if len(shape) > len(of) or len(index) != len(of):
        return None
    skip = len(of) - len(shape)
    found = []
    for extent, whole, at in zip(shape, of[skip:], index[skip:], strict=True):
        if extent != whole and extent != 1:
            return None
        found.append(at if extent == whole else 0)
    return tuple(found)


def value_at(tensor: torch.Tensor, index: tuple[int, ...]) -> Number:
    """The element at `index` (the modulus of a complex one)."""
    value = tensor[index].item()
    return to_number(abs(value) if isinstance(value, complex) else float(value))


def dtype_name(dtype: torch.dtype) -> str:
    """`dtype` without its prefix: ``"float32"``."""
    return str(dtype).removeprefix("torch.")


def describe(
    tensor: torch.Tensor, name: str, index: tuple[int, ...] | None = None, shape: torch.Size | None = None
) -> TensorStats:
    """Statistics of a dense `tensor`; `index`: the element to quote as the culprit; `shape`: of the tensor the dense
    one stands for, where that differs."""
    extents = tuple(int(extent) for extent in (tensor.shape if shape is None else shape))
    dtype = dtype_name(tensor.dtype)
    if tensor.numel() == 0 or tensor.is_meta or not is_readable(tensor):
        return TensorStats(name=name, shape=extents, dtype=dtype)
    culprit = value_at(tensor, index) if index is not None and len(index) == tensor.dim() else None
    quoted = index if culprit is not None and index is not None else ()
    values = tensor.to(torch.float32) if tensor.dtype in _NARROW else tensor
    if values.is_complex():
        values = values.abs()
    if values.dtype is torch.bool:
        values = values.to(torch.uint8)
    nan = posinf = neginf = 0
    zero = values.numel() - int(torch.count_nonzero(values))
    if values.is_floating_point() and is_bad(values):
        nan, posinf, neginf = _count(values)
    low: Number = "nan"
    high: Number = "nan"
    if nan + posinf + neginf < values.numel():
        least, most = _extremes(values, nan + posinf + neginf > 0)
        low, high = to_number(least), to_number(most)
    return TensorStats(
        name=name,
        shape=extents,
        dtype=dtype,
        nan=nan,
        posinf=posinf,
        neginf=neginf,
        zero=zero,
        min=low,
        max=high,
        culprit_index=quoted,
        culprit=culprit,
    )


def rows_compared(stats: TensorStats, tensor: torch.Tensor) -> TensorStats:
    """`stats` of `tensor` with `absmax_index`, `absmax_count` and `typical_row`; unchanged where there are fewer than four rows, or
    values that are no real numbers."""
    if tensor.dim() == 0 or tensor.shape[0] < 4 or tensor.numel() == 0 or tensor.layout is not torch.strided:
        return stats
    if tensor.is_complex() or tensor.dtype is torch.bool or not is_readable(tensor):
        return stats
    sizes = torch.nan_to_num(tensor.detach().to(torch.float64), nan=0.0, posinf=0.0, neginf=0.0).abs()
    largest = sizes == sizes.max()
    typical = sizes.reshape(sizes.shape[0], -1).amax(1).median()
    return msgspec.structs.replace(stats, absmax_index=first_true(largest), typical_row=to_number(float(typical)),
                                   absmax_count=int(largest.sum()))


def magnitude(tensor: torch.Tensor) -> tuple[float, float]:
    """Largest magnitude and population standard deviation of the finite elements; NaN if there is none."""
    if tensor.numel() == 0 or not is_readable(tensor):
        return math.nan, math.nan
    values = tensor.abs() if tensor.is_complex() else tensor
    if values.element_size() < 4:
        values = values.to(torch.float32)
    if is_bad(values):
        values = values[~bad_mask(values)]
        if values.numel() == 0:
            return math.nan, math.nan
    low, high = torch.aminmax(values)
    return max(abs(float(low)), abs(float(high))), float(values.std(correction=0))


def _count(values: torch.Tensor) -> tuple[int, int, int]:
    """How many elements are NaN, plus infinity and minus infinity."""
    array = _array(values)
    if array is None:
        return int(torch.isnan(values).sum()), int((values == math.inf).sum()), int((values == -math.inf).sum())
    return tuple(int(np.count_nonzero(one)) for one in (np.isnan(array), array == np.inf, array == -np.inf))  # type: ignore[return-value]


def _extremes(values: torch.Tensor, bad: bool) -> tuple[float, float]:
    """Least and greatest finite element; there must be one. `bad`: there are others."""
    if not bad:
        least, most = torch.aminmax(values)
        return float(least), float(most)
    largest = torch.finfo(values.dtype).max
    least = torch.nan_to_num(values, nan=largest, posinf=largest, neginf=largest).amin()
    most = torch.nan_to_num(values, nan=-largest, posinf=-largest, neginf=-largest).amax()
    return float(least), float(most)


def bad_rows(mask: torch.Tensor, batch_size: int | None) -> tuple[int, ...]:
    """The batch rows in which `mask` is true somewhere.

    The batch runs along dimension 0, else along dimension 1 (sequence first). Empty if neither fits or every row is hit: then
    the rows say nothing.
    """
    if batch_size is None or batch_size < 2 or mask.dim() == 0:
        return ()
    first = mask.shape[0]
    if first == batch_size:
        rows = mask.reshape(batch_size, -1).any(1)
    elif mask.dim() > 1 and mask.shape[1] == batch_size:
        rows = mask.transpose(0, 1).reshape(batch_size, -1).any(1)
    else:
        return ()
    found = tuple(int(row) for row in rows.nonzero().flatten())
    return found if len(found) < batch_size else ()


def lone_row(tensor: torch.Tensor, batch_size: int | None, squared: bool = False) -> tuple[int, ...]:
    """The one batch row of a finite `tensor` whose magnitude makes a sum over it (`squared`: over its squares) overflow
    its dtype: without this row the sum would be finite, with it, it is not. Empty if no single row explains it."""
    if batch_size is None or batch_size < 2 or tensor.dim() == 0 or tensor.shape[0] % batch_size or not tensor.numel():
        return ()
    values = tensor.reshape(batch_size, -1).to(torch.float64).abs()
    totals = (values.square() if squared else values).sum(1)
    largest = torch.finfo(tensor.dtype if tensor.is_floating_point() else torch.float32).max
    worst = int(totals.argmax())
    whole = float(totals.sum())
    return (worst,) if whole > largest >= whole - float(totals[worst]) else ()
