"""How a value of any kind looks: is there anything non-finite (or absurdly large) in it, where, and whose memory is it.

Knows plain numbers, lists, dicts, NumPy arrays, pandas tables and tensors; the latter two by what they can do, so that
nothing is imported that the user has not imported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from stayfinite.records.numbers import to_number
from stayfinite.records.tensor import TensorStats

MOST_ITEMS = 200_000
"""Numbers of a list that are looked at."""
_DEPTH = 4


def array_of(value: object) -> np.ndarray[Any, Any] | None:
    """The numbers of `value` as a NumPy array of its own shape; ``None`` if it holds none (text, objects, functions)."""
    if isinstance(value, (float, int)) and not isinstance(value, bool):
        return np.asarray(value) if isinstance(value, float) or abs(value) < 2**63 else np.asarray(float(value))
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.ma.filled(value, 0) if isinstance(value, np.ma.MaskedArray) else np.asarray(value)  # what is masked is not there
        return array if array.dtype.kind in "fciu" else None
    if is_tensor(value):
        return _of_tensor(value)
    if is_table(value):
        return _of_table(value)
    if isinstance(value, (list, tuple, dict, set)):
        return _of_items(value)
    return None


def is_tensor(value: object) -> bool:
    """True for tensors of the frameworks that have `detach` and `cpu`."""
    return hasattr(value, "untyped_storage") and hasattr(value, "detach") and not isinstance(value, type)


def is_table(value: object) -> bool:
    """True for a pandas table or column."""
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "to_numpy") and hasattr(value, "isna")


def is_array(value: object) -> bool:
    """True for arrays, tensors and tables: what an index or a formula may be evaluated on again."""
    return isinstance(value, (np.ndarray, np.generic)) or is_tensor(value) or is_table(value)


def is_narrow(value: object) -> bool:
    """True for arrays and tensors of whole numbers, which leave their range without a word."""
    return is_array(value) and any(name in str(getattr(value, "dtype", "")) for name in ("int8", "int16", "int32"))


def _of_tensor(value: Any) -> np.ndarray[Any, Any] | None:
    try:
        values = value.detach()
        if values.is_sparse:
            values = values.to_dense()
        values = values.cpu()
        name = str(values.dtype)
        if "float" in name and not name.endswith(("float32", "float64", "float16")):
            values = values.float()
        array = values.resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError):
        return None
    return array if array.dtype.kind in "fciu" else None


def _of_table(value: Any) -> np.ndarray[Any, Any] | None:
    try:
        if hasattr(value, "select_dtypes"):
            numbers = value.select_dtypes("number")
            return np.asarray(numbers.to_numpy(dtype=float, na_value=np.nan)) if numbers.shape[1] else None
        if getattr(value.dtype, "kind", "O") not in "fciu":
            return None
        return np.asarray(value.to_numpy(dtype=float, na_value=np.nan))
    except (TypeError, ValueError, AttributeError):
        return None


def _of_items(value: Any) -> np.ndarray[Any, Any] | None:
    numbers = [float(n) for n in _numbers(value, _DEPTH, [MOST_ITEMS])]
    return np.asarray(numbers) if numbers else None


def _numbers(value: Any, depth: int, left: list[int]) -> Iterator[float]:
    """Every number in a nest of lists, dicts and arrays, as far as the limits go."""
    for item in value.values() if isinstance(value, dict) else value:
        if left[0] <= 0:
            return
        if isinstance(item, (float, int)) and not isinstance(item, bool):
            left[0] -= 1
            yield float(item) if isinstance(item, float) or abs(item) < 2**63 else 0.0
        elif isinstance(item, (list, tuple, dict)):
            if depth > 1:
                yield from _numbers(item, depth - 1, left)
        elif is_array(item):
            array = array_of(item)
            if array is not None:
                left[0] -= array.size
                yield from (abs(array) if array.dtype.kind == "c" else array).ravel().tolist()


def bad_part(array: np.ndarray[Any, Any], limit: float = math.inf) -> np.ndarray[Any, Any]:
    """Where `array` is not finite or, for a finite `limit`, at least as large as that."""
    if array.dtype.kind in "iu":
        return np.zeros(array.shape, bool) if limit == math.inf else np.abs(array.astype(float)) >= limit
    mask: np.ndarray[Any, Any] = ~np.isfinite(array)
    if limit < math.inf:
        with np.errstate(all="ignore"):
            mask |= np.abs(array) >= limit
    return mask


def is_bad(value: object, limit: float = math.inf) -> bool:
    """True if anything in `value` is non-finite, or as large as `limit`."""
    kind = type(value)
    if kind is float:
        return not abs(value) < limit  # type: ignore[arg-type]
    if kind in (str, bool, type(None), bytes) or (kind is int and limit == math.inf):
        return False
    array = array_of(value)
    if array is None or array.size == 0:
        return False
    if array.dtype.kind in "iu" and limit == math.inf:
        return False
    return bool(bad_part(array, limit).any())


def memory_of(value: object) -> tuple[str, int]:
    """What tells whether two values are the same memory: a view and what it looks into agree."""
    if isinstance(value, np.ndarray):
        owner: Any = value
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        return "memory", int(owner.__array_interface__["data"][0])
    if is_tensor(value):
        try:
            return "memory", int(value.untyped_storage().data_ptr())  # type: ignore[attr-defined]
        except (RuntimeError, NotImplementedError):
            return "object", id(value)
    return "object", id(value)


def stats_of(name: str, value: object, at: tuple[int, ...] = ()) -> TensorStats | None:
    """`TensorStats` of `value`; ``None`` if it holds no numbers. `at`: the element that did it, where shapes line up."""
    array = array_of(value)
    if array is None:
        return None
    dtype = str(getattr(value, "dtype", array.dtype)).removeprefix("torch.") if not is_table(value) else str(array.dtype)
    if array.dtype.kind == "c":
        array = np.abs(array)
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array.ravel()
    nan = int(np.isnan(array).sum()) if array.dtype.kind == "f" else 0
    culprit = _element(array, at)
    return TensorStats(
        name, tuple(array.shape), dtype,
        nan=nan,
        posinf=int((array == math.inf).sum()), neginf=int((array == -math.inf).sum()),
        zero=int((array == 0).sum()),
        min=to_number(float(finite.min())) if finite.size else "nan",
        max=to_number(float(finite.max())) if finite.size else "nan",
        culprit_index=culprit[0], culprit=culprit[1],
    )


def _element(array: np.ndarray[Any, Any], at: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
    """The element of `array` that meets index `at` of a result that it was broadcast to."""
    if array.ndim > len(at):
        return (), None
    index = tuple(0 if extent == 1 else i for i, extent in zip(at[len(at) - array.ndim :], array.shape, strict=True))
    if any(i >= extent for i, extent in zip(index, array.shape, strict=True)):
        return (), None
    return index, to_number(float(array[index]))


def first_bad(value: object, limit: float = math.inf) -> tuple[int, ...]:
    """Index of the first bad element of `value`."""
    array = array_of(value)
    if array is None or not array.ndim:
        return ()
    found = np.argwhere(bad_part(array, limit))
    return tuple(int(i) for i in found[0]) if len(found) else ()


def words(value: object, limit: float = math.inf) -> str:
    """What is bad in `value`: ``"3 NaN of 1200 numbers"``, ``"-inf"``."""
    array = array_of(value)
    if array is None:
        return "no number"
    if array.dtype.kind == "c":
        array = np.abs(array)
    size = array.size
    if size == 1:
        number = float(array.ravel()[0])
        return "NaN" if math.isnan(number) else "+inf" if number == math.inf else "-inf" if number == -math.inf else f"{number:.4g}"
    nan = int(np.isnan(array).sum()) if array.dtype.kind == "f" else 0
    infinite = int(np.isinf(array).sum()) if array.dtype.kind == "f" else 0
    parts = [f"{count} {name}" for count, name in ((nan, "NaN"), (infinite, "infinite")) if count]
    if not parts:
        mask = bad_part(array, limit)
        largest = float(array[mask][np.argmax(np.abs(array[mask].astype(float)))]) if mask.any() else math.nan
        parts = [f"{int(mask.sum())} beyond {limit:.3g}, up to {largest:.4g},"]
    return f"{' and '.join(parts)} of {size} numbers"
