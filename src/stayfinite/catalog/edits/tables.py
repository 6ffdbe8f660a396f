"""The line that makes the data a batch is cut from, and a statement after it that changes what it made."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator

from stayfinite.catalog import places
from stayfinite.catalog.edits.seeking import assigned_names, called, statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.location import Location


def made_at(case: Case, name: str) -> Iterator[Location]:
    """Lines that make the data of which the tensor `name` is a part, the one that was named first."""
    seen = set()
    found = places.data(case, name)
    nearest = sorted(case.makings, key=lambda one: one.far)
    root = name.partition("[")[0].partition(".")[0]
    others = [one.location for one in nearest if one.by in ("table", "made") and one.name.partition("[")[0] in (name, root)]
    for place in ([found] if found is not None else []) + others:
        if (place.file, place.line) not in seen:
            seen.add((place.file, place.line))
            yield place


def after_table(
    project: Project, place: Location, template: str, kept: Collection[str] = ()
) -> tuple[Source, ast.expr, list[Edit | None]] | None:
    """Edits that add `template` after the assignment at `place`; ``{x}`` in it is what was assigned. ``None`` where it is none.
    `kept`: names of what is computed from it as it is, beside it; the template stands after them."""
    source = project.get(place.file)
    statement = statement_at(source, place.line) if source is not None else None
    targets = assigned_names(statement)
    if source is None or statement is None or len(targets) != 1 or isinstance(statement, ast.AugAssign):
        return None
    if _no_table(project, getattr(statement, "value", None)):
        return None
    target = targets[0]
    while isinstance(target, ast.Subscript):  # a part of it was written: all of it is meant
        target = target.value
    if not isinstance(target, (ast.Name, ast.Attribute)) or statement.lineno > place.line:
        return None
    text = "\n".join(line.format(x=source.segment(target)) for line in template.split("\n"))
    return source, target, [source.insert_after(_written_last(source, statement, source.segment(target), kept), text)]


def _written_last(source: Source, statement: ast.stmt, name: str, kept: Collection[str]) -> ast.stmt:
    """The last statement of the block of `statement` that writes a part of what it made, or makes it anew, or gives one of the names
    `kept` what it computes from it."""
    later = [one for one in source.block(statement) if one.lineno > statement.lineno]
    own, read = re.compile(rf"{re.escape(name)}(\[|$)"), re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
    writing = [
        one for one in later if isinstance(one, (ast.Assign, ast.AugAssign)) and any(
            own.match(text) or (text.partition("[")[0] in kept and read.search(source.segment(one.value)))
            for text in map(source.segment, assigned_names(one))
        )
    ]
    return writing[-1] if writing else statement


_NO_TABLES = frozenset({"randperm", "arange", "randint", "Generator", "manual_seed", "range", "dict", "list", "tuple", "set", "len"})
"""Calls that make indices, or nothing that could be computed with."""


def _no_table(project: Project, value: ast.expr | None) -> bool:
    """True for what is no array of measurements, by its text: a list or dictionary, indices, an object of one of the user's classes."""
    if isinstance(value, (ast.List, ast.ListComp, ast.Tuple, ast.Set, ast.Dict, ast.DictComp, ast.Constant, ast.GeneratorExp)):
        return True
    name = called(value) if value is not None else ""
    return name in _NO_TABLES or (bool(name) and any(
        isinstance(one, ast.ClassDef) and one.name == name for source in project.sources.values() for one in source.tree.body
    ))


def is_torch(source: Source, place: Location) -> bool:
    """True if the expression at `place` is made by torch, as far as its text says."""
    statement = statement_at(source, place.line)
    text = source.segment(statement) if statement is not None else place.code
    value = text.partition("=")[2].lstrip() if isinstance(statement, ast.Assign) else text
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript):
        name = source.segment(statement.targets[0]).partition("[")[0]
        value = " ".join(one.partition("=")[2] for one in source.lines[: place.line] if one.strip().startswith(f"{name} ="))
    return "torch." in value or ".float()" in value or "from_numpy" in value
