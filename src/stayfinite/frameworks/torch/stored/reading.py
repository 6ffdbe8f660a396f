"""Values as a stored step writes them, and paths to objects: from JSON and tensors back to Python.

Imports nothing of stayfinite, see `stored_step`.

A **path** leads to an object from a name the step's frame can see: ``[["local", "self"], ["attr", "model"]]``. Its
root is ``["local", name]``, ``["free", name]`` (a variable of an enclosing function) or ``["module", module, name]``;
its steps are ``["attr", name]``, ``["item", key]``, ``["module", dotted name]`` and ``["closure", name]``.

A **value** is JSON: a number, text, a truth value or null stands for itself; all else is ``{"kind": ..., ...}``.
"""

from __future__ import annotations

import base64
import collections
import importlib
import sys
from typing import Any

import torch


class StoredValues:
    """Decodes values.

    **Arguments**: `tensors` by key. `parameters` and `buffers` are what values refer to by number; whoever derives from
    this fills them. `names` are those of the step's frame.
    """

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.parameters: list[torch.Tensor] = []
        self.buffers: list[torch.Tensor] = []
        self.frame_names: dict[str, Any] = {}
        self._tensors = tensors
        self._made: dict[str, Any] = {}

    # -- where things are ----------------------------------------------------------------------------------------

    @staticmethod
    def shown(path: list[Any]) -> str:
        """`path` as it would be written in source."""
        text = str(path[0][-1])
        for kind, key in path[1:]:
            text += f"[{key!r}]" if kind == "item" else f".{key}" if kind != "closure" else f" (its {key})"
        return text

    @staticmethod
    def lookup(path: list[Any], names: dict[str, Any]) -> Any:
        """The object at `path`; `names` are the frame's. Raises LookupError or AttributeError if it is not there."""
        scope, *where = path[0]
        found = sys.modules[where[0]].__dict__[where[1]] if scope == "module" else names[where[0]]
        for kind, key in path[1:]:
            if kind == "attr":
                found = found.__dict__[key] if key in getattr(found, "__dict__", ()) else getattr(found, key)
            elif kind == "item":
                found = found[key]
            elif kind == "module":
                found = found.get_submodule(key)
            else:
                cell = found.__closure__[found.__code__.co_freevars.index(key)]
                if not cell:
                    raise LookupError(key)
                found = cell.cell_contents
        return found

    # -- values --------------------------------------------------------------------------------------------------

    def value(self, stored: Any, before: Any = ..., *, fill: bool = False) -> Any:
        """The object that `stored` stands for.

        **Arguments**: `before`, what is there in this process (``...`` for nothing): it stands in for what could not
        be stored, and lends its class; `fill`: change `before` in place where that is possible, so that others who
        hold it see the change.

        **Returns** ``...`` if neither the recording nor this process has the object.
        """
        if not isinstance(stored, dict):
            return stored
        kind = stored["kind"]
        make = getattr(self, f"_make_{kind}", None)
        if make is None:
            raise LookupError(f"a value of kind {kind!r} is not known to this version")
        return make(stored, before, fill)

    def _make_opaque(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return before if before is not ... and type(before).__name__ == stored["type"] else ...

    def _make_float(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return float(stored["value"])

    def _make_complex(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return complex(*map(float, stored["value"]))

    def _make_bytes(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        made = base64.b64decode(stored["value"])
        return bytearray(made) if stored.get("mutable") else made

    def _make_dtype(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return getattr(torch, stored["value"])

    def _make_device(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return self._device(stored["value"])

    def _make_size(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return torch.Size(stored["value"])

    def _make_range(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return range(*stored["value"])

    def _make_slice(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return slice(*(self.value(part) for part in stored["value"]))

    def _make_parameter(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return self.parameters[stored["value"]]

    def _make_buffer(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return self.buffers[stored["value"]]

    def _make_at(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        return self.lookup(stored["value"], self.frame_names)

    def _make_tensor(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        key = stored["value"]
        if fill and isinstance(before, torch.Tensor) and (before.is_leaf or not before.requires_grad):
            fresh = self._tensor(stored)
            if before.shape == fresh.shape and before.dtype == fresh.dtype and before.layout == torch.strided:
                if not torch.equal(before.detach(), fresh.to(before.device)):
                    with torch.no_grad():
                        before.detach().copy_(fresh)
                return before
        if key not in self._made:
            self._made[key] = self._tensor(stored)
        return self._made[key]

    def _tensor(self, stored: dict[str, Any]) -> torch.Tensor:
        # copied first: what was read lies in the file at any address, and kernels read wider types at even ones only
        made = self._tensors[stored["value"]].clone()
        if "bits_of" in stored:
            made = made.view(getattr(torch, stored["bits_of"])).reshape(stored["shape"])
        if stored.get("complex"):
            made = torch.view_as_complex(made)
        if stored.get("channels_last"):
            made = made.contiguous(memory_format=torch.channels_last)
        made = made.to(self._device(stored.get("device", "cpu")))
        return made.requires_grad_(True) if stored.get("requires_grad") else made

    @staticmethod
    def _device(name: str) -> torch.device:
        """The device of that name, or the CPU where this machine has none like it."""
        wanted = torch.device(name)
        backend = getattr(torch, wanted.type, None)
        there = wanted.type in ("cpu", "meta") or (backend is not None and backend.is_available())
        return wanted if there else torch.device("cpu")

    def _make_sparse(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        indices, values = self.value(stored["indices"]), self.value(stored["values"])
        return torch.sparse_coo_tensor(indices, values, stored["shape"], check_invariants=True).coalesce()

    def _make_array(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        numpy = importlib.import_module("numpy")
        made = self._tensors[stored["value"]].clone().numpy()
        if "bits_of" in stored:
            made = made.view(numpy.dtype(stored["bits_of"])).reshape(stored["shape"])
        if fill and isinstance(before, numpy.ndarray) and before.shape == made.shape and before.dtype == made.dtype:
            if before.tobytes() != made.tobytes():
                numpy.copyto(before, made)
            return before
        if stored["value"] not in self._made:
            self._made[stored["value"]] = made
        return self._made[stored["value"]]

    def _make_number(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        numpy = importlib.import_module("numpy")
        return numpy.frombuffer(base64.b64decode(stored["value"]), numpy.dtype(stored["type"]))[0]

    def _make_numbers(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        made = self._tensors[stored["value"]].tolist()
        return self._into(before, fill, tuple(made) if stored["type"] == "tuple" else made)

    def _make_list(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        items = list(before)[: len(stored["value"])] if isinstance(before, (list, collections.deque)) else []
        items += [...] * (len(stored["value"]) - len(items))
        made = self._all(self.value(value, item, fill=fill) for value, item in zip(stored["value"], items, strict=True))
        if made is ...:
            return ...
        if stored["type"] == "deque":
            made = collections.deque(made, stored["longest"])
        return self._into(before, fill, made)

    def _make_tuple(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        values = stored["value"]
        items = before if isinstance(before, tuple) and len(before) == len(values) else [...] * len(values)
        made = self._all(self.value(value, item, fill=fill) for value, item in zip(values, items, strict=True))
        if made is ... or "type" not in stored:
            return ... if made is ... else tuple(made)
        kind = self._class(stored["type"], before)
        return ... if kind is None or not issubclass(kind, tuple) else tuple.__new__(kind, made)

    def _make_set(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        made = {self.value(value) for value in stored["value"]}
        return frozenset(made) if stored["type"] == "frozenset" else self._into(before, fill, made)

    def _make_dict(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        known = before if isinstance(before, dict) else {}
        keys = [self.value(key) for key, _ in stored["value"]]
        values = [value for _, value in stored["value"]]
        made = self._all(self.value(v, known.get(key, ...), fill=fill) for key, v in zip(keys, values, strict=True))
        if made is ...:
            return ...
        result = dict(zip(keys, made, strict=True))
        if type(before).__name__ == stored["type"] and isinstance(before, dict):
            return self._into(before, fill, result)
        if stored["type"] in ("OrderedDict", "Counter"):
            return getattr(collections, stored["type"])(result)
        return result if stored["type"] == "dict" else ...

    def _make_object(self, stored: dict[str, Any], before: Any, fill: bool) -> Any:
        kind = self._class(stored["type"], before)
        if kind is None:
            return ...
        here = before if type(before) is kind else None
        values = {}
        for name, value in stored["value"].items():
            values[name] = self.value(value, getattr(here, name, ...) if here is not None else ..., fill=fill)
        if any(value is ... for value in values.values()):
            return ...
        made = here if fill and here is not None else object.__new__(kind)
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made

    @staticmethod
    def _all(values: Any) -> Any:
        made = list(values)
        return ... if any(value is ... for value in made) else made

    @staticmethod
    def _into(before: Any, fill: bool, made: Any) -> Any:
        """`made`, or `before` with its content, if both are of one kind of container."""
        if not fill or before is ... or isinstance(made, tuple):
            return made
        if isinstance(before, list) and type(made) is list:
            before[:] = made
        elif isinstance(before, dict) and isinstance(made, dict):
            before.clear()
            for key, value in made.items():
                before[key] = value
        elif isinstance(before, set) and isinstance(made, set):
            before.clear()
            before |= made
        elif isinstance(before, collections.deque) and isinstance(made, collections.deque):
            before.clear()
            before.extend(made)
        else:
            return made
        return before

    @staticmethod
    def _class(name: str, before: Any) -> type | None:
        """The class called ``module:qualified name``: that of `before`, or one this process has imported already.

        Nothing is imported and no code of the class runs: classes with a finalizer are refused.
        """
        module, _, qualified = name.partition(":")
        if f"{type(before).__module__}:{type(before).__qualname__}" == name:
            return type(before)
        found: Any = sys.modules.get(module)
        for part in qualified.split("."):
            found = getattr(found, part, None)
        return found if isinstance(found, type) and not hasattr(found, "__del__") else None
