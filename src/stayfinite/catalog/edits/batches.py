"""The statement that gives a loop its batch, and lines after it that change the batch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from stayfinite.catalog.edits.seeking import called
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

_TAKES_A_STEP = re.compile(r"\.backward\(|\.step\(|\boptimi[sz]er\b")


@dataclass(frozen=True)
class Bound:
    """A loop's head or an assignment that gives `names` their parts of a batch at once."""

    source: Source
    statement: ast.For | ast.Assign
    names: tuple[str, ...]

    def after(self, text: str) -> Edit | None:
        """The line(s) `text` where the names have been given."""
        if isinstance(self.statement, ast.For):
            return self.source.insert_before(self.statement.body[0], text)
        return self.source.insert_after(self.statement, text)


def after_batch(project: Project, name: str, template: str) -> list[Edit | None]:
    """Edits that add `template` wherever a training loop is given the part `name` of its batch; ``{x}`` in it is that name and
    ``{torch}`` the package. Empty where the text shows no such place."""
    edits: list[Edit | None] = []
    for place in _bound(project, name):
        torch, imports = place.source.spelled("torch.where", place.statement)
        edits += [place.after(template.format(x=name, torch=torch.removesuffix("where").rstrip("."))), *imports]
        if torch == "where":
            return []
    return edits


def rows_kept(case: Case, project: Project, name: str, condition: str) -> list[Edit | None]:
    """Edits that leave the rows of a batch out for which `condition` does not hold, in all of its parts; ``{rows}`` in it is the
    part `name` with all that belongs to a row in one dimension. Empty where the text does not show what belongs together."""
    rowed = {stats.name for stats in (*case.batch, *case.trace.model_inputs)
             if stats.shape and stats.shape[0] == (case.batch_size or stats.shape[0])}
    edits: list[Edit | None] = []
    for place in _bound(project, name):
        if not set(place.names) <= rowed:
            return []
        keep = place.source.fresh(place.statement, "keep", "kept", "good_rows")
        parts, kept = ", ".join(place.names), ", ".join(f"{one}[{keep}]" for one in place.names)
        test = condition.format(rows=f"{name}.reshape(len({name}), -1)")
        edits.append(place.after(f"{keep} = {test}\n{parts} = {kept}"))
    return edits


def _bound(project: Project, name: str) -> list[Bound]:
    """The places that bind `name`, those in functions that train if there are such."""
    if not name.isidentifier():
        return []
    found = [one for source in project.sources.values() for one in _in(source) if name in one.names]
    training = [one for one in found if _TAKES_A_STEP.search(one.source.segment_of(one.source.scope(one.statement)))]
    return training or found


def _in(source: Source) -> Iterator[Bound]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.For):
            target: ast.expr = node.target
            if isinstance(node.iter, ast.Call) and called(node.iter) == "enumerate" and isinstance(target, ast.Tuple):
                target = target.elts[-1]
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and _is_cut(node.value):
            target = node.targets[0]
        else:
            continue
        names = _plain(target)
        if names:
            yield Bound(source, node, names)


def _plain(target: ast.expr) -> tuple[str, ...]:
    """The names that are given something, if they are nothing but names."""
    parts = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
    return tuple(one.id for one in parts if isinstance(one, ast.Name)) if all(isinstance(one, ast.Name) for one in parts) else ()


def _is_cut(value: ast.expr) -> bool:
    """True for what takes a part of something: ``next(batches)``, ``x[rows]``, ``x[rows], y[rows]``, and a name that is taken
    apart."""
    if isinstance(value, ast.Tuple):
        return bool(value.elts) and all(_is_cut(one) for one in value.elts)
    return isinstance(value, (ast.Subscript, ast.Name)) or called(value) in ("next", "to", "cuda", "index_select")
