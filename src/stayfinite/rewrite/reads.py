"""Which names a block reads before it assigns them: what it must be given to run in another process.

A step loop leaves many names behind (`loss`, `logits`, `correct`) that the next pass overwrites before it looks at
them. A stored case leaves those out. The analysis errs on the side of saying *read*: a name counts as assigned only
where every way through the statements before assigns it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from stayfinite.rewrite.summary import SCOPES, FunctionNode

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def read_first(body: list[ast.stmt]) -> frozenset[str]:
    """Names that `body` may read before it assigns them, those of functions that it only defines included."""
    reads = _Reads()
    reads.block(body, set())
    return frozenset(reads.found)


def free_names(function: FunctionNode) -> frozenset[str]:
    """Names that `function` reads and takes from outside: it neither assigns them nor has them as parameters."""
    bound = _parameters(function.args)
    loaded: set[str] = set()
    outside: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            outside.update(node.names)
        elif isinstance(node, SCOPES) and node is not function and not isinstance(node, ast.ClassDef):
            bound |= _parameters(node.args)
    return frozenset((loaded - bound) | outside)


def _parameters(arguments: ast.arguments) -> set[str]:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return {a.arg for a in [*named, *filter(None, (arguments.vararg, arguments.kwarg))]}


def _ends(statements: list[ast.stmt]) -> bool:
    """True if what follows `statements` is not reached through them."""
    return bool(statements) and isinstance(statements[-1], (ast.Break, ast.Continue, ast.Return, ast.Raise))


class _Reads:
    """Walks statements in the order they run; `assigned` is what every way to them has assigned."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def block(self, statements: list[ast.stmt], assigned: set[str]) -> set[str]:
        """What is assigned after `statements`, given what was before."""
        for statement in statements:
            assigned = self._statement(statement, assigned)
        return assigned

    def _statement(self, node: ast.stmt, assigned: set[str]) -> set[str]:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            return self._assignment(node, assigned)
        if isinstance(node, ast.If):
            return self._either(node, self._read([node.test], assigned))
        if isinstance(node, (ast.For, ast.AsyncFor)):
            before = self._read([node.iter], assigned)
            inside = self._bind(node.target, set(before))
            self.block(node.body, inside)
            self.block(node.orelse, set(before))
            return before
        if isinstance(node, ast.While):
            before = self._read([node.test], assigned)
            self.block(node.body, set(before))
            self.block(node.orelse, set(before))
            return before
        if isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                assigned = self._read([item.context_expr], assigned)
                if item.optional_vars is not None:
                    assigned = self._bind(item.optional_vars, assigned)
            return self.block(node.body, assigned)
        if isinstance(node, (ast.Try, ast.TryStar)):
            return self._attempt(node, assigned)
        if isinstance(node, ast.Match):
            before = self._read([node.subject], assigned)
            for case in node.cases:
                captures = [n.name for n in ast.walk(case.pattern) if isinstance(n, (ast.MatchAs, ast.MatchStar))]
                inside = self._read([case.pattern], before) | {name for name in captures if name}
                inside = self._read([case.guard] if case.guard else [], inside)
                self.block(case.body, inside)
            return before
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._definition(node, assigned)
            return assigned | {node.name}
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return assigned | {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        if isinstance(node, ast.Delete):
            assigned = self._read(node.targets, assigned)
            return assigned - {target.id for target in node.targets if isinstance(target, ast.Name)}
        return self._read(ast.iter_child_nodes(node), assigned)

    def _assignment(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, assigned: set[str]) -> set[str]:
        if node.value is not None:
            assigned = self._read([node.value], assigned)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id not in assigned:
            self.found.add(node.target.id)
        if node.value is None:  # a bare annotation assigns nothing
            return assigned
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            assigned = self._bind(target, assigned)
        return assigned

    def _either(self, node: ast.If, before: set[str]) -> set[str]:
        ways = [(self.block(branch, set(before)), _ends(branch)) for branch in (node.body, node.orelse)]
        going = [after for after, ends in ways if not ends] or [ways[0][0]]
        return set.intersection(*going)

    def _attempt(self, node: ast.Try | ast.TryStar, before: set[str]) -> set[str]:
        after = self.block(node.orelse, self.block(node.body, set(before)))
        ways = [after]
        for handler in node.handlers:
            inside = self._read([handler.type] if handler.type else [], set(before))
            caught = self.block(handler.body, inside | ({handler.name} if handler.name else set()))
            if not _ends(handler.body):
                ways.append(caught - {handler.name} if handler.name else caught)
        last = self.block(node.finalbody, set(before)) - before
        return set.intersection(*ways) | last

    def _bind(self, target: ast.expr, assigned: set[str]) -> set[str]:
        if isinstance(target, ast.Name):
            return assigned | {target.id}
        if isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                assigned = self._bind(part, assigned)
            return assigned
        if isinstance(target, ast.Starred):
            return self._bind(target.value, assigned)
        return self._read([target], assigned)  # an attribute or an item: its owner is read

    def _read(self, nodes: Iterable[ast.AST], assigned: set[str]) -> set[str]:
        for node in nodes:
            if isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Load) and node.id not in assigned:
                    self.found.add(node.id)
            elif isinstance(node, ast.NamedExpr):
                assigned = self._bind(node.target, self._read([node.value], assigned))
            elif isinstance(node, ast.Lambda):
                self._definition(node, assigned)
            elif isinstance(node, _COMPREHENSIONS):
                inside = set(assigned)
                for generator in node.generators:
                    inside = self._bind(generator.target, self._read([generator.iter], inside))
                    inside = self._read(generator.ifs, inside)
                results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
                self._read(results, inside)
            elif isinstance(node, (ast.BoolOp, ast.IfExp)):
                self._read(ast.iter_child_nodes(node), set(assigned))  # what is assigned in it may be skipped
            else:
                assigned = self._read(ast.iter_child_nodes(node), assigned)
        return assigned

    def _definition(self, node: FunctionNode | ast.ClassDef, assigned: set[str]) -> None:
        """What a function will read when it is called, it may read before the block assigns it."""
        if isinstance(node, ast.ClassDef):
            self._read([*node.decorator_list, *node.bases, *(k.value for k in node.keywords)], assigned)
            self.block(node.body, set(assigned))
            return
        defaults = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
        self._read([*defaults, *getattr(node, "decorator_list", ())], assigned)
        self.found |= free_names(node) - assigned
