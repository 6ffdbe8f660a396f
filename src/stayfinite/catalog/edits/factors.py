"""The numbers that a loss is multiplied with and divided by before it is differentiated."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass

from stayfinite.catalog.clues import finite
from stayfinite.catalog.edits.rates import named_numbers
from stayfinite.catalog.edits.seeking import called, differentiated
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import attribute_value, module_value, number
from stayfinite.records.incident import Case


@dataclass(frozen=True)
class Factor:
    """A number of `value` that stands at `node` of `source`; `used` is what the loss is multiplied with: the number, or a name of
    it in `home`."""

    value: float
    source: Source
    node: ast.expr
    used: ast.expr
    home: Source


def not_divided(case: Case) -> float | None:
    """The factor above 1 that the loss was seen to be multiplied with and the gradients not divided by."""
    scaling = case.configuration.loss_scaling
    misuse = scaling.misuse("not-divided") if scaling is not None else None
    factor = finite(misuse.factor) if misuse is not None else None
    return factor if factor is not None and factor > 1.0 else None


def scale_of_loss(project: Project, total: float) -> list[Factor]:
    """The numbers above 1 that a differentiated loss is multiplied with, where they and what it is divided by come to `total`;
    empty where no loss is multiplied so."""
    for source, loss in differentiated(project):
        for made in project.made(source, loss):
            known = [(_resolved(project, made.source, one), up) for one, up in _parts(made.value, up=True)]
            factors = [(factor, up) for factor, up in known if factor is not None]
            product = math.prod(factor.value if up else 1.0 / factor.value for factor, up in factors)
            if factors and math.isclose(product, total, rel_tol=1e-6):
                return [factor for factor, up in factors if up and factor.value > 1.0]
    return []


def _parts(node: ast.expr, *, up: bool) -> Iterator[tuple[ast.expr, bool]]:
    """What a product is made of, and whether it multiplies."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        yield from _parts(node.left, up=up)
        yield from _parts(node.right, up=up == isinstance(node.op, ast.Mult))
    else:
        yield node, up


def _resolved(project: Project, source: Source, node: ast.expr) -> Factor | None:
    for made in project.made(source, node):
        candidates = [(made.source, made.value)]
        if isinstance(made.value, ast.Name) and (top := module_value(made.source, made.value)) is not None:
            candidates.append((made.source, top))
        if isinstance(made.value, ast.Attribute) and (own := attribute_value(made.source, made.value)) is not None:
            candidates += [(deeper.source, deeper.value) for deeper in project.made(made.source, own)]
        candidates += _settings(project, made.source, made.value)
        for home, value in candidates:
            found = written(value)
            if found:
                return Factor(found, home, value, node, source)
    return None


def _settings(project: Project, source: Source, node: ast.expr) -> list[tuple[Source, ast.expr]]:
    """The only number under the name of an imported constant, a field, an entry or an option: ``cfg.scale``, ``cfg["scale"]``."""
    key = node.slice if isinstance(node, ast.Subscript) else None
    text = key.value if isinstance(key, ast.Constant) else node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    found = [
        (home, value) for home in project.sources.values() for name, value in (*named_numbers(home), *_options(home))
        if name == text and written(value) is not None
    ]
    return found if len(found) == 1 else []


def _options(source: Source) -> Iterator[tuple[str, ast.expr]]:
    """Defaults of the options of a command line."""
    for node in ast.walk(source.tree):
        if called(node) != "add_argument" or not isinstance(node, ast.Call):
            continue
        flags = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        default = next((one.value for one in node.keywords if one.arg == "default"), None)
        if default is not None:
            yield from ((flag.lstrip("-").replace("-", "_"), default) for flag in flags)


def written(node: ast.AST) -> float | None:
    """A number as it is written: ``1024``, ``2.0**13``, ``1 << 13``, ``float(2**10)``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float" and len(node.args) == 1:
        return written(node.args[0])
    if not isinstance(node, ast.BinOp):
        return number(node)
    left, right = number(node.left), number(node.right)
    if left is None or right is None or not 0.0 <= right <= 64.0:
        return None
    if isinstance(node.op, ast.Pow) and 0.0 < left <= 64.0:
        return float(left**right)
    return left * 2.0**right if isinstance(node.op, ast.LShift) else None
