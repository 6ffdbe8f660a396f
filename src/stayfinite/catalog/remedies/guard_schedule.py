"""Keep the schedule of the learning rate within its bounds.

What it changes
---------------
What is raised to a power or returned as a rate goes through `max(0.0, ...)`; the share of a warm-up that is over, where the rate rose
without an end, through `min(1.0, ...)`. A length that counts are divided by is 1 at least.

When it helps
-------------
A schedule that counts further than its end takes the power of a negative number, which is NaN, or gives a negative rate, which
climbs. A warm-up of no steps divides by 0.

What it may cost
----------------
Past its end the rate is 0: the training stands still there. Give the schedule the true number of steps.

Example
-------
::

    return initial * max(0.0, 1 - step / total) ** power
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.clues import finite
from stayfinite.catalog.edits.seeking import called, statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Keep the schedule at 0 or above"
CURES = ("invalid-learning-rate-schedule",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("invalid-learning-rate-schedule",)

_RATE = re.compile(r"rate|lr|base|peak|initial|max", re.I)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The difference in the formula that makes the rate, at the place of the cause; of a rate that rose without end, the quotient."""
    at = pages.load("causes", "invalid-learning-rate-schedule").locate(case)
    project = Project(sources)
    source = project.get(at.file)
    statement = statement_at(source, at.line) if source is not None else None
    if source is None or statement is None:
        return [offered(__name__, sources, None, says="the formula of the schedule is not in the source: give it as many "
                        "steps as there are")]
    formulas: list[tuple[Source, ast.AST]] = [(source, statement)]
    if isinstance(value := getattr(statement, "value", None), ast.Name):
        formulas += [(one.source, one.value) for one in project.made(source, value)]
    quotients = [found for home, one in formulas for found in _quotients(project, home, one)] if _rises(case) else []
    if quotients:
        home, quotient = quotients[0]
        return [offered(__name__, sources, [home.replace(quotient, _ended(home, quotient))],
                        says="End the warm-up where it is complete", cost="from then on the rate stays where it is")]
    edits = _guarded(source, statement)
    lengths = [(home, length) for home, one in formulas for length in _lengths(home, one)] if _is_lost(case) else []
    offers = [
        offered(__name__, sources, [home.replace(length, f"max({home.argument(length)}, 1)")],
                says=f"Give `{home.segment(length)}` one step at least", cost="the first step has the full rate where there is no warm-up")
        for home, length in lengths[:2]
    ]
    if edits is None and not offers:
        return [offered(__name__, sources, None, says=f"{at.file}:{at.line} holds no difference that could be kept at 0 or above")]
    kept = [offered(__name__, sources, edits, cost="past its end the rate is 0")] if edits is not None else []
    return [*kept, *offers] if any(_is_power(one) for _, formula in formulas for one in ast.walk(formula)) else [*offers, *kept]


def _is_power(node: ast.AST) -> bool:
    """Whether something is raised to a power: by the operator, or by a function of that name."""
    return (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)) or called(node) in ("pow", "power", "float_power")


def _is_lost(case: Case) -> bool:
    """Whether the rate is no number any more: a count was divided by a length of 0."""
    read = case.window("learning_rate").values
    return bool(read) and finite(read[-1]) is None


def _lengths(source: Source, formula: ast.AST) -> Iterator[ast.expr]:
    """What a formula divides counts by: names and differences, no numbers."""
    for node in ast.walk(formula):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and not isinstance(node.right, ast.Constant) \
                and called(node.right) != "max":
            yield node.right


def _rises(case: Case) -> bool:
    """Whether the rate is a number above 0 that grew to what it is."""
    read = [finite(value) for value in case.window("learning_rate").values]
    first, last = (read[0], read[-1]) if read else (None, None)
    return first is not None and last is not None and 0.0 <= first < last


def _quotients(project: Project, source: Source, formula: ast.AST, deeper: bool = True) -> Iterator[tuple[Source, ast.BinOp]]:
    """Quotients of counts in a formula that nothing bounds yet, those in the functions that it calls included."""
    for node in ast.walk(formula):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and not _bounded(source, node):
            yield source, node
        home = project.defined(source, node) if deeper and isinstance(node, ast.Call) else None
        for inner in ast.walk(home[1]) if home is not None else ():
            if home is not None and isinstance(inner, (ast.Return, ast.Assign)):
                yield from _quotients(project, home[0], inner, deeper=False)


def _ended(source: Source, quotient: ast.BinOp) -> str:
    """The quotient, 1 at most; of ``rate * count / steps`` the share of the count alone."""
    product, steps = quotient.left, source.operand(quotient.right)
    if not isinstance(product, ast.BinOp) or not isinstance(product.op, ast.Mult):
        return f"min(1.0, {source.segment(quotient)})"
    rate, count = product.left, product.right
    if _RATE.search(source.segment(count)) and not _RATE.search(source.segment(rate)):
        rate, count = count, rate
    return f"{source.operand(rate)} * min(1.0, {source.operand(count)} / {steps})"


def _bounded(source: Source, node: ast.AST) -> bool:
    return _compared(source, node) or any(called(one) in ("min", "minimum", "clip", "clamp", "cos") for one in source.above(node))


def _guarded(source: Source, statement: ast.stmt) -> list[Edit | None] | None:
    differences = [
        one for one in ast.walk(statement)
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub) and not _compared(source, one)
    ]
    differences.sort(key=lambda one: not any(isinstance(part, ast.BinOp) and isinstance(part.op, ast.Div) for part in ast.walk(one)))
    if differences:  # of several, that with a share of the steps in it
        return [source.replace(differences[0], f"max(0.0, {source.segment(differences[0])})")]
    value = statement.value if isinstance(statement, (ast.Return, ast.Assign)) else None
    return [source.replace(value, f"max(0.0, {source.segment(value)})")] if isinstance(value, ast.expr) else None


def _compared(source: Source, node: ast.AST) -> bool:
    return any(isinstance(one, (ast.Compare, ast.Subscript)) for one in source.above(node))
