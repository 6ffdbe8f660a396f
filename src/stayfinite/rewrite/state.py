"""Plain Python state that a block may change: found once; `saved` captures it each step.

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
from stayfinite.rewrite.project import is_user_class, is_user_file, is_user_object
from stayfinite.rewrite.undo import CONTAINERS, FLAT, Undo

_DEPTH = 4
_GROWN, _REPLACED = 1, 2
"""How a block changes a container: by adding to it, or by what it holds otherwise too."""
LEAVES = (
    int, float, complex, str, bytes, bool, type(None), type, types.ModuleType, types.BuiltinFunctionType, logging.Logger,
)
_QUEUES = (queue.Queue, queue.SimpleQueue)
MISSING = object()


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
    files = [(module, getattr(module, "__file__", None)) for module in list(sys.modules.values())]
    return [module for module, file in files if isinstance(file, str) and is_user_file(file)]


class Plan:
    """The objects behind a block's changed names and attributes, as they were when the plan was made."""

    def __init__(
        self, block: Block, local_names: dict[str, Any], global_names: dict[str, Any], framework: FrameworkState,
        before: Plan | None = None,
    ) -> None:
        """`before`: the block's last plan, for what was learned."""
        self.block = block
        self._framework = framework
        self.slots: list[tuple[Any, str]] = []
        self.containers: list[Any] = []
        self.replaced: set[int] = set()
        """`id` of those whose elements are replaced."""
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
        self.aliases: set[str] = set() if before is None else before.aliases
        """Learned: names whose value is changed in place under another name, which the source does not tell."""
        self.changes_items: bool = before is not None and before.changes_items
        """Learned: what `next` gives is changed in place."""
        self.trained: set[int] = set()
        """`id` of the user's own optimizers and averages, and of all that is found below them."""
        self.trainers: list[Any] = []
        """Those of them that are objects of the user's classes."""
        self._seen: dict[int, int] = {}
        self.copied: dict[type, bool] = {}
        """Types of items met in containers: is what is in them copied?"""
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
        if name not in self.block.stored and not isinstance(value, LEAVES):
            self._watched.append((namespace, name))
        if name in self.block.iterated and name not in self.block.stored and hasattr(value, "__next__"):
            self._cannot(f"it iterates over {name!r}, which goes on from where it was left")
        if isinstance(value, (types.ModuleType, type)):
            self._visit_namespace(value)
            return
        self._visit(value, 0, self._level(name, self.block.changed))
        if name in self.block.receivers and isinstance(value, types.GeneratorType):
            self._cannot(f"it drives the generator {name!r}, which goes on from where it was left")
        if name in self.block.receivers and hasattr(value, "__dict__") and not self._framework.is_owned(value):
            if not is_user_object(value) and not isinstance(value, (type, types.FunctionType, *LEAVES)):
                self.dicts.append(vars(value))

    def _level(self, name: str, changed: frozenset[str]) -> int:
        """0, `_GROWN` or `_REPLACED`."""
        return 0 if name not in changed else _REPLACED if name in self.block.replaced else _GROWN

    def _visit(self, value: Any, depth: int, changed: int) -> None:
        known = self._seen.get(id(value), -1)
        if isinstance(value, LEAVES) or depth > _DEPTH or known >= changed:
            return
        again = known >= 0  # met before under a name that changes it less
        self._seen[id(value)] = changed
        newly = changed and known <= 0
        if known == _GROWN and not isinstance(value, (*CONTAINERS, tuple)):
            return  # for all else it makes no difference how it is changed
        if self._framework.is_owned(value):
            if self._framework.is_state(value) and not again:
                self.met.append(value)
            if newly:
                self.arrays.append(value)
            for child in self._framework.children(value):
                self._visit_object(child, depth)
        elif isinstance(value, CONTAINERS):
            bag = isinstance(value, (set, collections.deque))
            if newly or not changed:
                (self.containers if changed else self.bags if bag else self.others).append(value)
            if changed == _REPLACED:
                self.replaced.add(id(value))
            if len(value) <= 64:
                for item in list(value.values() if isinstance(value, dict) else value):
                    self._visit(item, depth + 1, changed)
        elif isinstance(value, FLAT):
            if newly:
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
            self._visit(value.__self__, depth, 0)
        elif type(value).__name__ == "partial":
            self._visit((value.func, *value.args, *value.keywords.values()), depth, 0)
        elif is_user_object(value) or is_namespace(value):
            self._visit_object(value, depth)
        elif type(value).__module__ in ("csv", "_csv"):
            self._visit_writer(value, depth)
        elif newly and self._framework.copy(value) is not None:
            self.arrays.append(value)

    def _cannot(self, reason: str) -> None:
        if self.unrepeatable is None:
            self.unrepeatable = reason

    def _note_trained(self, value: Any, depth: int = 0) -> None:
        if isinstance(value, LEAVES) or depth > _DEPTH or id(value) in self.trained:
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
            self._visit(function.__wrapped__, depth + 1, 0)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._visit(default, depth + 1, 0)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            if name in self.block.global_names:
                self.cells.append(cell)
            try:
                self._visit(cell.cell_contents, depth + 1, self._level(name, self.block.changed))
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
            item = attributes.get(name, MISSING) if attributes is not None else getattr(value, name, MISSING)
            changed = name in self.block.attributes
            if own and name in self.block.steppers:
                self._note_trained(item)
            if own and name in self.block.iterated and hasattr(item, "__next__"):
                self._cannot(f"it iterates over {name!r}, which goes on from where it was left")
            if changed and own:
                self.slots.append((value, name))
            if item is MISSING or isinstance(item, LEAVES) or not own:
                continue
            if attributes is not None and name not in self.block.attributes and name not in fixed:
                self._watched.append((attributes, name))
            met = [(found, len(found)) for found in (self.others, self.bags)]
            self._visit(item, depth + 1, self._level(name, self.block.attributes))
            for found, before in met if name in fixed else ():
                if len(found) > before and found[before] is item:
                    del found[before]  # the framework's own: it puts it back itself
        if own and attributes is not None and hasattr(type(value), "__dict__"):
            # attributes that do not exist yet but will be set by the block
            self.slots += [(value, name) for name in self.block.attributes.difference(names)]

    def _visit_class(self, kind: type, depth: int) -> None:
        """What instances change in place without having it themselves: a list that stands in the class."""
        for owner in filter(is_user_class, kind.__mro__):
            for name in self.block.attributes.intersection(vars(owner)):
                self._visit(vars(owner)[name], depth + 1, self._level(name, self.block.attributes))

    def _visit_writer(self, value: Any, depth: int) -> None:
        """A CSV writer hides the file it writes to in a bound method."""
        for part in [value, getattr(value, "writer", None)]:
            for met in gc.get_referents(part) if type(part).__module__ == "_csv" else ():
                self._visit(getattr(met, "__self__", None), depth + 1, 0)


def is_namespace(value: object) -> bool:
    """True for the plain holders of attributes that scripts keep their settings and counters in."""
    return isinstance(value, types.SimpleNamespace) or type(value).__module__ == "argparse"
