"""Plain Python state that a block may change: found once, captured each step, put back before a repetition.

Static analysis (`blocks.Block`) says which names and attributes are changed; this module finds the objects behind them by
walking from the names the block reads, and remembers the walk until one of those names means another object. Tensors
and framework objects are left to the framework: `FrameworkState` is asked about each object met.
"""

from __future__ import annotations

import collections
import gc
import io
import logging
import queue
import random
import sys
import types
from collections.abc import Iterable
from typing import Any, Protocol

from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.growth import Lengths
from stayfinite.rewrite.project import is_user_class, is_user_file, is_user_object
from stayfinite.rewrite.undo import (
    CONTAINERS,
    COPY_LIMIT,
    FLAT,
    Undo,
    Unrepeatable,
    attributes_undo,
    cell_undo,
    container_undo,
    dict_undo,
    file_undo,
    flat_undo,
    generator_undo,
)

_DEPTH = 4
_LEAVES = (
    int, float, complex, str, bytes, bool, type(None), type, types.ModuleType, types.BuiltinFunctionType, logging.Logger,
)
_QUEUES = (queue.Queue, queue.SimpleQueue)
_MISSING = object()


class FrameworkState(Protocol):
    """What the walk asks a framework."""

    def is_owned(self, value: object) -> bool:
        """True if `value` is the framework's: a tensor, a module, an optimizer."""

    def is_state(self, value: object) -> bool:
        """True if the framework captures and restores `value` itself: modules, optimizers, parameters."""

    def children(self, value: object) -> Iterable[object]:
        """Objects below a framework object that may carry the user's attributes (sub-modules of a module)."""

    def own_attributes(self, value: object) -> frozenset[str]:
        """Attributes the framework itself gives `value` and never binds to another object."""

    def copy(self, value: object) -> Undo | None:
        """An undo for a tensor or array changed in place; None if `value` is neither."""


def _user_modules() -> list[types.ModuleType]:
    found = []
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and is_user_file(file):
            found.append(module)
    return found


