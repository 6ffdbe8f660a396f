"""Where a source converts to a narrow format, and numbers on their way to numpy."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from stayfinite.catalog.edits.seeking import called
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.records.fix import Edit

_METHODS = {"half": "float16", "bfloat16": "bfloat16"}
_FORMATS = {"torch.half": "float16", "torch.float16": "float16", "torch.bfloat16": "bfloat16", "numpy.float16": "float16"}


def conversions(source: Source, wide: str, *narrow: str, autocast: bool = True) -> Iterator[Edit]:
    """Edits after which what was converted to one of the formats `narrow` is converted to `wide` (``"float32"``, ``"bfloat16"``).
    Those that an autocast is entered with are left where `autocast` is false."""
    method = "float" if wide == "float32" else wide
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and not node.args and isinstance(node.func, ast.Attribute) and _METHODS.get(called(node)) in narrow:
            func = node.func
            end, column = func.end_lineno or 0, func.end_col_offset or 0
            yield source.edit_span(end, column - len(func.attr), end, column, method)
        elif isinstance(node, ast.Attribute) and _FORMATS.get(name := source.qualified(node)) in narrow:
            entered = any(called(one) == "autocast" for one in source.above(node))
            if (autocast or not entered) and (wide != "bfloat16" or name.startswith("torch.")):
                yield source.replace(node, f"{source.segment(node.value)}.{wide}")


def widened_for_numpy(project: Project, source: Source) -> Iterator[Edit]:
    """Edits that convert to float32 what is handed from a graph to numpy, which has no bfloat16: ``p.detach().numpy()``."""
    for node in ast.walk(source.tree):
        if called(node) != "numpy" or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.args:
            continue
        given = node.func.value
        learned = any("detach" in made.source.segment(made.value) for made in project.made(source, given))
        if learned and "float" not in source.segment(given):
            end, column = given.end_lineno or 0, given.end_col_offset or 0
            yield source.edit_span(end, column, end, column, ".float()")
