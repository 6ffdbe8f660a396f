"""Plain Python state at one moment: captured each step, put back before a repetition."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from stayfinite.rewrite.growth import Lengths
from stayfinite.rewrite.state import LEAVES, MISSING, FrameworkState, Plan
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
        self._kept: dict[int, slice] = {}
        """`id` of what was kept by itself -> its place in `_undo`: many are reached by an attribute and by themselves."""
        self._copied = plan.copied
        self._replaced = plan.replaced
        self._lengths = Lengths(plan.others, plan.bags)
        for name in block.stored.difference(self.names):
            if name in global_names:
                self.names[name] = global_names[name]
        for name in block.stored & block.changed:
            if name in self.names:
                self._keep(self.names[name], framework, replaced=name in block.replaced)
        for name in plan.aliases:
            if name in local_names or name in global_names:
                self._keep(local_names.get(name, global_names.get(name)), framework, replaced=False)
        for name in block.global_names:
            for module in plan._modules:
                if name in module.__dict__:
                    self._keep_item(module.__dict__, name, framework, replaced=name in block.replaced)
        for value, name in plan.slots:
            before = len(self._undo)
            held = self._keep_slot(value, name, framework, replaced=name in block.replaced)
            if id(value) in plan.trained:
                self._trained += self._undo[self._kept.get(id(held), slice(0))] + self._undo[before:]
        for value in (*plan.containers, *plan.arrays):
            self._keep(value, framework, replaced=False)
            if id(value) in plan.trained:
                self._trained += self._undo[self._kept.get(id(value), slice(0))]
        for value in plan.trainers if trainers else ():
            before = len(self._undo)
            for name, item in vars(value).items():
                self._keep(item, framework, replaced=name in block.replaced)
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

    @property
    def kept(self) -> Container[int]:
        """`id` of the values whose content is put back."""
        return self._kept.keys()

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

    @property
    def trained(self) -> list[Undo]:
        """What `restore_trained` does, last one first."""
        return [*self._trained]

    def restore_trained(self) -> None:
        """Put back only what belongs to the user's own optimizers and averages: moments, counters, averaged weights."""
        for undo in reversed(self._trained):
            undo()

    def _keep(self, value: Any, framework: FrameworkState, depth: int = 0, *, replaced: bool) -> None:
        if id(value) in self._kept:
            return
        before = len(self._undo)
        self._keep_content(value, framework, depth, replaced=replaced or id(value) in self._replaced)
        if len(self._undo) > before:  # which keeps it alive too
            self._kept[id(value)] = slice(before, len(self._undo))

    def _has_content(self, item: Any, framework: FrameworkState) -> bool:
        """True if items of its type are kept for what is in them; asked once per type, because there may be thousands."""
        kind = type(item)
        if kind not in self._copied:
            kept = isinstance(item, (*CONTAINERS, *FLAT)) or (not isinstance(item, LEAVES) and framework.copy(item) is not None)
            self._copied[kind] = kept
        return self._copied[kind]

    def _keep_content(self, value: Any, framework: FrameworkState, depth: int, *, replaced: bool) -> None:
        if isinstance(value, CONTAINERS):
            self._undo.append(container_undo(value, replaced=replaced))
            if len(value) <= COPY_LIMIT and depth < 3:
                items = value.values() if isinstance(value, dict) else value
                kinds = {type(item): item for item in items}
                if any(self._has_content(item, framework) for item in kinds.values()):
                    for item in items:
                        if self._has_content(item, framework):
                            self._keep(item, framework, depth + 1, replaced=replaced)
        elif isinstance(value, FLAT):
            self._undo.append(flat_undo(value))
        elif not isinstance(value, LEAVES) and not (depth and framework.is_owned(value) and framework.is_state(value)):
            undo = framework.copy(value)
            if undo is not None:
                self._undo.append(undo)

    def _keep_slot(self, value: Any, name: str, framework: FrameworkState, *, replaced: bool) -> Any:
        plain = isinstance(getattr(value, "__dict__", None), dict)
        before = value.__dict__.get(name, MISSING) if plain else getattr(value, name, MISSING)
        if before is not MISSING:
            self._keep(before, framework, replaced=replaced)

        def undo() -> None:
            if before is not MISSING:
                if plain:
                    value.__dict__[name] = before
                else:
                    setattr(value, name, before)
            elif plain:
                value.__dict__.pop(name, None)
            elif hasattr(value, name):
                delattr(value, name)

        self._undo.append(undo)
        return before

    def _keep_item(self, namespace: dict[str, Any], name: str, framework: FrameworkState, *, replaced: bool) -> None:
        before = namespace[name]
        self._keep(before, framework, replaced=replaced)
        self._undo.append(lambda: namespace.__setitem__(name, before))