class Plan:
    """The objects behind a block's changed names and attributes, as they were when the plan was made."""

    def __init__(self, block: Block, local_names: dict[str, Any], global_names: dict[str, Any], framework: FrameworkState) -> None:
        self.block = block
        self._framework = framework
        self.slots: list[tuple[Any, str]] = []
        self.containers: list[Any] = []
        self.arrays: list[Any] = []
        self.cells: list[types.CellType] = []
        self.generators: list[Any] = []
        self.files: list[Any] = []
        self.dicts: list[dict[str, Any]] = []
        self.others: list[Any] = []
        """Lists and dicts met that nothing is seen to change; `bags`: sets and deques."""
        self.bags: list[Any] = []
        self.met: list[object] = []
        """Framework state met on the way: modules, optimizers, schedulers, scalers, bare parameters."""
        self.unrepeatable: str | None = None
        """What was met that cannot be rewound."""
        self.trained: set[int] = set()
        """`id` of the user's own optimizers and averages, and of all that is found below them."""
        self.trainers: list[Any] = []
        """Those of them that are objects of the user's classes."""
        self._seen: dict[int, bool] = {}
        # None stands for the frame's own names: each call of the user's function has a frame of its own
        self._watched: list[tuple[dict[str, Any] | None, str]] = []
        self._modules = _user_modules()
        self._walk(local_names, global_names)
        self._signature = self._sign(local_names)
        # objects that are compared by identity must not be freed meanwhile: another could take their address
        self._kept = [(local_names if space is None else space).get(name) for space, name in self._watched]
        self._seen.clear()

    def is_current(self, local_names: dict[str, Any]) -> bool:
        """True while the watched names still mean the same objects."""
        return self._sign(local_names) == self._signature

    def _sign(self, local_names: dict[str, Any]) -> list[int]:
        return [id((local_names if namespace is None else namespace).get(name)) for namespace, name in self._watched]

    # -- finding -------------------------------------------------------------------------------------------------

    def _walk(self, local_names: dict[str, Any], global_names: dict[str, Any]) -> None:
        block = self.block
        for name in sorted(block.loaded | block.stored):
            if name.startswith("_sf_attempt_"):
                continue
            if name in local_names:
                self._root(name, local_names[name], None)
            elif name in global_names:
                self._root(name, global_names[name], global_names)
            for module in self._modules:
                if module.__dict__ is not global_names and name in module.__dict__:
                    self._root(name, module.__dict__[name], module.__dict__)

    def _root(self, name: str, value: Any, namespace: dict[str, Any] | None) -> None:
        if name in self.block.steppers:
            self._note_trained(value)
        if name not in self.block.stored and not isinstance(value, _LEAVES):
            self._watched.append((namespace, name))
        if name in self.block.iterated and name not in self.block.stored and hasattr(value, "__next__"):
            self._cannot(f"it iterates over {name!r}, which goes on from where it was left")
        if isinstance(value, (types.ModuleType, type)):
            self._visit_namespace(value)
            return
        self._visit(value, 0, name in self.block.changed)
        if name in self.block.receivers and isinstance(value, types.GeneratorType):
            self._cannot(f"it drives the generator {name!r}, which goes on from where it was left")
        if name in self.block.receivers and hasattr(value, "__dict__") and not self._framework.is_owned(value):
            if not is_user_object(value) and not isinstance(value, (type, types.FunctionType, *_LEAVES)):
                self.dicts.append(vars(value))

    def _visit(self, value: Any, depth: int, changed: bool) -> None:
        if isinstance(value, _LEAVES) or depth > _DEPTH or self._seen.get(id(value)) in (True, changed):
            return
        again = id(value) in self._seen  # met before under a name that nothing changes
        self._seen[id(value)] = changed
        if self._framework.is_owned(value):
            if self._framework.is_state(value) and not again:
                self.met.append(value)
            if changed:
                self.arrays.append(value)
            for child in self._framework.children(value):
                self._visit_object(child, depth)
        elif isinstance(value, CONTAINERS):
            bag = isinstance(value, (set, collections.deque))
            (self.containers if changed else self.bags if bag else self.others).append(value)
            if len(value) <= 64:
                for item in list(value.values() if isinstance(value, dict) else value):
                    self._visit(item, depth + 1, changed)
        elif isinstance(value, FLAT):
            if changed:
                self.containers.append(value)
        elif isinstance(value, tuple):
            for item in value[:64]:
                self._visit(item, depth + 1, changed)
        elif isinstance(value, random.Random) or type(value).__name__ in ("Generator", "RandomState"):
            if not again:
                self.generators.append(value)
        elif isinstance(value, io.IOBase):
            if not again and not value.closed and value.seekable():
                self.files.append(value)
        elif isinstance(value, _QUEUES) or type(value).__module__.startswith("multiprocessing."):
            self._cannot(f"it uses a {type(value).__name__}, which others fill or empty meanwhile")
        elif isinstance(value, types.FunctionType):
            self._visit_function(value, depth)
        elif isinstance(value, types.MethodType):
            self._visit(value.__self__, depth, False)
        elif type(value).__name__ == "partial":
            self._visit((value.func, *value.args, *value.keywords.values()), depth, False)
        elif is_user_object(value) or is_namespace(value):
            self._visit_object(value, depth)
        elif type(value).__module__ in ("csv", "_csv"):
            self._visit_writer(value, depth)
        elif changed and self._framework.copy(value) is not None:
            self.arrays.append(value)

    def _cannot(self, reason: str) -> None:
        if self.unrepeatable is None:
            self.unrepeatable = reason

    def _note_trained(self, value: Any, depth: int = 0) -> None:
        if isinstance(value, _LEAVES) or depth > _DEPTH or id(value) in self.trained:
            return
        if self._framework.is_owned(value) or isinstance(value, (*CONTAINERS, tuple)) or is_user_object(value):
            self.trained.add(id(value))
            if is_user_object(value) and not self._framework.is_owned(value) and hasattr(value, "__dict__"):
                self.trainers.append(value)
            inner = value.values() if isinstance(value, dict) else value if isinstance(value, (*CONTAINERS, tuple)) else ()
            for item in [*inner, *(vars(value).values() if is_user_object(value) and hasattr(value, "__dict__") else ())]:
                self._note_trained(item, depth + 1)

    def _visit_namespace(self, value: types.ModuleType | type) -> None:
        """A module or a class of the user's whose own attributes the block changes."""
        own = value in self._modules if isinstance(value, types.ModuleType) else is_user_class(value)
        if own:
            for name in self.block.attributes.intersection(vars(value)):
                self.slots.append((value, name))

    def _visit_function(self, function: types.FunctionType, depth: int) -> None:
        self.slots += [(function, name) for name in self.block.attributes.intersection(vars(function))]
        if hasattr(function, "__wrapped__"):
            self._visit(function.__wrapped__, depth + 1, False)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._visit(default, depth + 1, False)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            if name in self.block.global_names:
                self.cells.append(cell)
            try:
                self._visit(cell.cell_contents, depth + 1, name in self.block.changed)
            except ValueError:  # an empty cell
                continue

    def _visit_object(self, value: Any, depth: int) -> None:
        attributes = getattr(value, "__dict__", None)
        names = list(attributes) if attributes is not None else []
        for kind in type(value).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            names += [slots] if isinstance(slots, str) else list(slots)
        own = is_user_object(value) or is_namespace(value)
        if own:
            self._visit_class(type(value), depth)
            if attributes is not None and "__dict__" in self.block.attributes:
                self.dicts.append(attributes)
        fixed = self._framework.own_attributes(value)
        for name in names:
            item = attributes.get(name, _MISSING) if attributes is not None else getattr(value, name, _MISSING)
            changed = name in self.block.attributes
            if own and name in self.block.steppers:
                self._note_trained(item)
            if own and name in self.block.iterated and hasattr(item, "__next__"):
                self._cannot(f"it iterates over {name!r}, which goes on from where it was left")
            if changed and own:
                self.slots.append((value, name))
            if item is _MISSING or isinstance(item, _LEAVES) or not own:
                continue
            if attributes is not None and name not in self.block.attributes and name not in fixed:
                self._watched.append((attributes, name))
            met = [(found, len(found)) for found in (self.others, self.bags)]
            self._visit(item, depth + 1, changed)
            for found, before in met if name in fixed else ():
                if len(found) > before and found[before] is item:
                    del found[before]  # the framework's own: it puts it back itself
        if own:
            # attributes that do not exist yet but will be set by the block
            for name in self.block.attributes.difference(names):
                if hasattr(type(value), "__dict__") and attributes is not None:
                    self.slots.append((value, name))


    def _visit_class(self, kind: type, depth: int) -> None:
        """What instances change in place without having it themselves: a list that stands in the class."""
        for owner in filter(is_user_class, kind.__mro__):
            for name in self.block.attributes.intersection(vars(owner)):
                self._visit(vars(owner)[name], depth + 1, True)

    def _visit_writer(self, value: Any, depth: int) -> None:
        """A CSV writer hides the file it writes to in a bound method."""
        for part in [value, getattr(value, "writer", None)]:
            for met in gc.get_referents(part) if type(part).__module__ == "_csv" else ():
                self._visit(getattr(met, "__self__", None), depth + 1, False)


