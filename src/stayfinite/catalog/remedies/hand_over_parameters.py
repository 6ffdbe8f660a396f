"""Hand the parameters that train to the optimizer.

What it changes
---------------
Layers that were built after the optimizer are added to it, or the optimizer is built after the model is complete. Where a method
builds the layers anew, the optimizer is given the new ones behind its call.

When it helps
-------------
A layer was replaced after the optimizer was made; a model was built anew for each fold, and its optimizer was not.

What it may cost
----------------
None.

Example
-------
::

    model[4] = nn.Linear(32, 5)
    optimizer.add_param_group({"params": model[4].parameters()})
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import Step, assigned_names, called, given, statement_at, steps
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import State

TITLE = "Hand the parameters to the optimizer"
CURES = ("frozen-parameters",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("borrowed-eyes", "fold-trainer", "identifier-kinds")


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Behind the line that builds what no optimizer has; else the optimizer is built before the loop instead of where it was."""
    still = [one.name for one in case.survey.parameters if one.change == 0.0 and not one.owned] if case.survey is not None else []
    if not still:
        return []
    change = State("parameters", "adopted", tuple(still))
    project = Project(sources)
    at = pages.load("causes", "frozen-parameters").locate(case)
    source = project.get(at.file)
    for name in _names(project, case, at.file):
        edit = _given(source, at.line, name) if source is not None else None
        if edit is not None:
            return [offered(__name__, sources, [edit], change)]
    for step in steps(project, case):
        edits = _behind(project, step, source, at.line) or _moved(step.source, step)
        if edits:
            return [offered(__name__, sources, edits, change, says="Build the optimizer after the model is complete")]
        if renewed := _renewed(step.source, step, source, at.line):
            return [offered(__name__, sources, renewed, change, says="Give the optimizer the layers that were built anew")]
    return [offered(__name__, sources, None, change, says=f"build the optimizer after the model is complete, from the parameters that are "
                    f"trained ({', '.join(still[:4])}): the order of these lines is yours to choose")]


def _names(project: Project, case: Case, file: str) -> list[str]:
    """What the optimizers are called in `file`: where they are built, and where they step."""
    found = []
    for info in case.configuration.optimizers:
        source = project.get(info.location.file) if info.location.file == file else None
        if source is not None:
            found += [source.segment(one) for one in assigned_names(statement_at(source, info.location.line))]
    found += [step.optimizer for step in steps(project, case) if step.source.file == file]
    return list(dict.fromkeys(found))


def _given(source: Source, line: int, optimizer: str) -> Edit | None:
    """The new layers, added to the optimizer behind the statement that binds them."""
    statement = statement_at(source, line)
    targets = assigned_names(statement)
    if statement is None or len(targets) != 1 or not isinstance(getattr(statement, "value", None), ast.Call):
        return None
    bound = source.segment(targets[0])
    if bound == optimizer or not _visible(source, optimizer, statement):
        return None
    return source.insert_after(statement, f'{optimizer}.add_param_group({{"params": {bound}.parameters()}})')


def _visible(source: Source, name: str, statement: ast.stmt) -> bool:
    """True if `name` is bound before `statement`: earlier in its function, or as an attribute anywhere in its class."""
    owner: ast.AST | None = source.class_of(statement) if name.startswith("self.") else source.scope(statement)
    if owner is None:
        return False
    bound = [
        one for one in ast.walk(owner) if isinstance(one, (ast.Assign, ast.AnnAssign))
        and any(source.segment(target) == name for target in assigned_names(one))
    ]
    return any(name.startswith("self.") or one.lineno < statement.lineno for one in bound)


def _behind(project: Project, step: Step, late: Source | None, line: int) -> list[Edit | None]:
    """The statement that builds the optimizer, behind the later one of its block that runs `line` of `late`: where that is in a
    function, the one that calls it."""
    statement = statement_at(late, line) if late is not None else None
    scope = late.scope(statement) if late is not None and statement is not None else None
    function = getattr(scope, "name", "")
    for source in project.sources.values():
        for built in ast.walk(source.tree):
            if not isinstance(built, ast.Assign) or source.segment(built.targets[0]) != step.optimizer:
                continue
            rest = source.block(built)[source.block(built).index(built) + 1 :]
            runs = [one for one in rest if any(node is statement or (function and called(node) == function) for node in ast.walk(one))]
            until = rest.index(runs[-1]) + 1 if runs else 0
            if not runs or any(step.optimizer in source.segment(one) for one in rest[:until]):
                continue
            text = source.segment(built)
            behind = source.insert_before(rest[until], text) if len(rest) > until else source.insert_after(runs[-1], text)
            return [source.delete(built), behind]
    return []


def _renewed(source: Source, step: Step, late: Source | None, line: int) -> list[Edit | None]:
    """The optimizer again, or its parameters, behind the call at `line` by which another method builds the layers anew."""
    statement = statement_at(source, line) if late is source else None
    home = source.class_of(statement) if statement is not None else None
    if statement is None or home is None or not step.optimizer.startswith("self."):
        return []
    made = [one for one in ast.walk(home) if isinstance(one, ast.Assign) and source.segment(one.targets[0]) == step.optimizer]
    if len(made) != 1 or not isinstance(made[0].value, ast.Call) or source.scope(statement) is source.scope(made[0]):
        return []
    if not isinstance(statement, ast.Expr) or not called(statement.value):
        return []
    text = _again(source, made[0], made[0].value, step.optimizer)
    return [source.insert_after(statement, text)] if text else []


def _again(source: Source, built: ast.Assign, call: ast.Call, optimizer: str) -> str:
    """What gives `optimizer` its parameters once more in another method: the statement that built it, where all that it names is
    known there, else the parameters of its only group; empty where those are not known either."""
    def known(node: ast.expr) -> bool:
        return all(
            one.id == "self" or one.id in source.imports or any(one.id == getattr(top, "name", "") for top in source.tree.body)
            or hasattr(builtins, one.id) for one in ast.walk(node) if isinstance(one, ast.Name) and not _bound_in(node, one.id)
        )

    if known(call):
        return source.segment(built)
    given_first = given(call, "params", 0)
    if given_first is None or not known(given_first) or not isinstance(given_first, (ast.Call, ast.ListComp, ast.Attribute)):
        return ""
    grouped = any(isinstance(one, ast.Dict) for one in ast.walk(given_first))
    return "" if grouped else f'{optimizer}.param_groups[0]["params"] = list({source.segment(given_first)})'


def _bound_in(node: ast.expr, name: str) -> bool:
    """True if a comprehension in `node` binds `name`."""
    return any(isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store) for one in ast.walk(node))


def _moved(source: Source, step: Step) -> list[Edit | None]:
    """The statement that builds the optimizer, directly before the loop that steps it, where nothing uses it in between."""
    loops = [one for one in source.above(step.statement) if isinstance(one, (ast.For, ast.While))]
    loop = loops[-1] if loops else None
    body = source.block(loop) if loop is not None else []
    built = next((one for one in body if isinstance(one, ast.Assign) and source.segment(one.targets[0]) == step.optimizer), None)
    if loop is None or built is None or body.index(built) >= body.index(loop):
        return []
    between = body[body.index(built) + 1 : body.index(loop)]
    root = step.optimizer.partition(".")[0]
    if not between or any(root in source.names_in(one) for one in between):
        return []
    return [source.delete(built), source.insert_before(loop, source.segment(built))]
