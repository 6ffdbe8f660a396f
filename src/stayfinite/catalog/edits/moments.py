"""A variance that is kept as two running averages: of the numbers and of their squares."""

from __future__ import annotations

import ast

from stayfinite.catalog.edits.seeking import assigned_names
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import assigned
from stayfinite.catalog.edits.views import number, view
from stayfinite.records.fix import Edit


def root_of_square(source: Source, node: ast.expr) -> ast.expr | None:
    """What `node` is the square of; ``None`` if it is no square."""
    seen = view(source, node)
    if seen is None or seen.first is None:
        return None
    if seen.name == "square":
        return seen.first
    if seen.name == "pow" and len(seen.operands) > 1 and number(seen.operands[1]) == 2.0:
        return seen.first
    same = seen.name == "mul" and len(seen.operands) == 2 and source.segment(seen.operands[0]) == source.segment(seen.operands[1])
    return seen.first if same else None


def running_deviations(source: Source, difference: ast.BinOp) -> tuple[str, list[Edit | None]] | None:
    """For ``second - first ** 2`` of two running averages: how the variance is written after the edits, which average squares of
    deviations from the running mean instead. ``None`` where it is not that, or where the mean cannot be read there.

    The mean is brought up to date first: a deviation from a mean that is still 0 is the number itself.
    """
    mean = root_of_square(source, difference.right)
    squares = _kept(difference.left)
    if mean is None or squares is None:
        return None
    updates = [(one, root) for one in _updates(source, difference, squares) if (root := _only_square(source, one)) is not None]
    if len(updates) != 1:
        return None
    update, value = updates[0]
    ready = _up_to_date(source, difference, mean, update, source.segment(value))
    if ready is None or not _readable(source, mean, update) or _read_elsewhere(source, squares, difference, update):
        return None
    deviation = f"({source.segment(value)} - {source.operand(mean)})"
    edits: list[Edit | None] = [_replaced(source, value, deviation)]
    if ready.lineno > update.lineno:
        edits = [source.delete(update), source.insert_after(ready, _spliced(source, update, value, deviation))]
    return source.segment(difference.left), edits


def _up_to_date(source: Source, difference: ast.expr, mean: ast.expr, update: ast.stmt, value: str) -> ast.stmt | None:
    """The last statement in the block of `update` that `mean` depends on; ``None`` if it is no running mean of `value`."""
    block = source.block(update)
    hop = assigned(source, mean) if isinstance(mean, ast.Name) else None
    summed = _kept(hop.value) if hop is not None else None
    kept = summed if summed is not None else _kept(mean)
    taken_in = [one for one in _updates(source, difference, kept) if one in block] if kept is not None else []
    if len(taken_in) != 1 or value not in source.segment(taken_in[0]):
        return None
    read = {source.segment(one) for one in ast.walk(mean) if isinstance(one, (ast.Name, ast.Attribute))}
    given = [one for one in block if {source.segment(target) for target in assigned_names(one)} & read]
    if summed is not None and not given:
        return None
    return max([*taken_in, *given], key=lambda one: one.lineno)


def _kept(node: ast.expr) -> ast.expr | None:
    """What is kept from step to step: the name or attribute that `node` is, or is a share of."""
    inner = node.left if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else node
    return inner if isinstance(inner, (ast.Name, ast.Attribute)) else None


def _home(source: Source, difference: ast.expr, kept: ast.expr) -> ast.AST:
    """Where `kept` is known: the class for an attribute, the function for a name."""
    return (source.class_of(difference) if isinstance(kept, ast.Attribute) else source.scope(difference)) or source.tree


def _read_elsewhere(source: Source, kept: ast.expr, difference: ast.expr, update: ast.stmt) -> bool:
    """Whether anything else reads the average of squares: it is another number after the edits."""
    inside = {*ast.walk(difference), *ast.walk(update)}
    text = source.segment(kept)
    return any(
        isinstance(one, (ast.Name, ast.Attribute)) and isinstance(one.ctx, ast.Load) and one not in inside and source.segment(one) == text
        for one in ast.walk(_home(source, difference, kept))
    )


def _updates(source: Source, difference: ast.expr, kept: ast.expr) -> list[ast.stmt]:
    """The statements that give `kept` something made of what it was, or change it in place."""
    text = source.segment(kept)
    found: list[ast.stmt] = []
    for one in ast.walk(_home(source, difference, kept)):
        if isinstance(one, (ast.Assign, ast.AugAssign)) and [source.segment(target) for target in assigned_names(one)] == [text]:
            again = isinstance(one, ast.AugAssign) or text in source.segment(one.value)
            found += [one] if again else []
        elif isinstance(one, ast.Expr) and isinstance(one.value, ast.Call) and source.segment(one).startswith((f"{text}.", f"{text} ")):
            found.append(one)
    return found


def _only_square(source: Source, statement: ast.stmt) -> ast.expr | None:
    """What the only square in `statement` is the square of."""
    roots = [root for one in ast.walk(statement) if isinstance(one, ast.expr) and (root := root_of_square(source, one)) is not None]
    return roots[0] if len(roots) == 1 else None


def _readable(source: Source, mean: ast.expr, there: ast.stmt) -> bool:
    """Whether `mean` has the same value where the squares are averaged: attributes of the same object, or names of one function."""
    names = {one.id for one in ast.walk(mean) if isinstance(one, ast.Name)}
    return names == {"self"} or source.scope(mean) is source.scope(there)


def _replaced(source: Source, value: ast.expr, text: str) -> Edit | None:
    """`value` becomes `text`, both factors of it where it is squared as ``x * x``."""
    return source.replace(*_squared(source, value, text))


def _spliced(source: Source, statement: ast.stmt, value: ast.expr, text: str) -> str:
    """The text of `statement` with that change."""
    return source.spliced(statement, *_squared(source, value, text))  # type: ignore[arg-type]


def _squared(source: Source, value: ast.expr, text: str) -> tuple[ast.expr, str]:
    """What stands for `value` in a square, and its new text: the whole product where it is squared as ``x * x``."""
    above = source.parents.get(value)
    if isinstance(above, ast.BinOp) and isinstance(above.op, ast.Mult):
        return above, f"{text} ** 2"
    return value, text
