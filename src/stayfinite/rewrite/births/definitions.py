"""What a function takes and returns, and which of several bindings of a name hold where it is used."""

from __future__ import annotations

import ast

from stayfinite.rewrite.births.sources import Binding, Function, Pick, Source

SEVERAL = 4
"""Callers, or writers of an attribute, that are followed when the text does not tell which one it was."""


def place_of(target: ast.expr, name: str, before: Pick) -> Pick | None:
    """Where `name` stands in a loop's target."""
    if isinstance(target, ast.Name):
        return before if target.id == name else None
    for place, part in enumerate(target.elts if isinstance(target, (ast.Tuple, ast.List)) else ()):
        found = place_of(part, name, (*before, place))
        if found is not None:
            return found
    return None


def in_force(found: list[Binding], use: ast.AST, source: Source) -> list[Binding]:
    """Of what a name was given, what it may be where it is used: the last before the line, with what changed it since, the
    nearest first; what follows, only in a loop."""
    line = getattr(use, "lineno", 0)
    inside = set(source.above(use))
    before = [one for one in found if one.value.lineno < line or (one.value.lineno == line and one.how == "loop")
              or any(part in inside for part in _statement_of(one, source))]
    here = [one for one in before or found if use not in set(ast.walk(one.value))]
    chosen: list[Binding] = []
    for one in reversed(here):
        chosen.append(one)
        statement = source.statement(one.value)
        round_it = [] if statement is None else [p for p in source.above(statement) if isinstance(p, (ast.If, ast.Try, ast.For, ast.While))]
        if one.anew and all(part in inside for part in round_it):
            break
    return chosen[: SEVERAL + 2]


def _statement_of(binding: Binding, source: Source) -> list[ast.stmt]:
    statement = source.statement(binding.value)
    return [statement] if isinstance(statement, (ast.For, ast.AsyncFor, ast.With)) else []


def latest_first(found: list[Binding], use: ast.AST) -> list[Binding]:
    """The last writers of an attribute first: what changes a part of it comes after what made it."""
    rest = [one for one in found if use not in set(ast.walk(one.value))]
    return sorted(rest, key=lambda one: -one.value.lineno)


def parameters(function: Function) -> list[str]:
    """Names of all parameters, but for starred ones."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return [one.arg for one in every]


def positional(function: Function) -> list[str]:
    """Names of the parameters that a call gives by place; without `self`."""
    names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"], ["ctx"]) else names


def default(function: Function, name: str) -> ast.expr | None:
    """What the parameter `name` is unless a call gives it."""
    given = function.args
    named = [*given.posonlyargs, *given.args]
    pairs = dict(zip([one.arg for one in reversed(named)], reversed(given.defaults), strict=False))
    pairs |= {one.arg: value for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is not None}
    return pairs.get(name)


def results(function: Function) -> list[ast.expr]:
    """What a function returns or yields."""
    if isinstance(function, ast.Lambda):
        return [function.body]
    found: list[ast.expr] = []
    pending: list[ast.AST] = list(reversed(function.body))
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)) and node.value is not None:
            found.append(node.value)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            pending += reversed(list(ast.iter_child_nodes(node)))
    return found
