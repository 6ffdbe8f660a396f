"""What an operator's schema says about one call of it: which arguments are tensors, which it writes, what it is
called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from stayfinite.frameworks.torch import ops
from stayfinite.records.numbers import to_number
from stayfinite.records.trace import Scalar

_NUMBER_TYPES = {"Tensor", "number", "float", "Optional[number]", "Optional[float]", "List[float]", "List[number]"}
_HIDDEN_WRITES = {
    "native_batch_norm",
    "cudnn_batch_norm",
    "miopen_batch_norm",
    "batch_norm_update_stats",
    "batch_norm_gather_stats",
    "batch_norm_gather_stats_with_counts",
}
"""Operators that update running statistics although their schema does not say so."""

_OWN = frozenset({"aten", "c10d", "_c10d_functional"})
_PLAIN = frozenset({"prim", "prims", "profiler", "inductor", "_quantized", "quantized", "higher_order", "streams"})
"""Namespaces of torch itself: with operators that have a kind, and without. All others are of extensions and scripts."""


class Recipe:
    """The parts of an operator's schema that matter here, worked out once.

    **Fields**: `base`: its name without overload and in-place mark; `native`: full name, ``"aten.log.default"``;
    `kind`; `arguments`: names in order; `written`: names of those it writes; `reads_written`: it also reads them;
    `view`: the output is a view of an argument; `shape_only`: it takes extents and dtype of its
    operands, not values; `uninitialised`: the output is memory nobody wrote; `control`: it only asks about
    values; `listed`: it does the same to each element of its lists.
    """

    __slots__ = (
        "aligned",
        "arguments",
        "base",
        "control",
        "gate",
        "kind",
        "listed",
        "native",
        "numbers",
        "pointwise",
        "reads_written",
        "shape_only",
        "singular",
        "uninitialised",
        "view",
        "written",
    )

    def __init__(self, func: torch._ops.OpOverload) -> None:
        schema = func._schema
        name = schema.name.partition("::")[2]
        self.base = name.removeprefix("_foreach_").strip("_")
        self.native = str(func)
        self.kind = ops.kind_of(name) if func.namespace in _OWN else "unknown" if func.namespace in _PLAIN else "custom"
        self.arguments = tuple(argument.name for argument in schema.arguments)
        self.numbers = frozenset(a.name for a in schema.arguments if str(a.type) in _NUMBER_TYPES)
        self.written = frozenset(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
        if self.base in _HIDDEN_WRITES:
            self.written |= {"running_mean", "running_var"}
        self.reads_written = name not in ops.WRITES_ONLY and not any(a.is_out for a in schema.arguments)
        self.uninitialised = self.kind == "empty" or name in ("resize_", "set_", "resize_as_")
        self.shape_only = self.base.endswith("_like") or self.base.startswith("new_")
        self.view = not self.written and bool(func.is_view) and name not in ("lift_fresh", "_to_copy")
        self.control = name in ops.CONTROL or self.kind == "compare"
        self.listed = name.startswith(("_foreach_", "_fused_", "_amp_foreach_"))
        self.singular = self.kind in ops.SINGULAR and "backward" not in name
        self.gate = self.kind in ops.GATES
        self.pointwise = torch.Tag.pointwise in func.tags
        self.aligned = self.pointwise or self.kind in ops.ALIGNED

    def call_kind(self, inputs: Sequence[torch.Tensor], output: torch.Tensor | None) -> str:
        """The kind of one call: a copy that changes the dtype of floating-point numbers is a ``"cast"``, else a
        ``"move"``."""
        if self.base not in ("to_copy", "copy") or output is None or not inputs:
            return self.kind
        source = inputs[-1]
        return "cast" if source.is_floating_point() and source.dtype != output.dtype else "move"


class Operand(NamedTuple):
    """A tensor argument of one call: its `position` and `name` in the schema, its place in a list (else 0)."""

    position: int
    name: str
    place: int
    tensor: torch.Tensor


_recipes: dict[torch._ops.OpOverload, Recipe] = {}


def recipe_of(func: torch._ops.OpOverload) -> Recipe:
    """The recipe of `func`."""
    found = _recipes.get(func)
    if found is None:
        found = _recipes[func] = Recipe(func)
    return found


def operands_of(recipe: Recipe, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Operand]:
    """The tensor arguments of a call, in schema order."""
    found: list[Operand] = []
    names = recipe.arguments
    for position, value in enumerate(args):
        if isinstance(value, torch.Tensor):
            found.append(Operand(position, names[position], 0, value))
        elif isinstance(value, (list, tuple)):
            found.extend(
                Operand(position, names[position], place, item)
                for place, item in enumerate(value)
                if isinstance(item, torch.Tensor)
            )
    for name, value in kwargs.items():
        if isinstance(value, torch.Tensor):
            found.append(Operand(_position(names, name), name, 0, value))
        elif isinstance(value, (list, tuple)):
            found.extend(
                Operand(_position(names, name), name, place, item)
                for place, item in enumerate(value)
                if isinstance(item, torch.Tensor)
            )
    return found


def _position(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def numbers_of(recipe: Recipe, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The plain numbers of a call that are values (exponents, epsilons, fill values), not extents or dimensions."""
    found: list[tuple[str, float]] = []
    for name, value in (*zip(recipe.arguments, args, strict=False), *kwargs.items()):
        if name in recipe.numbers:
            found.extend(
                (name, float(item))
                for item in (value if isinstance(value, (list, tuple)) else (value,))
                if isinstance(item, (int, float)) and not isinstance(item, bool)
            )
    return found


def argument(recipe: Recipe, args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> Any:
    """The argument called `name` of a call; ``None`` if it was not given."""
    if name in kwargs or name not in recipe.arguments:
        return kwargs.get(name)
    place = recipe.arguments.index(name)
    return args[place] if place < len(args) else None


def scalars(numbers: Sequence[tuple[str, float]]) -> tuple[Scalar, ...]:
    """`numbers` as records."""
    return tuple(Scalar(name=name, value=to_number(value)) for name, value in numbers)


def outputs_of(result: Any) -> list[torch.Tensor]:
    """The tensors an operator returned, in order; those in lists included."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, (list, tuple)):
        return [tensor for item in result for tensor in outputs_of(item)]
    return []
