"""What a remedy is made of.

A remedy is a module in `catalog/remedies/`, its id is its file name with hyphens, its docstring is its published page. It
declares

- `TITLE`: a few words; `CURES`: ids of the causes it is a cure for, first the one it is made for;
- `APPLICABILITY`: ``"safe"`` if it is the same function wherever the original was finite, ``"unsafe"`` if it trains otherwise
  from then on, ``"display-only"`` if it is a sentence;
- `SAME_FUNCTION`: true where it claims to give the same values wherever the original was finite; `EXACT`: true where it gives them
  bit for bit, so that a run with it is the run without it up to the failing step; `UNUSED_ELEMENTS`: true where the
  elements it changes are not used, so that a gradient of 0 there is right; `OTHER_LOSS`: true where the loss has another scale with
  it, so that its numbers cannot be held against those of before; `ON_STEP`: false where one step cannot judge it;
  `OF_UPDATES`: true where it changes nothing before the first update;
  `BREADTH`: 0 (default) for a change to one operation, 1 to a layer or an argument, 2 to the whole training, 3 for a mask of the
  folklore, which is a candidate only to be judged like the others;
- `EXAMPLES`: names of gallery cases that it cures; empty with a `NO_EXAMPLE` that says why;
- `propose(case, sources)`: the ways to do it for this case, the best first; empty if it is not about this case at all.

A proposal holds what is done to a running training, a fix of the source, or both. Where the source shows no safe place for
an edit, it is display-only and says why: never a patch that may be wrong.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from stayfinite.catalog.edits.changes import fix_of
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import View, find, of_kind, view
from stayfinite.records.diagnosis import Applicability, Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Intervention, Place
from stayfinite.records.location import UNKNOWN_LOCATION, Location


class Cure(Protocol):
    """The interface of a module in `catalog/remedies/`."""

    TITLE: str
    CURES: tuple[str, ...]
    APPLICABILITY: Applicability
    EXAMPLES: tuple[str, ...]

    def propose(self, case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
        """The ways to do it for `case`; `sources`: text by file as in `Location`."""


def offered(
    module: str, sources: Mapping[str, str], edits: Iterable[Edit | None] | None = None, *interventions: Intervention,
    says: str = "", cost: str = "", applicability: Applicability | None = None,
) -> Remedy:
    """A proposal of the remedy in `module` (its ``__name__``).

    **Arguments**: `edits` of the source, ``None`` where no safe place for them is known. `says`: for one without a patch, what to
    change by hand and why this was not done; for one with a patch, what it does here, if `TITLE` does not say it.
    """
    cure = sys.modules[module]
    fix = fix_of(sources, edits) if edits is not None else None
    wanted: Applicability = applicability or cure.APPLICABILITY
    return Remedy(
        remedy=module.rpartition(".")[2].replace("_", "-"), title=says if says and fix is not None else cure.TITLE,
        applicability=wanted if fix is not None else "display-only", causes=cure.CURES, interventions=interventions, fix=fix,
        cost=cost, reason="" if fix is not None else says,
    )


def place(case: Case, kind: str | None = None) -> Place:
    """The calls of the origin's operator (or of `kind`) at its line."""
    at, origin = location(case), case.origin
    return Place(kind if kind is not None else origin.op if origin is not None else "", at.file, at.line)


def location(case: Case) -> Location:
    """Where the failure was born; an unknown place if nobody knows."""
    return case.origin.location if case.origin is not None else UNKNOWN_LOCATION


class Scene:
    """What a remedy of one operation begins with: the sources, read, and the operator at the origin as it is written."""

    def __init__(self, case: Case, sources: Mapping[str, str], fits: Callable[[View], bool] | None = None) -> None:
        self.case, self.sources = case, sources
        self.project = Project(sources)
        self.at = location(case)
        self.source = self.project.get(self.at.file)
        kind = case.origin.op if case.origin is not None else ""
        self.view = find(self.source, self.at, fits or of_kind(kind)) if self.source is not None else None

    def read(self, file: str) -> Source | None:
        """The source of `file`, if it is known."""
        return self.project.get(file)


def chosen(source: Source, operand: ast.expr, template: str, *names: str) -> list[Edit | None]:
    """Edits that put `template` in the place of `operand`; ``{x}`` in it is the operand. Where it stands there more than once and
    is not a plain name, it is computed once, by a statement before (called one of `names`), or in place where none fits."""
    def put(text: str) -> Edit:
        return source.replace(operand, _piece(source, operand, text))

    several = template.count("{x}") > 1
    if not several:
        return [put(template.format(x=source.operand(operand)))]
    if isinstance(operand, ast.Name) or (isinstance(operand, ast.Attribute) and isinstance(operand.value, ast.Name)):
        return [put(template.format(x=source.segment(operand)))]
    name = source.fresh(operand, *names, "value")
    statement = _movable(source, operand)
    if statement is not None:
        text = source.segment(operand)
        text = f"({text})" if "\n" in text or isinstance(operand, (ast.NamedExpr, ast.Starred)) else text
        return [source.insert_before(statement, f"{name} = {text}"), put(template.format(x=name))]
    first, rest = template.split("{x}", 1)
    return [put(f"{first}({name} := {source.segment(operand)}){rest.format(x=name)}")]


def _piece(source: Source, operand: ast.expr, text: str) -> str:
    """`text` as it can stand in the place of `operand`: in parentheses where a method of it is called, ``(z - z.amax(1)).exp()``."""
    around = source.parents.get(operand)
    if not isinstance(around, (ast.Attribute, ast.Subscript)) or around.value is not operand:
        return text
    bare = (around.lineno, around.col_offset) == (operand.lineno, operand.col_offset)
    whole = isinstance(ast.parse(text, mode="eval").body, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    return f"({text})" if bare and not whole else text


def _movable(source: Source, node: ast.expr) -> ast.stmt | None:
    """The statement before which `node` may be computed instead: nothing else that runs code stands before it there, and it runs
    once whenever the statement does."""
    for one in source.above(node):
        if isinstance(one, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.IfExp, ast.BoolOp)):
            return None
        if isinstance(one, ast.stmt):
            if not isinstance(one, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Expr)):
                return None
            earlier = [
                call for call in ast.walk(one)
                if isinstance(call, (ast.Call, ast.NamedExpr)) and (call.end_lineno or 0, call.end_col_offset or 0)
                <= (node.lineno, node.col_offset) and not _pure(source, call)
            ]
            return one if not earlier and source.indentation(one) is not None else None
    return None


_PURE = frozenset({
    "abs", "clamp", "cumsum", "dim", "exp", "float", "flatten", "gather", "log", "max", "mean", "min", "numel", "ones_like", "pow",
    "reshape", "shape", "sigmoid", "size", "softmax", "sqrt", "square", "squeeze", "std", "sum", "tanh", "unsqueeze", "var", "view",
    "zeros_like", "where", "norm", "detach", "expand", "len", "diff", "relu",
})
"""Calls by whose side another expression may be computed earlier: they draw no numbers and change nothing."""


def _pure(source: Source, node: ast.expr) -> bool:
    seen = view(source, node)
    return seen is not None and seen.spelled in ("function", "method") and seen.name in _PURE
