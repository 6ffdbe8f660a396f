"""Chooses the loops whose body is a training step, and says what a repetition of that body must restore.

The step loop is the *innermost* loop whose body reaches both a backward pass and a step of an optimizer, itself or through
the functions it calls. Failing that, the innermost loop that computes gradients and uses them by hand.
"""

from __future__ import annotations

import ast
import dataclasses
from dataclasses import dataclass

from stayfinite.rewrite.changes import bound_names, called, is_generator, iterated_names, note_changes, note_replaced
from stayfinite.rewrite.reads import free_names, read_first
from stayfinite.rewrite.summary import (
    SCOPES,
    STEP_METHODS,
    Effects,
    Function,
    FunctionNode,
    LoopNode,
    Steppers,
    dotted,
    effects,
    handed_out,
    within,
)


@dataclass(frozen=True)
class Block:
    """A loop body that is wrapped. All sets hold plain names.

    - `stored`: names that the loop statement binds anywhere: what is rebound before a repetition.
    - `loaded`: names the block and the functions it reaches read: roots from which mutable state is found.
    - `changed`: names whose value the block changes in place (`x += ...`, `x.add_(...)`, `d[k] = ...`, `l.append(...)`).
    - `attributes`: attribute names that the block or the functions it reaches store to or change in place.
    - `global_names`: global names rebound by the functions it reaches.
    - `receivers`: names whose methods the block calls directly.
    - `iterated`: names and attributes that the block loops over.
    - `by_hand`: no optimizer steps in it; gradients are used by the user's own code.
    - `needed`: names that the block or a function it reaches may read before the block assigns them.
    - `steppers`: last names of what is asked to step or update: optimizers, schedulers, averages, the user's own among them.
    - `replaced`: names and attributes of containers whose elements the block replaces, removes or moves: not those that
      only grow.
    - `bound`: those of `stored` that the block itself binds, and not only the loop's header or what follows the block.
    """

    id: int
    file: str
    line: int
    function: str
    by_hand: bool
    stored: frozenset[str]
    loaded: frozenset[str]
    changed: frozenset[str]
    attributes: frozenset[str]
    global_names: frozenset[str]
    receivers: frozenset[str]
    iterated: frozenset[str]
    needed: frozenset[str] = frozenset()
    steppers: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    bound: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Site:
    """A chosen loop in a syntax tree: wrap ``loop.body[:extent]``."""

    loop: LoopNode
    extent: int
    block: Block


