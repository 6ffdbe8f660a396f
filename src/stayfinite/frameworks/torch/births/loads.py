"""What was loaded, and which of it was bad already: one look per load.

A state is read from a file (`torch.load`) and given to a module or an optimizer (`load_state_dict`). Bad tensors are
remembered under their name in the file and under what they were loaded into.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stayfinite.frameworks.torch import hold
from stayfinite.records.location import Location

_MOST = 20_000
"""Tensors of one load that are looked at."""
_KEPT = 256
"""Bad tensors that are remembered."""


@dataclass(frozen=True)
class Read:
    """A bad tensor in a loaded state. `name`: its key; `file`: where it was read from, empty if unknown; `converted`: it was
    finite in the state and is no longer since it took the type of what it was loaded into."""

    name: str
    file: str
    location: Location
    bad: int
    size: int
    converted: str = ""

    @property
    def how(self) -> str:
        """In words, as it stands in a report."""
        place = f"`{self.name}` in {self.file or 'the state that was loaded'}"
        if self.converted:
            return f"{place} was finite and does not fit into {self.converted}: {self.bad} of {self.size} elements"
        return f"{place} holds {self.bad} non-finite of {self.size} elements"


class Loads:
    """All loads of a run. `locate` gives the user's line that is running."""

    def __init__(self, locate: Callable[[], Location]) -> None:
        self._locate = locate
        self._files: dict[int, tuple[weakref.ref[Tensor], str, Location]] = {}
        """Tensor read from a file -> the file and the line that read it."""
        self._names: dict[str, tuple[str, Location]] = {}
        """The same by its name in the file."""
        self._into: dict[int, tuple[weakref.ref[Tensor], Read]] = {}
        self._moments: weakref.WeakKeyDictionary[Optimizer, dict[tuple[int, str], Read]] = weakref.WeakKeyDictionary()
        self.covered: set[int] = set()
        """`id` of the parameters and buffers that were loaded into."""
        self.finite: bool | None = None
        """Whether everything that was loaded was finite then; ``None`` if nothing was loaded that could be looked at."""

    def listen(self, wrap: Callable[..., None]) -> None:
        """Hook what loads by `wrap(owner, name, before, after)`."""
        wrap(torch, "load", None, lambda result, *args, **kwargs: self._read(result, args[0] if args else kwargs.get("f")))
        wrap(nn.Module, "load_state_dict", None, lambda _result, own, state, *_args, **_kwargs: self._given(own, state))
        wrap(Optimizer, "load_state_dict", None, lambda _result, own, state, *_args, **_kwargs: self._restored(own, state))

    def of(self, tensor: Tensor) -> Read | None:
        """How the bad `tensor`, a parameter or a buffer, was loaded; ``None`` if it was not, or was fine then."""
        found = self._into.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def of_moment(self, optimizer: Optimizer, parameter: Tensor, key: str) -> Read | None:
        """The same of the moment `key` that `optimizer` keeps for `parameter`."""
        return self._moments.get(optimizer, {}).get((id(parameter), key))

    # -- loads ---------------------------------------------------------------------------------------------------

    def _read(self, result: object, source: object) -> None:
        every = list(_tensors(result))
        bad = _bad(every)
        self._looked(every, bad)
        if not bad:
            return
        file, here = _file_name(source), self._locate()
        for name, tensor in bad[:_KEPT]:
            self._files[id(tensor)] = (weakref.ref(tensor), file, here)
            self._names.setdefault(name.rpartition("model.")[2], (file, here))

    def _given(self, module: nn.Module, state: Mapping[str, Any]) -> None:
        own = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
        self.covered.update(id(own[name]) for name in state if name in own)
        given = [(name, value) for name, value in state.items() if isinstance(value, Tensor) and name in own]
        names = {name for name, _ in _bad(given)}
        late = _bad([(name, own[name]) for name, _ in given]) if not names else []
        self._looked(given, [*names, *late])
        here = self._locate() if names or late else None
        for name, value in given:
            target = own[name]
            if here is not None and (name in names or any(name == other for other, _ in late)):
                file, place = self._source(value, here, name)
                read = _read_of(name, file, place, value if name in names else target, "" if name in names else _dtype(target))
                self._into[id(target)] = (weakref.ref(target), read)

    def _restored(self, optimizer: Optimizer, state: Mapping[str, Any]) -> None:
        held: dict[tuple[int, str], Read] = {}
        numbers = [number for group in state.get("param_groups", ()) for number in group.get("params", ())]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for number, parameter in zip(numbers, parameters, strict=False):
            stored = state.get("state", {}).get(number)
            now = optimizer.state.get(parameter)
            if not isinstance(stored, Mapping) or not isinstance(now, Mapping):
                continue
            for key, value in now.items():
                before = stored.get(key)
                if not isinstance(value, Tensor) or not isinstance(before, Tensor) or not _bad([(key, value)]):
                    continue
                file, place = self._source(before, self._locate())
                fine = not _bad([(key, before)])
                name = f"state[{number}][{key!r}]"
                held[id(parameter), key] = _read_of(name, file, place, value if fine else before, _dtype(value) if fine else "")
        self._moments[optimizer] = held

    def _looked(self, every: Sequence[object], bad: Sequence[object]) -> None:
        if every:
            self.finite = self.finite is not False and not bad and len(every) <= _MOST

    def _source(self, tensor: Tensor, here: Location, name: str = "") -> tuple[str, Location]:
        found = self._files.get(id(tensor))
        if found is not None and found[0]() is tensor:
            return found[1], found[2]
        return self._names.get(name, ("", here))  # a copy, a mean of several files: bad under the same name


def _read_of(name: str, file: str, place: Location, tensor: Tensor, converted: str) -> Read:
    with torch.no_grad():
        bad = int(tensor.numel() - torch.isfinite(tensor.detach()).sum())
    return Read(name, file, place, bad, tensor.numel(), converted)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _bad(named: list[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    floating = [(name, t) for name, t in named if t.is_floating_point() and t.layout is torch.strided and not t.is_meta][:_MOST]
    try:
        if hold.norm([t.detach() for _, t in floating]) < float("inf"):
            return []
    except RuntimeError:  # kinds of tensors that cannot be added up
        return []
    names = {id(t) for _, t in floating if hold.nonfinite([("", t.detach())])}
    return [(name, t) for name, t in floating if id(t) in names]


def _tensors(value: object, depth: int = 6) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield "", value
    elif isinstance(value, nn.Module):
        yield from value.state_dict(keep_vars=True).items()
    elif depth and isinstance(value, Mapping):
        for key, item in value.items():
            yield from ((f"{key}.{name}".rstrip("."), tensor) for name, tensor in _tensors(item, depth - 1))
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item, depth - 1)


def _file_name(source: object) -> str:
    if isinstance(source, (str, os.PathLike)):
        return f"`{os.path.basename(os.fspath(source))}`"
    name = getattr(source, "name", None)
    return f"`{os.path.basename(name)}`" if isinstance(name, str) else ""