def is_namespace(value: object) -> bool:
    """True for the plain holders of attributes that scripts keep their settings and counters in."""
    return isinstance(value, types.SimpleNamespace) or type(value).__module__ == "argparse"


class Saved:
    """Plain Python state at one moment. `names` are what the block's own frame must be given back."""

    def __init__(
        self, plan: Plan, local_names: dict[str, Any], global_names: dict[str, Any], framework: FrameworkState,
        *, trainers: bool = False,
    ) -> None:
        """`trainers`: keep all that the user's own optimizers hold, whether the source is seen to change it or not."""
        block = plan.block
        self.names = {name: local_names[name] for name in block.stored if name in local_names}
        self._undo: list[Undo] = []
        self._trained: list[Undo] = []
        self._lengths = Lengths(plan.others, plan.bags)
        for name in block.stored.difference(self.names):
            if name in global_names:
                self.names[name] = global_names[name]
        for name in block.stored & block.changed:
            if name in self.names:
                self._keep(self.names[name], framework)
        for name in block.global_names:
            for module in plan._modules:
                if name in module.__dict__:
                    self._keep_item(module.__dict__, name, framework)
        for value, name in plan.slots:
            before = len(self._undo)
            self._keep_slot(value, name, framework)
            if id(value) in plan.trained:
                self._trained += self._undo[before:]
        for value in (*plan.containers, *plan.arrays):
            before = len(self._undo)
            self._keep(value, framework)
            if id(value) in plan.trained:
                self._trained += self._undo[before:]
        for value in plan.trainers if trainers else ():
            before = len(self._undo)
            for item in vars(value).values():
                self._keep(item, framework)
            self._undo.append(attributes_undo(value))
            self._trained += self._undo[before:]
        for cell in plan.cells:
            self._undo.append(cell_undo(cell))
        for namespace in plan.dicts:
            self._undo.append(dict_undo(namespace))
        for generator in plan.generators:
            self._undo.append(generator_undo(generator))
        for file in plan.files:
            if not file.closed:
                self._undo.append(file_undo(file))

    def restore(self) -> None:
        """Put everything back but the frame's names.

        **Raises** `Unrepeatable` if something cannot be put back; all the rest is.
        """
        refusal: Unrepeatable | None = None
        for undo in reversed(self._undo):
            try:
                undo()
            except Unrepeatable as reason:
                refusal = reason
        changed = self._lengths.restore()
        if changed is not None or refusal is not None:
            raise refusal or Unrepeatable(changed)

    def restore_trained(self) -> None:
        """Put back only what belongs to the user's own optimizers and averages: moments, counters, averaged weights."""
        for undo in reversed(self._trained):
            undo()

    def _keep(self, value: Any, framework: FrameworkState, depth: int = 0) -> None:
        if isinstance(value, CONTAINERS):
            self._undo.append(container_undo(value))
            if len(value) <= COPY_LIMIT and depth < 3:
                for item in value.values() if isinstance(value, dict) else value:
                    if not isinstance(item, _LEAVES):
                        self._keep(item, framework, depth + 1)
        elif isinstance(value, FLAT):
            self._undo.append(flat_undo(value))
        elif not isinstance(value, _LEAVES) and not (depth and framework.is_owned(value) and framework.is_state(value)):
            undo = framework.copy(value)
            if undo is not None:
                self._undo.append(undo)

    def _keep_slot(self, value: Any, name: str, framework: FrameworkState) -> None:
        plain = isinstance(getattr(value, "__dict__", None), dict)
        before = value.__dict__.get(name, _MISSING) if plain else getattr(value, name, _MISSING)
        if before is not _MISSING:
            self._keep(before, framework)

        def undo() -> None:
            if before is not _MISSING:
                if plain:
                    value.__dict__[name] = before
                else:
                    setattr(value, name, before)
            elif plain:
                value.__dict__.pop(name, None)
            elif hasattr(value, name):
                delattr(value, name)

        self._undo.append(undo)

    def _keep_item(self, namespace: dict[str, Any], name: str, framework: FrameworkState) -> None:
        before = namespace[name]
        self._keep(before, framework)
        self._undo.append(lambda: namespace.__setitem__(name, before))