class Analysis:
    """The user's modules seen together: which functions step, which loops are step loops."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self._trees = trees
        self.steppers = Steppers(trees.values())
        self._functions: dict[str, list[Function]] = {}
        self._class_methods: dict[str, list[Function]] = {}
        self._parents: dict[ast.AST, ast.AST] = {}
        for path, tree in trees.items():
            for node in ast.walk(tree):
                for child in ast.iter_child_nodes(node):
                    self._parents[child] = node
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    self._functions.setdefault(node.name, []).append(Function(node, path, node.name))
                elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
                    for target in node.targets:
                        name = dotted(target)
                        if name:
                            last = name.rsplit(".", 1)[-1]
                            self._functions.setdefault(last, []).append(Function(node.value, path, last))
                elif isinstance(node, ast.ClassDef):
                    # an instance of the class may be called by any name: `step = Step(model)`; `step(x)`
                    for item in node.body:
                        if isinstance(item, ast.FunctionDef) and item.name == "__call__":
                            self._class_methods.setdefault(node.name, []).append(Function(item, path, item.name))
        self._learn_callables()
        self._registered = self._registered_functions()
        self._memo: dict[FunctionNode, Effects] = {}
        self._loop_memo: dict[LoopNode, Effects] = {}
        self._chosen: dict[LoopNode, bool] = {}

    def _learn_callables(self) -> None:
        """Names bound to callables made elsewhere: instances with `__call__`, `functools.partial`, `torch.compile`."""
        for tree in self._trees.values():
            for node in ast.walk(tree):
                if not (isinstance(node, ast.Assign) and isinstance(node.value, (ast.Call, ast.Name, ast.Attribute))):
                    continue
                targets = [name.rsplit(".", 1)[-1] for name in map(dotted, node.targets) if name]
                made: list[Function] = []
                if isinstance(node.value, ast.Call):
                    maker = (dotted(node.value.func) or "").rsplit(".", 1)[-1]
                    made += self._class_methods.get(maker, [])
                    handed = [*node.value.args, *(keyword.value for keyword in node.value.keywords)]
                    if maker in ("partial", "compile", "jit", "wraps") or made == []:
                        for argument in handed:
                            name = dotted(argument)
                            made += self._functions.get(name.rsplit(".", 1)[-1], []) if name else []
                else:
                    name = dotted(node.value)
                    made += self._functions.get(name.rsplit(".", 1)[-1], []) if name else []
                for target in targets:
                    if made and target not in self._functions:
                        self._functions[target] = list(made)

    def _registered_functions(self) -> list[Function]:
        """Functions handed to calls named ``register_...``: hooks run inside a step without being named in it."""
        found: list[Function] = []
        for path, tree in self._trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and called(node).startswith("register_"):
                    for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                        if isinstance(argument, ast.Lambda):
                            found.append(Function(argument, path, "<lambda>"))
                        else:
                            handed = argument.func if isinstance(argument, ast.Call) else argument
                            name = dotted(handed)
                            found += self._functions.get(name.rsplit(".", 1)[-1], []) if name else []
        return found

    # -- what code reaches ---------------------------------------------------------------------------------------

    def _named(self, names: frozenset[str]) -> list[Function]:
        return [function for name in sorted(names) for function in self._functions.get(name, ())]

    def _outside_loops(self, nodes: list[ast.AST]) -> tuple[list[ast.AST], list[LoopNode]]:
        """Nodes in and below `nodes`, split into those outside chosen loops and the chosen loops met."""
        plain: list[ast.AST] = []
        chosen: list[LoopNode] = []

        def visit(node: ast.AST) -> None:
            if isinstance(node, (ast.For, ast.While)) and self.is_step_loop(node):
                chosen.append(node)
                return
            plain.append(node)
            for child in ast.iter_child_nodes(node):
                if isinstance(child, SCOPES):
                    if isinstance(child, ast.Lambda):
                        visit(child.body)
                    continue
                visit(child)

        for node in nodes:
            visit(node)
        return plain, chosen

    def _reach(self, function: Function) -> Effects:
        """What calling `function` does, outside step loops of its own."""
        if function.node in self._memo:
            return self._memo[function.node]
        self._memo[function.node] = Effects()  # ends recursion
        body: list[ast.AST] = [function.node.body] if isinstance(function.node, ast.Lambda) else list(function.node.body)
        if is_generator(function.node):
            return Effects()
        reached = self._reach_nodes(self._outside_loops(body)[0])
        self._memo[function.node] = reached
        return reached

    def _reach_nodes(self, plain: list[ast.AST]) -> Effects:
        total = effects(plain, self.steppers)
        for function in self._named(total.calls):
            total |= self._reach(function)
        return total

    def _body_effects(self, loop: LoopNode) -> Effects:
        if loop not in self._loop_memo:
            self._loop_memo[loop] = Effects()
            self._loop_memo[loop] = self._reach_nodes(self._outside_loops(list(loop.body))[0])
        return self._loop_memo[loop]

    def is_step_loop(self, loop: LoopNode) -> bool:
        """True if `loop`'s body is a training step that an inner loop does not already take."""
        if loop not in self._chosen:
            self._chosen[loop] = False  # ends recursion through functions that call each other
            reached = self._body_effects(loop)
            steps = reached.step or (reached.backward and any(self._reach(hook).step for hook in self._registered))
            self._chosen[loop] = steps and (reached.backward or reached.grad) and not self._is_out_of_reach(loop)
        return self._chosen[loop]

    def _is_by_hand(self, loop: LoopNode, taken: set[LoopNode], seen: frozenset[FunctionNode] = frozenset()) -> bool:
        reached = self._body_effects(loop)
        if reached.step or not ((reached.backward and reached.reads_grad) or reached.grad) or self._is_out_of_reach(loop):
            return False
        related = [node for node in ast.walk(loop) if node in taken] + [node for node in self._ancestors(loop) if node in taken]
        return not related and not self._hands_over(loop, taken, seen)

    def _hands_over(self, node: ast.AST, taken: set[LoopNode], seen: frozenset[FunctionNode]) -> bool:
        """True if a loop in `node`, or in a function that it calls, takes the steps by hand itself."""
        inner = [one for one in within(node) if isinstance(one, (ast.For, ast.While)) and one is not node]
        called = [one.node for one in self._named(effects(within(node), self.steppers).calls) if one.node not in seen]
        return any(self._is_by_hand(one, taken, seen) for one in inner) or any(
            self._hands_over(one, taken, seen.union(called)) for one in called)

    def _ancestors(self, node: ast.AST) -> list[ast.AST]:
        found = []
        while node in self._parents:
            node = self._parents[node]
            if isinstance(node, SCOPES):
                break
            found.append(node)
        return found

    def _is_out_of_reach(self, loop: LoopNode) -> bool:
        """Blocks with `yield` or `await`, and loops inside functions that are compiled, are left as they are. What the last
        statement hands out alone is handed out after the block."""
        body = loop.body[: self._extent(loop)]
        handed = handed_out(body)
        block = [node for statement in body for node in within(statement) if node is not handed]
        if any(isinstance(node, (ast.Yield, ast.YieldFrom, ast.Await)) for node in block):
            return True
        node: ast.AST = loop
        while node in self._parents:
            node = self._parents[node]
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                decorators = " ".join(dotted(d.func if isinstance(d, ast.Call) else d) or "" for d in node.decorator_list)
                if "compile" in decorators or "jit" in decorators:
                    return True
        return False

    # -- sites ---------------------------------------------------------------------------------------------------

    def sites(self, path: str, first_id: int) -> list[Site]:
        """The loops of module `path` to wrap, in source order; ids count from `first_id`."""
        loops = [node for node in ast.walk(self._trees[path]) if isinstance(node, (ast.For, ast.While))]
        taken = {loop for loop in loops if self.is_step_loop(loop)}
        by_hand = {loop for loop in loops if loop not in taken and self._is_by_hand(loop, taken)}
        sites: list[Site] = []
        for loop in sorted(taken | by_hand, key=lambda node: node.lineno):
            extent = len(loop.body) if loop in by_hand else self._extent(loop)
            block = self.describe(first_id + len(sites), path, loop, loop.body[:extent], by_hand=loop in by_hand)
            sites.append(Site(loop, extent, block))
        return sites

    def _extent(self, loop: LoopNode) -> int:
        """Statements up to the last one that steps a known optimizer, scheduler, scaler or average, or writes tensors in
        place by itself."""
        extent = 0
        for position, statement in enumerate(loop.body, start=1):
            plain = self._outside_loops([statement])[0]
            own = self._reach_nodes(plain)
            if own.backward or own.step or own.grad or any(self._touches_state(node) for node in plain):
                extent = position
        return extent or len(loop.body)

    def _touches_state(self, node: ast.AST) -> bool:
        if isinstance(node, ast.AugAssign):
            return isinstance(node.target, ast.Attribute) and node.target.attr == "data"
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return False
        method = node.func.attr
        if method == "zero_grad" or (method.endswith("_") and not method.endswith("__")):
            return True
        return method in STEP_METHODS and dotted(node.func.value) in self.steppers

    def _stepped_on(self, nodes: list[ast.AST]) -> set[str]:
        called = [n.func for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
        receivers = [dotted(f.value) for f in called if f.attr in STEP_METHODS]
        return {name.rsplit(".", 1)[-1] for name in receivers if name is not None and name in self.steppers}

    def describe(self, number: int, path: str, loop: ast.stmt, body: list[ast.stmt], *, by_hand: bool) -> Block:
        """What repeating `body` must restore. `loop` is the statement round it: all it binds is given back."""
        block_nodes = [node for statement in body for node in within(statement)]
        stored = _stored_names(loop)
        changed: set[str] = set()
        attributes: set[str] = set()
        receivers: set[str] = set()
        replaced: set[str] = set()
        loaded = {node.id for node in block_nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        for node in block_nodes:
            note_changes(node, changed, attributes)
            note_replaced(node, replaced)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                receivers.add(node.func.value.id)
        iterated = iterated_names(block_nodes)
        steppers = self._stepped_on(block_nodes)
        needed = set(read_first(body))
        global_names: set[str] = set()
        seen: set[ast.AST] = set()
        pending = self._named(effects(block_nodes, self.steppers).calls)
        # operators and calls of instances reach methods that no name in the block gives away
        hidden = [name for name in self._functions if name == "forward" or (name.startswith("__") and name != "__init__")]
        pending += self._named(frozenset(hidden)) + self._registered
        while pending:
            function = pending.pop()
            if function.node in seen:
                continue
            seen.add(function.node)
            for decorator in getattr(function.node, "decorator_list", ()):
                name = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
                pending += self._named(frozenset({name.rsplit(".", 1)[-1]})) if name else []
            inner = list(ast.walk(function.node))
            needed |= free_names(function.node)
            iterated |= iterated_names(inner)
            steppers |= self._stepped_on(inner)
            for node in inner:
                note_changes(node, changed, attributes)
                note_replaced(node, replaced)
                if isinstance(node, (ast.Global, ast.Nonlocal)):
                    global_names.update(node.names)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    loaded.add(node.id)
            pending += self._named(effects(inner, self.steppers).calls)
        return Block(
            id=number,
            file=path,
            line=loop.lineno,
            function=self._function_name(loop),
            by_hand=by_hand,
            stored=self._as_bound(stored),
            loaded=self._as_bound(loaded),
            changed=self._as_bound(changed),
            attributes=self._as_bound(attributes),
            global_names=self._as_bound(global_names),
            receivers=self._as_bound(receivers),
            iterated=self._as_bound(iterated),
            needed=self._as_bound(needed),
            steppers=self._as_bound(steppers),
            replaced=self._as_bound(replaced),
            bound=self._as_bound(set().union(*map(_stored_names, body))),
        )

    def _as_bound(self, names: set[str]) -> frozenset[str]:
        """`names` with what they are in a class: Python binds ``__x`` there as ``_Class__x``."""
        private = [name for name in names if name.startswith("__") and not name.endswith("__")]
        if not private:
            return frozenset(names)
        nodes = [node for tree in self._trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        return frozenset(names).union(f"_{owner.name.lstrip('_')}{name}" for owner in nodes for name in private)

    def describe_function(self, number: int, path: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Block:
        """What repeating a call of `function` must restore; its caller holds `args`, `kwargs` and `function`."""
        block = self.describe(number, path, function, function.body, by_hand=False)
        handed = {"args", "kwargs"}
        arguments = function.args
        parameters = {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}
        return dataclasses.replace(
            block,
            function=function.name,
            stored=frozenset(handed),
            bound=frozenset(),
            needed=(block.needed - parameters) | handed,
            loaded=block.loaded | handed | {"function"},
            changed=block.changed | handed if parameters & block.changed else block.changed,
            replaced=block.replaced | handed if parameters & block.replaced else block.replaced,
        )

    def enclosing_loop(self, node: ast.stmt) -> ast.stmt:
        """The loop round `node` in the same function, or `node` itself."""
        return next((outer for outer in self._ancestors(node) if isinstance(outer, (ast.For, ast.While))), node)

    def _function_name(self, node: ast.AST) -> str:
        while node in self._parents:
            node = self._parents[node]
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return node.name
        return "<module>"


def _stored_names(statement: ast.stmt) -> set[str]:
    """Names that `statement` binds in its own frame: not those of comprehensions, lambdas and functions in it, which
    have the like of a frame of their own and may share a name with something outside."""
    found: set[str] = set()
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        found.update(bound_names(node))
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.comprehension):
                pending += [child.iter, *child.ifs]
            elif not isinstance(child, SCOPES):
                pending.append(child)
    return found


