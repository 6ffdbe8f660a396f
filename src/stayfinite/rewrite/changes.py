"""What single syntax nodes bind, change in place and loop over."""

from __future__ import annotations

import ast

from stayfinite.rewrite.summary import CHANGERS, MUTATORS, FunctionNode, dotted, within

_GROWING = frozenset({"append", "extend", "setdefault"})
"""Methods that leave all that a list or a dict holds where it is."""


def called(node: ast.Call) -> str:
    """The last name of what is called, whatever it is an attribute of."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else (dotted(node.func) or "").rsplit(".", 1)[-1]


def iterated_names(nodes: list[ast.AST]) -> set[str]:
    """Last names of what `nodes` loop over, through `enumerate`, `zip`, `islice` and the like."""
    found: set[str] = set()
    loops = [n.iter for n in nodes if isinstance(n, (ast.For, ast.comprehension))]
    while loops:
        iterable = loops.pop()
        if isinstance(iterable, ast.Call):
            loops += iterable.args
        elif isinstance(iterable, ast.Name):
            found.add(iterable.id)
        elif isinstance(iterable, ast.Attribute):
            found.add(iterable.attr)
    return found


def is_generator(node: FunctionNode) -> bool:
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    return any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for statement in body for inner in within(statement))


def bound_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return [node.id]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names if alias.name != "*"]
    if isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
        return [node.name]
    if isinstance(node, ast.MatchMapping) and node.rest:
        return [node.rest]
    return []


def note_changes(node: ast.AST, changed: set[str], attributes: set[str]) -> None:
    """Add what `node` changes in place: by first name to `changed`, by attribute name to `attributes`."""
    targets: list[ast.expr] = []
    if isinstance(node, (ast.Assign, ast.Delete)):
        targets = list(node.targets)
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.For)):
        targets = [node.target]
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            changed.add(node.target.id)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        method = node.func.attr
        if method in MUTATORS or (method.endswith("_") and not method.endswith("__")):
            _note_target(node.func.value, changed, attributes, rebinds=False)
    elif isinstance(node, ast.Call) and dotted(node.func) == "next" and node.args:
        _note_target(node.args[0], changed, attributes, rebinds=False)
    if isinstance(node, ast.Call):
        called = (dotted(node.func) or "").rsplit(".", 1)[-1]
        if node.args and called in CHANGERS:
            _note_target(node.args[0], changed, attributes, rebinds=False)
            if called == "setattr" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                attributes.add(str(node.args[1].value))
        for keyword in node.keywords:
            if keyword.arg == "out":
                _note_target(keyword.value, changed, attributes, rebinds=False)
    for target in targets:
        parts = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
        for part in parts:
            _note_target(part, changed, attributes, rebinds=True)


def _note_target(node: ast.AST, changed: set[str], attributes: set[str], *, rebinds: bool) -> None:
    if isinstance(node, ast.Name):
        if not rebinds:
            changed.add(node.id)
        return
    while isinstance(node, (ast.Subscript, ast.Attribute, ast.Starred, ast.Call)):
        if isinstance(node, ast.Attribute):
            attributes.add(node.attr)
        node = node.func if isinstance(node, ast.Call) else node.value
        if isinstance(node, ast.Name):
            changed.add(node.id)


def note_replaced(node: ast.AST, replaced: set[str]) -> None:
    """Add the names and attributes of the containers in which `node` may replace, remove or move elements; those that are
    only seen to grow at their end are left out."""
    targets: list[ast.expr] = []
    if isinstance(node, (ast.Assign, ast.Delete)):
        targets = list(node.targets)
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.For)):
        targets = [node.target]
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS - _GROWING:
            _note_target(node.func.value, replaced, replaced, rebinds=False)
        if node.args and called(node) in CHANGERS - {"setattr"}:
            _note_target(node.args[0], replaced, replaced, rebinds=False)
    while targets:
        target = targets.pop()
        if isinstance(target, (ast.Tuple, ast.List)):
            targets += target.elts
        elif isinstance(target, ast.Starred):
            targets.append(target.value)
        elif isinstance(target, ast.Subscript):
            _note_target(target, replaced, replaced, rebinds=True)
        elif isinstance(node, ast.AugAssign) and not isinstance(node.op, ast.Add):
            _note_target(target, replaced, replaced, rebinds=False)  # `numbers *= 2`, `settings |= more`
