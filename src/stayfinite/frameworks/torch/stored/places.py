"""Where the objects are that a block can reach: paths from its names, for what a stored case must find again.

The walk goes where `rewrite.state.Plan` goes: from the names the block and its functions read, through the user's own
objects, containers, closures and modules.
"""

from __future__ import annotations

import io
import random
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from stayfinite.frameworks.torch.subjects import is_scaler, is_scheduler
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.project import is_user_class, is_user_file, is_user_object
from stayfinite.rewrite.state import Plan, is_namespace

Path = list[Any]
"""See `stored_values`."""

_DEPTH = 5
"""As deep as `rewrite.state.Plan` looks, and one more for the attributes of what it finds there."""
_WIDTH = 64
"""Containers with more elements are stored whole or not at all."""
_SCALARS = (int, float, bool, str, type(None))
_MODULE_OWN = frozenset(vars(nn.Module())) - {"training"}
"""Attributes every module has for its own bookkeeping."""


@dataclass(frozen=True)
class Place:
    """A value at `path`. `changing`: a pass may leave another value there than it found."""

    path: Path
    value: Any
    changing: bool


class Places:
    """The objects behind the names of one block, by identity.

    - `paths`: id of an object -> the first path that leads to it.
    - `values`: what is bound to names the block may read, to attributes and to closure variables; names that the block
      itself binds are left out.
    - `generators`: random generators, with their paths. `files`: files that are read, likewise.
    """

    def __init__(self, plan: Plan, frame: FrameType) -> None:
        self.paths: dict[int, Path] = {}
        self.values: list[Place] = []
        self.generators: list[tuple[Path, Any]] = []
        self.files: list[tuple[Path, Any]] = []
        self._block: Block = plan.block
        self._slots = {(id(owner), name) for owner, name in plan.slots}
        self._receivers = {id(namespace) for namespace in plan.dicts}
        self._changed = {id(value) for value in (*plan.containers, *plan.arrays)}
        self._kept: list[object] = []
        self._modules = list(_user_namespaces(frame.f_globals))
        self._walk(frame)

    # -- names ---------------------------------------------------------------------------------------------------

    def _walk(self, frame: FrameType) -> None:
        block = self._block
        names = block.loaded | block.stored | block.global_names
        # names that the block binds anew come last: `o` of `for o in optimizers` means another one next time, and a
        # function that the block makes is not there yet where the step is repeated
        for name in sorted(names, key=lambda name: (name in block.stored, name not in block.needed, name)):
            if name.startswith(("_sf_attempt_", "__")):
                continue
            for path, value in self._roots(name, frame):
                own = path[0][0] != "module" or sys.modules[path[0][1]].__dict__ is frame.f_globals
                if name in block.needed and (name not in block.stored or not own):
                    self._note(path, value, name in block.changed or name in block.global_names)
                self._visit(value, path, 0)
                if id(getattr(value, "__dict__", None)) in self._receivers:
                    for attribute, item in vars(value).items():
                        self._note([*path, ["attr", attribute]], item, True)

    def _roots(self, name: str, frame: FrameType) -> Iterator[tuple[Path, Any]]:
        """Where `name` is bound: in the frame, in its module, in the user's other modules."""
        local_names = frame.f_locals
        if local_names is not frame.f_globals and name in local_names:
            scope = "free" if name in frame.f_code.co_freevars else "local"
            yield [[scope, name]], local_names[name]
        for module_name, namespace in self._modules:
            if name in namespace:
                yield [["module", module_name, name]], namespace[name]

    # -- objects -------------------------------------------------------------------------------------------------

    def _note(self, path: Path, value: Any, changing: bool) -> None:
        if not isinstance(value, (type, types.ModuleType, types.FunctionType, nn.Module, Optimizer)):
            if not (_is_own(value) and hasattr(value, "__dict__")):  # its attributes are places of their own
                self.values.append(Place(path, value, changing or id(value) in self._changed))

    def _visit(self, value: Any, path: Path, depth: int) -> None:
        if isinstance(value, (*_SCALARS, complex, bytes)) or depth > _DEPTH or id(value) in self.paths:
            return
        self.paths[id(value)] = path
        self._kept.append(value)
        if isinstance(value, (Tensor, Optimizer)):
            return
        if isinstance(value, nn.Module):
            for name, child in value.named_modules():
                where = [*path, ["module", name]] if name else path
                self.paths.setdefault(id(child), where)
                self._attributes(child, where, depth)
        elif is_scheduler(value) or is_scaler(value):
            for number, inner in enumerate(getattr(value, "_schedulers", ())):
                self._visit(inner, [*path, ["attr", "_schedulers"], ["item", number]], depth)
            self._visit(getattr(value, "optimizer", None), [*path, ["attr", "optimizer"]], depth)
        elif isinstance(value, dict):
            items = list(value.items()) if len(value) <= _WIDTH else []
            for key, item in items:
                if type(key) in (str, int):
                    self._visit(item, [*path, ["item", key]], depth + 1)
        elif isinstance(value, (list, tuple)) or type(value).__name__ == "deque":
            for number, item in enumerate(list(value) if len(value) <= _WIDTH else ()):
                self._visit(item, [*path, ["item", number]], depth + 1)
        elif isinstance(value, (random.Random, Generator)) or _is_numpy_generator(value):
            self.generators.append((path, value))
        elif isinstance(value, io.IOBase):
            if not value.closed and value.seekable() and not value.writable():
                self.files.append((path, value))
        elif isinstance(value, types.FunctionType):
            self._function(value, path, depth)
        elif isinstance(value, types.MethodType):
            self._visit(value.__self__, [*path, ["attr", "__self__"]], depth)
        elif type(value).__name__ == "partial":
            for name in ("func", "args", "keywords"):
                self._visit(getattr(value, name, None), [*path, ["attr", name]], depth)
        elif isinstance(value, (type, types.ModuleType)):
            self._namespace(value, path)
        elif _is_own(value):
            self._attributes(value, path, depth)

    def _function(self, function: types.FunctionType, path: Path, depth: int) -> None:
        for name in self._block.attributes.intersection(vars(function)):
            self._note([*path, ["attr", name]], vars(function)[name], True)
        if hasattr(function, "__wrapped__"):
            self._visit(function.__wrapped__, [*path, ["attr", "__wrapped__"]], depth + 1)
        for name in ("__defaults__", "__kwdefaults__"):
            self._visit(getattr(function, name), [*path, ["attr", name]], depth)
            if getattr(function, name):
                self._note([*path, ["attr", name]], getattr(function, name), False)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                content = cell.cell_contents
            except ValueError:  # an empty cell
                continue
            where = [*path, ["closure", name]]
            if name not in self._block.stored:
                self._note(where, content, name in self._block.global_names or name in self._block.changed)
            self._visit(content, where, depth + 1)

    def _namespace(self, value: type | types.ModuleType, path: Path) -> None:
        """A class or a module of the user's whose own attributes the block changes."""
        if isinstance(value, types.ModuleType):
            own = is_user_file(getattr(value, "__file__", None) or "<none>")
        else:
            own = is_user_class(value)
        if own:
            for name in sorted(self._block.attributes.intersection(vars(value))):
                self._note([*path, ["attr", name]], vars(value)[name], True)

    def _attributes(self, value: Any, path: Path, depth: int) -> None:
        """Attributes of one object of the user's; of a library's module only plain numbers, as schedules set them."""
        own = _is_own(value)
        if own:
            for name in sorted(self._block.attributes):  # what instances change without having it themselves
                owner = next((kind for kind in type(value).__mro__ if name in vars(kind)), None)
                if owner is not None and is_user_class(owner) and name not in getattr(value, "__dict__", ()):
                    self._note([*path, ["attr", "__class__"], ["attr", name]], vars(owner)[name], True)
        names = dict(getattr(value, "__dict__", {}))
        for kind in type(value).__mro__ if own else ():
            slots = kind.__dict__.get("__slots__", ())
            slots = [slots] if isinstance(slots, str) else slots
            names.update({name: getattr(value, name) for name in slots if hasattr(value, name)})
        for name, item in names.items():
            if isinstance(value, nn.Module) and name in _MODULE_OWN:
                continue
            where = [*path, ["attr", name]]
            if own:
                self._note(where, item, (id(value), name) in self._slots)
                self._visit(item, where, depth + 1)
            elif type(item) in _SCALARS and not name.startswith("_"):
                self._note(where, item, False)


def _user_namespaces(here: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of the frame's own module and of the user's other modules, with what they hold."""
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        namespace = getattr(module, "__dict__", None)
        if isinstance(namespace, dict) and id(namespace) not in seen:
            seen.add(id(namespace))  # `__main__` goes by other names too
            file = namespace.get("__file__")
            if namespace is here or (isinstance(file, str) and is_user_file(file)):
                yield name, namespace


def _is_own(value: object) -> bool:
    """True for objects of the user's classes, and for plain holders of settings and counters."""
    return is_user_object(value) or is_namespace(value)


def _is_numpy_generator(value: object) -> bool:
    return type(value).__module__.startswith("numpy.random") and type(value).__name__ in ("Generator", "RandomState")
