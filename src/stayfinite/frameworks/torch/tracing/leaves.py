"""Values that were there before the step computed anything, and places where a non-finite value does harm.

Parameters, buffers, gradients and moments are both: bad at the start they are leaves, gone bad during the step they are
sinks. Tensors of the batch are leaves only; they also tell the batch size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import torch

from stayfinite.frameworks.torch.stats import bad_mask, dense, describe, first_true, is_bad, is_number
from stayfinite.frameworks.torch.tracing.belonging import Belonging, rows_of
from stayfinite.frameworks.torch.tracing.counting import count_rows, has_time_first
from stayfinite.frameworks.torch.tracing.flow import Flow, covers
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, LeafKind, Sink, SinkKind

_DEPTH, _TENSORS = 5, 400
"""How deep a batch is searched, and for how many tensors: a batch is small, and a name may lead to a whole data set."""


class Known(NamedTuple):
    """A tensor with a name. `kind` as in `Leaf`."""

    kind: LeafKind
    name: str
    tensor: torch.Tensor


def tensors_in(value: object, path: str, depth: int = _DEPTH) -> Iterator[tuple[str, Any]]:
    """Tensors and numeric NumPy arrays reachable from `value` through lists, tuples, mappings and plain objects, with
    the expression that leads to each."""
    if isinstance(value, torch.Tensor) or (type(value).__module__ == "numpy" and hasattr(value, "__array_interface__")):
        yield path, value
        return
    if depth == 0 or isinstance(value, (str, bytes, torch.nn.Module, torch.optim.Optimizer, type)) or callable(value):
        return
    if isinstance(value, Mapping):
        for key, item in list(value.items())[:_TENSORS]:
            yield from tensors_in(item, f"{path}[{key!r}]", depth - 1)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for name in value._fields:
            yield from tensors_in(getattr(value, name), f"{path}.{name}", depth - 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value[:_TENSORS]):
            yield from tensors_in(item, f"{path}[{index}]", depth - 1)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name, None), f"{path}.{field.name}", depth - 1)
    elif isinstance(getattr(value, "__dict__", None), dict) and not hasattr(value, "__next__"):
        for name, item in list(vars(value).items())[:50]:
            if isinstance(item, (torch.Tensor, Mapping)):
                yield from tensors_in(item, f"{path}.{name}", min(depth - 1, 1))


class Surroundings:
    """Everything with a name around a step.

    **Arguments**: `roots`, `batch`, `optimizers`, `parameter_names` as in `Tracer`; `unseen(text)` is told of tensors
    whose values cannot be reached.
    """

    def __init__(
        self,
        roots: Sequence[torch.nn.Module],
        batch: Mapping[str, object],
        optimizers: Sequence[torch.optim.Optimizer],
        parameter_names: Mapping[int, str],
        unseen: Callable[[str], None],
    ) -> None:
        self.batch_size: int | None = None
        self.leaves: list[Leaf] = []
        self._unseen = unseen
        self._optimizers = list(optimizers)
        self._by_storage: dict[int, Known] = {}
        self._arrays: list[tuple[int, int, str, Any]] = []
        self._place: dict[tuple[LeafKind, str], int] = {}
        self._time_first = has_time_first(roots)
        self.members: torch.Tensor | None = None
        """The sample that each element along the first dimension of such tensors belongs to: the graph of each node."""
        self._bad_at_start: set[tuple[LeafKind, str]] = set()
        self._strangers: dict[int, torch.Tensor] = {}
        self.parameters: dict[str, torch.Tensor] = {}
        self._buffers: dict[str, torch.Tensor] = {}
        self.parameter_of: dict[int, str] = {}
        self.belonging: Belonging | None = None
        """Which rows the elements of tensors belong to; from `look` on."""
        self._collect(roots, batch, parameter_names)

    def _collect(self, roots: Sequence[torch.nn.Module], batch: Mapping[str, object], names: Mapping[int, str]) -> None:
        seen: set[int] = set()
        for root in roots:
            for name, parameter in root.named_parameters():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    self.parameters[self._free(self.parameters, names.get(id(parameter), name))] = parameter
            for name, buffer in root.named_buffers():
                if id(buffer) not in seen:
                    seen.add(id(buffer))
                    self._buffers[self._free(self._buffers, name)] = buffer
        found = [item for name, value in batch.items() for item in tensors_in(value, name)][:_TENSORS]
        spelled = {id(value): path for path, value in found}
        for optimizer in self._optimizers:
            for number, group in enumerate(optimizer.param_groups):
                for place, parameter in enumerate(group["params"]):
                    if id(parameter) not in seen:
                        seen.add(id(parameter))
                        name = names.get(id(parameter)) or spelled.get(
                            id(parameter), f"group {number}, parameter {place}"
                        )
                        self.parameters[self._free(self.parameters, name)] = parameter
        for _, value in found:
            if id(value) in names and id(value) not in seen and isinstance(value, torch.Tensor):
                seen.add(id(value))
                self.parameters[self._free(self.parameters, names[id(value)])] = value
        self._batch = [(path, value) for path, value in found if id(value) not in seen]

    @staticmethod
    def _free(taken: Mapping[str, object], name: str) -> str:
        """`name`, or `name` with a number where several roots have a tensor of that name."""
        if name not in taken:
            return name
        return next(f"{name} ({number})" for number in range(2, len(taken) + 3) if f"{name} ({number})" not in taken)

    def _moments(self) -> Iterator[tuple[str, torch.Tensor]]:
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        for optimizer in self._optimizers:
            for parameter, state in list(optimizer.state.items()):
                if isinstance(state, Mapping):
                    for key, value in state.items():
                        if isinstance(value, torch.Tensor) and value is not parameter:
                            yield f"{key} of {names.get(id(parameter), 'a parameter')}", value

    def _states(self) -> Iterator[tuple[LeafKind, str, torch.Tensor]]:
        for name, parameter in self.parameters.items():
            yield "parameter", name, parameter
            if parameter.grad is not None:
                yield "gradient", name, parameter.grad
        for name, buffer in self._buffers.items():
            yield "buffer", name, buffer
        for name, moment in self._moments():
            yield "moment", name, moment

    def look(self, flow: Flow, belonging: Belonging) -> None:
        """Register everything with a name, note what is bad already and what is known to be finite."""
        self.belonging = belonging
        self._count_rows()
        for kind, name, tensor in self._states():
            part = self._register(kind, name, tensor)
            if part is None:
                continue
            if kind == "parameter":
                self.parameter_of.setdefault(flow.key(part), name)
            if is_number(part):
                record = flow.record(part)
                record.known = covers(part)
                if is_bad(part):
                    self._bad_at_start.add((kind, name))
                    record.source = -1 - self.leaf(kind, name, part)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for name, value in group.items():
                    if isinstance(value, torch.Tensor):
                        self._register("scalar", name, value)
        for path, value in self._batch:
            if not isinstance(value, torch.Tensor):
                self._arrays.append((value.ctypes.data, value.ctypes.data + value.nbytes, path, value))
                continue
            part = self._register("batch", path, value)
            if part is None:
                continue
            if self._is_given(part):
                self._begin(flow, part)
            if is_number(part) and is_bad(part):
                flow.record(part).source = -1 - self.leaf("batch", path, part)

    def _register(self, kind: LeafKind, name: str, tensor: torch.Tensor) -> torch.Tensor | None:
        part = dense(tensor)
        if part is None:
            if is_number(tensor):
                self._unseen(f"values of {kind} {name} ({type(tensor).__name__}, {tensor.layout})")
            return None
        self._by_storage.setdefault(Flow.key(part), Known(kind, name, part))
        return part

    def _count_rows(self) -> None:
        """The commonest first extent of the batch."""
        counted = count_rows([value for _, value in self._batch], self._time_first)
        self.batch_size, self._votes, self.members = counted.size, counted.votes, counted.members

    def _is_given(self, part: torch.Tensor) -> bool:
        """False for what may be a parameter that nobody calls so: it takes a gradient, and nothing else has as many rows."""
        return not (part.is_leaf and part.requires_grad) or any(
            value.shape[:1] == part.shape[:1]
            for _, value in self._batch
            if not isinstance(value, torch.Tensor) or not value.requires_grad
        )

    def fed(self, flow: Flow, tensors: Sequence[torch.Tensor]) -> None:
        """Note that a root module was called with `tensors`: the first one tells the batch size best, where none has the size
        that is known."""
        known = self.batch_size is not None and any(self.batch_size in tensor.shape[:2] for tensor in tensors)
        for tensor in () if known or self.members is not None else tensors:
            if tensor.dim() and (self.batch_size is None or int(tensor.shape[0]) in self._votes):
                if self.batch_size != int(tensor.shape[0]):
                    self._resize(flow, int(tensor.shape[0]))
                break
        for tensor in tensors:
            part = dense(tensor)
            if part is not None:
                self._begin(flow, part)

    def note_cut(self, size: int) -> bool:
        """The step cut `size` rows out of something larger; false if its batch has another size."""
        if self.batch_size is None:
            self.batch_size = size
        return self.batch_size == size

    def _resize(self, flow: Flow, size: int) -> None:
        """The batch has another size than was thought."""
        self.batch_size = size
        if self.belonging is not None:
            self.belonging.forget()
        for _, value in self._batch:
            part = dense(value) if isinstance(value, torch.Tensor) else None
            if part is not None and self._is_given(part):
                self._begin(flow, part)

    def _begin(self, flow: Flow, part: torch.Tensor) -> None:
        """The batch begins in a dense `part`, if it has as many rows."""
        if self.members is not None and self.belonging is not None and part.shape[:1] == self.members.shape:
            self.belonging.begin(part, self.members)
            return
        if self._has_rows(part):
            flow.record(part).rows = True
            if self.belonging is not None:
                self.belonging.begin(part)

    def _has_rows(self, part: torch.Tensor) -> bool:
        """True if a sample of the batch is a row of `part`, or a column where time comes first. A table with as many columns as the
        batch has samples (64 pixels, 64 rows at a time) is what batches are cut from, unless layers say that time comes first."""
        size, shape = self.batch_size, part.shape[:2]
        return size is not None and size in shape and (shape[0] == size or part.dim() > 2 or self._time_first)

    def leaf(self, kind: LeafKind, name: str, tensor: torch.Tensor) -> int:
        """The number of the leaf `kind`, `name`; a new one from the non-finite dense `tensor` if there is none."""
        if (kind, name) not in self._place:
            mask = bad_mask(tensor)
            rows = self._rows(kind, tensor, mask)
            stats = describe(tensor, name, first_true(mask))
            self._place[kind, name] = len(self.leaves)
            self.leaves.append(Leaf(kind=kind, name=name, stats=stats, samples=rows))
        return self._place[kind, name]

    def _rows(self, kind: LeafKind, tensor: torch.Tensor, mask: torch.Tensor) -> tuple[int, ...]:
        """The samples in which `mask` of a leaf is true. Rows of a data set that the step cuts its batch from are none: what
        reads it tells which are."""
        if kind not in ("batch", "other") or (kind == "batch" and not self._has_rows(mask)):
            return ()
        return rows_of(self.belonging, tensor, mask, self.batch_size) if self.belonging is not None else ()

    def scalar(self, name: str, value: float) -> int:
        """The number of the leaf for a non-finite plain number called `name`."""
        return self.leaf("scalar", name, torch.tensor(value, dtype=torch.float64))

    def identify(self, tensor: torch.Tensor, name: str) -> int:
        """The number of the leaf that a non-finite dense `tensor` nobody made belongs to; `name` if it has none."""
        known = self._by_storage.get(Flow.key(tensor))
        if known is not None and is_number(known.tensor):
            held = known.tensor if is_bad(known.tensor) else tensor
            return self.leaf(known.kind, known.name, held)
        found = self.array_of(tensor)
        if found is not None:
            return found
        leaf = self.leaf("other", name, tensor)
        self._strangers.setdefault(leaf, tensor)
        return leaf

    def name_strangers(self, batch: Mapping[str, object]) -> None:
        """Give leaves without a name the one they have in `batch`, now that the step has bound its names: batches that
        are fetched inside the step."""
        if not self._strangers and self.batch_size is not None:
            return
        found = [item for name, value in batch.items() for item in tensors_in(value, name)][:_TENSORS]
        if self.batch_size is None:
            self._batch = found
            self._count_rows()
        paths: dict[int, str] = {}
        for path, value in found:
            part = dense(value) if isinstance(value, torch.Tensor) else None
            if part is not None:
                paths.setdefault(Flow.key(part), path)
        for place, tensor in self._strangers.items():
            leaf = self.leaves[place]
            path = paths.get(Flow.key(tensor), leaf.name)
            self.leaves[place] = msgspec.structs.replace(
                leaf,
                kind="batch" if Flow.key(tensor) in paths else leaf.kind,
                name=path,
                stats=msgspec.structs.replace(leaf.stats, name=path),
                samples=self._rows("batch" if Flow.key(tensor) in paths else leaf.kind, tensor, bad_mask(tensor)),
            )

    def array_of(self, tensor: torch.Tensor) -> int | None:
        """The number of the leaf for the NumPy array of the batch that shares its memory or all its values with
        `tensor`; ``None`` if there is none."""
        address = tensor.data_ptr() if tensor.device.type == "cpu" else 0
        for start, end, path, array in self._arrays:
            if start <= address < end:
                return self.leaf("batch", path, torch.from_numpy(array) if array.dtype.kind == "f" else tensor)
        for _, _, path, array in self._arrays:
            if array.shape == tuple(tensor.shape) and array.dtype.kind == "f":
                copy = torch.from_numpy(array).to(tensor.dtype)
                if torch.equal(torch.nan_to_num(copy), torch.nan_to_num(tensor.cpu())) and is_bad(copy):
                    return self.leaf("batch", path, copy)
        return None

    def bad_at_start(self, kind: LeafKind, name: str) -> bool:
        """True if that state was non-finite when the step began."""
        return (kind, name) in self._bad_at_start

    def kind_of(self, tensor: torch.Tensor) -> LeafKind | None:
        """What a dense `tensor` lies in the memory of; ``None`` for nameless memory."""
        known = self._by_storage.get(Flow.key(tensor))
        return known.kind if known is not None else None

    def parameter_of_tensor(self, tensor: torch.Tensor) -> str | None:
        """The dotted name of a parameter, whatever its layout."""
        part = dense(tensor)
        return self.parameter_of.get(Flow.key(part)) if part is not None else None

    def rate_name(self, value: float) -> str | None:
        """The setting of an optimizer that is as non-finite as `value` (``"lr"``), or ``None``."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for name, setting in group.items():
                    if isinstance(setting, float) and not math.isfinite(setting):
                        return str(name)
        return None

    def note_gradient(self, name: str, tensor: torch.Tensor) -> None:
        """Register the gradient that parameter `name` has just been given."""
        part = dense(tensor)
        if part is not None:
            self._by_storage[Flow.key(part)] = Known("gradient", name, part)

    def parameter_name(self, tensor: torch.Tensor) -> str | None:
        """The parameter that a dense `tensor` is, or whose gradient or moment it is."""
        known = self._by_storage.get(Flow.key(tensor))
        if known is None or known.kind not in ("parameter", "gradient", "moment"):
            return None
        return known.name.rpartition(" of ")[2] if known.kind == "moment" else known.name

    def note_moments(self) -> None:
        """Register the moments that optimizers made since."""
        for name, moment in self._moments():
            part = dense(moment)
            if part is not None:
                self._by_storage.setdefault(Flow.key(part), Known("moment", name, part))

    def sinks(self, flow: Flow, gradients_seen: set[str]) -> list[Sink]:
        """The parameters, gradients, buffers and moments that went bad since `look`, gradients in `gradients_seen`
        aside."""
        found = []
        order: dict[str, int] = {"gradient": 0, "buffer": 1, "parameter": 2, "moment": 3}
        for kind, name, tensor in sorted(self._states(), key=lambda state: order[state[0]]):
            if (kind, name) in self._bad_at_start or (kind == "gradient" and name in gradients_seen):
                continue
            part = dense(tensor)
            if part is not None and is_number(part) and is_bad(part):
                found.append(sink(kind, name, part, flow))  # type: ignore[arg-type]
        return found


def sink(kind: SinkKind, name: str, tensor: torch.Tensor, flow: Flow) -> Sink:
    """The sink `kind`, `name` for a non-finite dense `tensor`."""
    sources = flow.sources(tensor)
    made = [source for source in sources if source >= 0]
    source = min(made) if made else max(sources, default=None)
    stats: TensorStats = describe(tensor, name, first_true(bad_mask(tensor)))
    return Sink(kind=kind, name=name, stats=stats, source=source)
