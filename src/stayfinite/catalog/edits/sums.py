"""Sums over everything, and the means that they become."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import view
from stayfinite.records.fix import Edit


def as_mean(source: Source, node: ast.AST) -> Edit | None:
    """The edit that makes a mean of the sum that `node` is; ``None`` where it is none, or runs over a dimension: that is usually part
    of the formula."""
    seen = view(source, node)
    if seen is None or seen.name != "sum" or seen.package not in ("", "torch") or not isinstance(node, ast.Call):
        return None
    if node.keywords or len(seen.operands) != 1:
        return None
    text = source.segment(node.func)
    return source.replace(node.func, text.removesuffix("sum") + "mean") if text.endswith("sum") else None


def told_to_sum(call: ast.Call) -> Iterator[ast.expr]:
    """The ``"sum"`` of ``reduction="sum"``."""
    yield from (
        one.value for one in call.keywords if one.arg == "reduction" and isinstance(one.value, ast.Constant) and one.value.value == "sum"
    )
