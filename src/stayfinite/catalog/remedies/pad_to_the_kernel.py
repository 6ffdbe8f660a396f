"""Pad what is shorter than the window of a layer.

What it changes
---------------
What a pooling or a convolution is given is filled up with zeros at its end until the kernel fits once: `pool(h)` becomes
`pool(F.pad(h, (0, max(0, 6 - h.shape[-1]))))`. In a sequence of layers a layer that pads stands before it.

When it helps
-------------
A recording, a text or an image is smaller than what the layers need, and the framework refuses it. Everything else is as large as
before and stays as it is.

What it may cost
----------------
The layer reads zeros where nothing was. Where short samples are many, choose a smaller kernel.

Example
-------
::

    h = pool(F.pad(h, (0, max(0, 6 - h.shape[-1]))))
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stayfinite.catalog.edits.seeking import every_call, given
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import attribute_value, module_value, number
from stayfinite.catalog.remedy import Scene, chosen, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Pad what is shorter than the window"
CURES = ("empty-pooling-window",)
APPLICABILITY = "safe"
SAME_FUNCTION = True
ON_STEP = False
EXAMPLES = ("short-signals",)

_LAYER = re.compile(r"torch\.nn\.(?:(?P<kind>Avg|Max|LP)Pool|Conv)(?P<axes>[123])d")
_LAYERS = tuple(f"{kind}{axes}d" for kind in ("AvgPool", "MaxPool", "LPPool", "Conv") for axes in (1, 2, 3))
_FUNCTION = re.compile(r"torch\.nn\.functional\.(?:(?P<kind>avg|max|lp)_pool|conv)(?P<axes>[123])d")
_CLASS = '''class PadTo(nn.Module):
    """Zeros at the end of what is smaller than `size`, along its last dimensions."""

    def __init__(self, *size):
        super().__init__()
        self.size = size

    def forward(self, x):
        missing = [max(0, least - given) for least, given in zip(self.size, x.shape[-len(self.size):])]
        return F.pad(x, [end for one in reversed(missing) for end in (0, one)])


'''


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where a pooling or a convolution over numbers was refused: for the layer that the line calls, else for each layer of
    its kind whose kernel is larger than what was given."""
    if case.origin is None or case.origin.op not in ("avg_pool", "max_pool", "lp_pool", "conv") or case.origin.output is not None:
        return []
    scene = Scene(case, sources)
    source = scene.source
    if source is None:
        return []
    shapes = [stats.shape for stats in case.origin.inputs]
    window = _Window(case.origin.op.partition("_")[0], shapes[0] if shapes else (), shapes[1] if len(shapes) > 1 else ())
    edits: list[Edit | None] = []
    for call in ast.walk(source.tree):
        if isinstance(call, ast.Call) and call.lineno <= scene.at.line <= (call.end_lineno or 0):
            home, built = _built(scene.project, source, call)
            size = window.least(home, built)
            edits += _padded(source, call, size) if size else []
    if not edits:
        for home in scene.project.sources.values():
            able = [layer for one, layer in every_call(scene.project, *_LAYERS) if one is home]
            layers = {layer: size for layer in able if (size := window.least(home, layer))}
            edits += _padded_before(home, layers) if layers else []
    return [offered(__name__, sources, edits)] if edits else []


def _built(project: Project, source: Source, call: ast.Call) -> tuple[Source, ast.Call]:
    """The layer that is called: ``self.pool(h)``, ``pool(h)``, ``nn.AvgPool1d(3)(h)``; else the function."""
    value: ast.expr | None = call.func
    if isinstance(call.func, ast.Attribute):
        value = attribute_value(source, call.func)
    elif isinstance(call.func, ast.Name):
        made = [one for one in project.made(source, call.func) if isinstance(one.value, ast.Call)]
        source, value = (made[0].source, made[0].value) if made else (source, None)
    return (source, value) if isinstance(value, ast.Call) else (source, call)


