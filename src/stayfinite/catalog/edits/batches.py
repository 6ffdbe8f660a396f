"""The statement that gives a loop its batch, and lines after it that change the batch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stayfinite.catalog.edits.seeking import called
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.scales import root_of
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

_TAKES_A_STEP = re.compile(r"\.backward\(|\.step\(|\boptimi[sz]er\b")

_PART = re.compile(r"""\w+(\[(\d+|'[^']*'|"[^"]*")\]|\.\w+)+""")
"""What a loop reads of a batch that has one name: ``batch['x']``, ``batch[0]``, ``batch.x``."""


@dataclass(frozen=True)
class Bound:
    """A loop's head, an assignment or the parameters of a function that give `names` their parts of a batch at once."""

    source: Source
    statement: ast.For | ast.Assign | ast.FunctionDef
    names: tuple[str, ...]

    def after(self, text: str) -> Edit | None:
        """The line(s) `text` where the names have been given."""
        if isinstance(self.statement, ast.For):
            return self.source.insert_before(self.statement.body[0], text)
        if isinstance(self.statement, ast.FunctionDef):
            told = ast.get_docstring(self.statement, clean=False) is not None
            body = self.statement.body
            return self.source.insert_before(body[min(int(told), len(body) - 1)], text)
        return self.source.insert_after(self.statement, text)


def after_batch(project: Project, templates: Mapping[str, str]) -> list[Edit | None]:
    """Edits that add the template of each part of a batch, by its name, wherever a training loop is given it; else where the table
    was made that it is cut from. ``{x}`` in a template is the name and ``{torch}`` the package. Empty where the text shows no such
    place for one of them."""
    lines: dict[Bound, list[str]] = {}
    edits: list[Edit | None] = []
    for name, template in templates.items():
        root = root_of(name)
        part = name if _PART.fullmatch(name) else root
        places = _bound(project, part) or (_bound(project, root) if part != root else _given_once(project, root))
        if not places:
            return []
        for place in places:
            torch, imports = place.source.spelled("torch.where", place.statement)
            if torch == "where":
                return []
            lines.setdefault(place, []).append(template.format(x=part, torch=torch.removesuffix(".where")))
            edits += imports
    return [*(place.after("\n".join(texts)) for place, texts in lines.items()), *edits]


def rows_kept(case: Case, project: Project, names: Sequence[str], condition: str) -> list[Edit | None]:
    """Edits that leave the rows of a batch out for which `condition` does not hold in one of `names`, in all parts of the batch or
    among the numbers of the rows it is made of; ``{rows}`` in it is a part with all that belongs to a row in one dimension. Empty
    where the text does not show what belongs together."""
    names = list(dict.fromkeys(_indexed(project, name) for name in names))
    numbers = {index: places for name in names for index, places in _numbers_of_rows(project, name).items()}
    tests = [condition.format(rows=f"{name}.reshape(len({name}), -1)") for name in names]
    test = tests[0] if len(tests) == 1 else " & ".join(f"({one})" for one in tests)
    if len(numbers) == 1:
        return [place.after(f"{index} = {index}[{test}]") for index, places in numbers.items() for place in places]
    if re.fullmatch(r"\w+\[['\"].*", names[0]):
        return _entries_kept(case, project, root_of(names[0]), test)
    rowed = {stats.name for stats in (*case.batch, *case.trace.model_inputs)
             if stats.shape and stats.shape[0] == (case.batch_size or stats.shape[0])}
    edits: list[Edit | None] = []
    for place in _bound(project, names[0]):
        of_batch = [one for one in place.names if one in rowed or not isinstance(place.statement, ast.FunctionDef)]
        if not set(of_batch) <= rowed or not set(names) <= set(of_batch):
            return []
        keep = place.source.fresh(place.statement, "keep", "kept", "good_rows")
        parts, kept = ", ".join(of_batch), ", ".join(f"{one}[{keep}]" for one in of_batch)
        edits.append(place.after(f"{keep} = {test}\n{parts} = {kept}"))
    return edits


def _entries_kept(case: Case, project: Project, whole: str, test: str) -> list[Edit | None]:
    """The same where a batch is a dictionary, called `whole`, of parts that all have as many rows."""
    sizes = {stats.shape[:1] for stats in case.batch if root_of(stats.name) == whole}
    edits: list[Edit | None] = []
    for place in _bound(project, whole) if len(sizes) == 1 else ():
        keep = place.source.fresh(place.statement, "keep", "kept", "good_rows")
        edits.append(place.after(f"{keep} = {test}\n{whole} = {{key: part[{keep}] for key, part in {whole}.items()}}"))
    return edits


def _numbers_of_rows(project: Project, name: str) -> dict[str, list[Bound]]:
    """For ``table[rows]``: the loops that give ``rows`` as a tensor of numbers, by its name."""
    cut = re.fullmatch(r"\w+\[(\w+)\]", name)
    if cut is None:
        return {}
    found = [place for place in _bound(project, cut[1]) if place.names == (cut[1],) and _makes_numbers(place.statement)]
    return {cut[1]: found} if found else {}


def _makes_numbers(statement: ast.stmt) -> bool:
    """True where numbers are given in tensors: ``torch.randperm(n).split(20)``, ``order[i : i + 20]``, ``torch.randint(n, (20,))``."""
    if isinstance(statement, ast.Assign):
        cut = isinstance(statement.value, ast.Subscript) and isinstance(statement.value.slice, ast.Slice)
        return cut or called(statement.value) in ("randint", "randperm", "multinomial")
    return isinstance(statement, ast.For) and called(statement.iter) in ("split", "chunk", "tensor_split")


def _given_once(project: Project, root: str) -> list[Bound]:
    """The only assignment that gives `root` something, in all of the sources or in what trains."""
    found = []
    for source in project.sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Name) and node.id == root and isinstance(node.ctx, ast.Store):
                found.append((source, source.statement(node)))
    if len(found) > 1:
        found = [(source, statement) for source, statement in found if statement is not None and _trains(source, statement)]
    if len(found) != 1 or not isinstance(found[0][1], ast.Assign):
        return []
    return [Bound(found[0][0], found[0][1], (root,))]


def _trains(source: Source, statement: ast.stmt) -> bool:
    """True if `statement` stands in the same function as the steps of a training."""
    scope = source.scope(statement)
    inner = [source.segment(one) for one in getattr(scope, "body", []) if not isinstance(one, (ast.FunctionDef, ast.ClassDef))] \
        if isinstance(scope, ast.Module) else [source.segment_of(scope)]
    return any(_TAKES_A_STEP.search(text) for text in inner)


def _indexed(project: Project, name: str) -> str:
    """`name`, or for a table the only way in which single rows of it are taken, ``table[rows]``."""
    if not name.isidentifier():
        return name
    found = {
        source.segment(node) for source in project.sources.values() for node in ast.walk(source.tree)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name)
        and node.value.id == name and isinstance(node.slice, ast.Name)
    }
    given = any(name in one.names for source in project.sources.values() for one in _in(source))
    return found.pop() if len(found) == 1 and not given else name


def _bound(project: Project, name: str) -> list[Bound]:
    """The places that bind `name`, those in functions that train if there are such."""
    if not name.isidentifier():
        return []
    found = [one for source in project.sources.values() for one in _in(source) if name in one.names]
    training = [one for one in found if _trains(one.source, one.statement)]
    return training or found or [one for source in project.sources.values() for one in _given_to(source) if name in one.names]


def _given_to(source: Source) -> Iterator[Bound]:
    """Functions that take a step with what they are given."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef) and _TAKES_A_STEP.search(source.segment_of(node)):
            yield Bound(source, node, tuple(one.arg for one in (*node.args.posonlyargs, *node.args.args) if one.arg != "self"))


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
    return isinstance(value, (ast.Subscript, ast.Name)) or called(value) in (
        "next", "to", "cuda", "index_select", "randint", "randperm", "multinomial",
    )
