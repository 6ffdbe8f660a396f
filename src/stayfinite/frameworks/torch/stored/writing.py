"""Values as a stored case holds them: JSON for what is small, tensors by key for the rest. Nothing is ever pickled.

`stored_values` reads what is written here, and says what the words mean.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stayfinite.rewrite.project import is_user_object

MOST_NODES = 200_000
"""Elements of nested containers that are written for one value: about 0.2 s. Plain lists of numbers count once."""
_DEEPEST = 30
"""Containers within containers; what lies deeper is not written."""
_PLAIN = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
)
_PLAIN_ARRAYS = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
_DICTS = (dict, collections.OrderedDict, collections.Counter, collections.defaultdict)
"""Types that every version of safetensors writes; others are written as their bytes."""
_NUMBERS = 64
"""Lists of at least so many numbers become a tensor: a loss history of a million steps is 8 MB, not 20 MB of text."""
_LARGEST_INT = 2**63


class TooMuch(Exception):
    """A value has more elements than are written."""


class CaseValues:
    """Writes values. `tensors` collects what goes into the tensor file, `nbytes` its size.

    **Arguments**: `known`, values (``{"kind": "parameter", ...}``) that stand for objects by identity; `paths`, paths
    to modules, optimizers and other objects that cannot be written but can be found again.
    """

    def __init__(self, known: Mapping[int, Any], paths: Mapping[int, Any]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.nbytes = 0
        self._known = known
        self._paths = paths
        self._keys: dict[int, str] = {}
        self._kept: list[object] = []
        self._nodes = 0
        self._open: set[int] = set()
        """Containers whose elements are being written: one that holds itself is not written again."""

    def write(self, value: Any, hint: str) -> Any:
        """`value` as JSON; `hint` names its tensors. Raises `TooMuch`; what cannot be written is of kind ``opaque``."""
        self._nodes = 0
        self._open.clear()
        return self._write(value, hint)

    def size_of(self, value: Any) -> int:
        """About how many bytes of tensors `value` would add."""
        found, pending, seen = 0, [value], 0
        while pending and seen < MOST_NODES:
            seen += 1
            item = pending.pop()
            if id(item) in self._keys or id(item) in self._known:
                continue
            found += getattr(item, "nbytes", 0) if isinstance(item, Tensor) or _is_array(item) else 0
            if isinstance(item, dict):
                pending += list(item.values())[:4096]
            elif isinstance(item, (list, tuple, set, frozenset, collections.deque)):
                found += 8 * len(item)
                pending += list(item)[:4096]
        return found

    def _write(self, value: Any, hint: str) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise TooMuch(f"more than {MOST_NODES} elements")
        kind = type(value)
        if value is None or kind in (bool, str):
            return _opaque(value) if kind is str and not _is_text(value) else value
        if kind is int:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"kind": "float", "value": str(value)}
        if id(value) in self._known:
            return self._known[id(value)]
        if isinstance(value, Tensor):
            return self._tensor(value, hint)
        if _is_array(value):
            return self._array(value, hint)
        small = self._small(value)
        if small is not None:
            return small
        if id(value) in self._open or len(self._open) > _DEEPEST:
            return _opaque(value)
        self._open.add(id(value))
        written = self._compound(value, hint)
        self._open.discard(id(value))
        return written

    def _compound(self, value: Any, hint: str) -> Any:
        kind = type(value)
        if kind in (list, collections.deque):
            return self._list(value, hint)
        if isinstance(value, tuple):
            return self._tuple(value, hint)
        if kind in _DICTS:
            pairs = [[self._write(k, hint), self._write(v, f"{hint}.{k}")] for k, v in list(value.items())]
            return {"kind": "dict", "type": kind.__name__, "value": pairs}
        if kind in (set, frozenset):
            return {"kind": "set", "type": kind.__name__, "value": [self._write(item, hint) for item in value]}
        return self._object(value, hint)

    def _small(self, value: Any) -> Any:
        kind = type(value)
        if kind is complex:
            return {"kind": "complex", "value": [repr(value.real), repr(value.imag)]}
        if kind in (bytes, bytearray):
            return {"kind": "bytes", "value": base64.b64encode(value).decode(), "mutable": kind is bytearray}
        if kind is range:
            return {"kind": "range", "value": [value.start, value.stop, value.step]}
        if kind is slice:
            parts = [value.start, value.stop, value.step]
            return {"kind": "slice", "value": parts} if all(p is None or type(p) is int for p in parts) else None
        if isinstance(value, torch.dtype):
            return {"kind": "dtype", "value": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"kind": "device", "value": str(value)}
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in "biufc":
            return {"kind": "number", "type": value.dtype.str, "value": base64.b64encode(value.tobytes()).decode()}
        return None

    # -- tensors -------------------------------------------------------------------------------------------------

    def _tensor(self, value: Tensor, hint: str) -> Any:
        if value.layout is torch.sparse_coo:
            whole = value.detach().coalesce()
            indices = self._tensor(whole.indices(), f"{hint}.indices")
            values = self._tensor(whole.values(), f"{hint}.values")
            return {"kind": "sparse", "shape": list(value.shape), "indices": indices, "values": values}
        if value.layout is not torch.strided or value.is_quantized or value.device.type == "meta" or _is_foreign(value):
            return _opaque(value)
        stored: dict[str, Any] = {"kind": "tensor"}
        if value.device.type != "cpu":
            stored["device"] = str(value.device)
        if value.requires_grad and value.is_leaf:
            stored["requires_grad"] = True
        if value.dim() == 4 and not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last):
            stored["channels_last"] = True
        plain = value.detach()
        if plain.is_complex():
            plain, stored["complex"] = torch.view_as_real(plain.resolve_conj()), True
        elif plain.dtype not in _PLAIN:
            stored["bits_of"], stored["shape"] = str(plain.dtype).removeprefix("torch."), list(plain.shape)
            plain = plain.contiguous().reshape(-1).view(torch.uint8)
        stored["value"] = self._keep(value, plain, hint)
        return stored

    def _array(self, value: Any, hint: str) -> Any:
        if value.dtype.hasobject or value.dtype.fields is not None:
            return _opaque(value)
        stored: dict[str, Any] = {"kind": "array"}
        if value.dtype.isnative and value.dtype.name in _PLAIN_ARRAYS:
            plain = torch.from_numpy(value.copy())
        else:
            stored["bits_of"], stored["shape"] = value.dtype.str, list(value.shape)
            content = bytearray(value.tobytes())
            plain = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
        stored["value"] = self._keep(value, plain, hint)
        return stored

    def _keep(self, value: object, plain: Tensor, hint: str) -> str:
        """The key of `plain` in the tensor file; the same object is written once."""
        known = self._keys.get(id(value))
        if known is not None:
            return known
        key, number = hint, 2
        while key in self.tensors:
            key, number = f"{hint}~{number}", number + 1
        self.tensors[key] = plain.detach().to("cpu", copy=True).contiguous()
        self.nbytes += plain.nbytes
        self._keys[id(value)] = key
        self._kept.append(value)  # an address must not be used twice while keys go by it
        return key

    def drop(self, before: set[str]) -> None:
        """Take back the tensors that are not in `before`."""
        for key in self.tensors.keys() - before:
            self.nbytes -= self.tensors.pop(key).nbytes
        self._keys = {value: key for value, key in self._keys.items() if key in self.tensors}

    def forget(self) -> None:
        """From here on objects may hold other values than before: write them again."""
        self._keys.clear()

    # -- containers ----------------------------------------------------------------------------------------------

    def _list(self, value: Any, hint: str) -> Any:
        if type(value) is list and len(value) >= _NUMBERS and (numbers := _numbers(value)) is not None:
            return {"kind": "numbers", "type": "list", "value": self._keep(value, numbers, hint)}
        stored: dict[str, Any] = {"kind": "list", "type": type(value).__name__}
        if isinstance(value, collections.deque):
            stored["longest"] = value.maxlen
        stored["value"] = [self._write(item, f"{hint}.{number}") for number, item in enumerate(list(value))]
        return stored

    def _tuple(self, value: tuple[Any, ...], hint: str) -> Any:
        kind = type(value)
        if kind is torch.Size:
            return {"kind": "size", "value": list(value)}
        if kind is not tuple and not hasattr(kind, "_fields"):
            return _opaque(value)
        if kind is tuple and len(value) >= _NUMBERS and (numbers := _numbers(value)) is not None:
            return {"kind": "numbers", "type": "tuple", "value": self._keep(value, numbers, hint)}
        stored: dict[str, Any] = {"kind": "tuple"}
        if kind is not tuple:
            stored["type"] = f"{kind.__module__}:{kind.__qualname__}"
        stored["value"] = [self._write(item, f"{hint}.{number}") for number, item in enumerate(value)]
        return stored

    def _object(self, value: Any, hint: str) -> Any:
        if isinstance(value, (nn.Module, Optimizer)) or hasattr(value, "__next__") or callable(value):
            return {"kind": "at", "value": self._paths[id(value)]} if id(value) in self._paths else _opaque(value)
        fields = _fields(value)
        if fields is None:
            return {"kind": "at", "value": self._paths[id(value)]} if id(value) in self._paths else _opaque(value)
        kind = type(value)
        written = {name: self._write(item, f"{hint}.{name}") for name, item in fields.items()}
        return {"kind": "object", "type": f"{kind.__module__}:{kind.__qualname__}", "value": written}


def is_opaque(stored: Any) -> bool:
    """True if nothing of the value itself was written."""
    if not isinstance(stored, dict):
        return False
    if stored["kind"] in ("list", "tuple", "set"):
        return bool(stored["value"]) and all(is_opaque(item) for item in stored["value"])
    if stored["kind"] == "dict":
        return bool(stored["value"]) and all(is_opaque(item) for _, item in stored["value"])
    return stored["kind"] in ("opaque", "at")


def _opaque(value: object) -> dict[str, str]:
    return {"kind": "opaque", "type": type(value).__name__}


def _is_text(value: str) -> bool:
    """True if UTF-8 can carry it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray


def _is_foreign(value: Tensor) -> bool:
    """True for tensor types of other libraries, whose content is more than their elements."""
    return type(value) not in (Tensor, nn.Parameter, nn.Buffer)


def _numbers(values: Any) -> Tensor | None:
    """A tensor that gives `values` back exactly, if all are floats or all are integers of 64 bits."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return torch.tensor(values, dtype=torch.float64)
    if kinds == {int} and -_LARGEST_INT <= min(values) and max(values) < _LARGEST_INT:
        return torch.tensor(values, dtype=torch.int64)
    return None


def _fields(value: Any) -> dict[str, Any] | None:
    """The attributes that make up `value`, if an object of its class can be put together from them."""
    kind = type(value)
    if hasattr(kind, "__del__") or kind.__module__ == "builtins":
        return None
    if not (is_user_object(value) or dataclasses.is_dataclass(value) or isinstance(value, collections.UserDict)):
        return None
    if isinstance(value, (dict, list, set, BaseException)):
        return None  # it has content beside its attributes
    fields = dict(getattr(value, "__dict__", {}))
    for one in kind.__mro__:
        slots = one.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                fields[name] = getattr(value, name)
    return fields