def _padded(source: Source, call: ast.Call, size: Sequence[int]) -> list[Edit | None]:
    """The first argument of `call` is filled up to `size`."""
    if not call.args or isinstance(call.args[0], ast.Starred):
        return []
    name, imports = source.spelled("torch.nn.functional.pad", call)
    missing = ", ".join(f"0, max(0, {least} - {{x}}.shape[-{axis}])" for axis, least in enumerate(reversed(size), 1))
    return [*chosen(source, call.args[0], f"{name}({{x}}, ({missing}))", "signal", "padded"), *imports]


def _padded_before(source: Source, layers: Mapping[ast.Call, Sequence[int]]) -> list[Edit | None]:
    """Before each of `layers`, which stand among others, stands one that pads; its class goes before the first of them."""
    first = min(layers, key=lambda one: one.lineno)
    top = next((one for one in (first, *source.above(first)) if source.parents.get(one) is source.tree), None)
    if not isinstance(top, ast.stmt):
        return []
    name = source.fresh(first, "PadTo", "PadToKernel")
    base, imports = source.spelled("torch.nn.Module", first)
    pad, more = source.spelled("torch.nn.functional.pad", first)
    sequence, others = source.spelled("torch.nn.Sequential", first)
    text = _CLASS.replace("PadTo", name).replace("nn.Module", base).replace("F.pad", pad).replace("\n", source.newline)
    line = min([top.lineno, *(one.lineno for one in getattr(top, "decorator_list", ()))])
    edits: list[Edit | None] = [source.edit_span(line, 0, line, 0, text), *imports, *more]
    for layer, size in layers.items():
        both = f"{name}({', '.join(map(str, size))}), {source.segment(layer)}"
        above = source.parents.get(layer)
        listed = isinstance(above, ast.List) or (isinstance(above, ast.Call) and source.qualified(above.func) == "torch.nn.Sequential")
        edits += [source.replace(layer, both)] if listed else [source.replace(layer, f"{sequence}({both})"), *others]
    return edits


@dataclass(frozen=True)
class _Window:
    """What slides over an input: `kind` (``"avg"``, ``"max"``, ``"lp"``, ``"conv"``), the `shape` of what was refused, and that of the
    `filters` of a convolution."""

    kind: str
    shape: tuple[int, ...]
    filters: tuple[int, ...]

    def least(self, source: Source, built: ast.Call) -> tuple[int, ...]:
        """How large the input has to be along each dimension that a layer, or a function, slides over; empty where its text does not
        say so, where it is of another kind, or where what was refused was large enough for it."""
        dotted = source.qualified(built.func)
        function = _FUNCTION.fullmatch(dotted)
        known = function or _LAYER.fullmatch(dotted)
        if known is None or (known["kind"] or "conv").lower() != self.kind:
            return ()
        axes, conv = int(known["axes"]), self.kind == "conv"
        first = (2 if conv else 1) if function else 2 if conv else 0
        first += self.kind == "lp"  # the order of the norm stands before its kernel
        kernel = self.filters[-axes:] if function and conv else _sizes(source, given(built, "kernel_size", first), axes)
        padding = _sizes(source, given(built, "padding", first + 2), axes, 0) if self.kind != "lp" else (0,) * axes
        dilation = _sizes(source, given(built, "dilation", first + 3), axes, 1) if conv or self.kind == "max" else (1,) * axes
        if not kernel or not padding or not dilation:
            return ()
        needed = tuple(step * (size - 1) + 1 - 2 * beside for size, beside, step in zip(kernel, padding, dilation, strict=True))
        return needed if any(least > given for least, given in zip(needed, self.shape[-axes:], strict=False)) else ()


def _sizes(source: Source, node: ast.expr | None, axes: int, default: int | None = None) -> tuple[int, ...]:
    """A size for each dimension; empty where it is no number."""
    if node is None:
        return () if default is None else (default,) * axes
    if isinstance(node, ast.Name):
        node = module_value(source, node)
    listed = node.elts if isinstance(node, (ast.Tuple, ast.List)) else [node] * axes
    found = tuple(int(value) for one in listed if (value := number(one)) is not None)
    return found if len(found) == axes else ()
