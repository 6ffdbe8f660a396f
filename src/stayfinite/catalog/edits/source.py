"""One file of the user's source: its syntax tree, the text of a node, the names it imports, and edits of its spans."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from stayfinite.records.fix import Edit, offset, split_lines

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
_ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.JoinedStr)


class Source:
    """**Arguments**: `file` as in `Location`; `text` as it is in the file, line ends included.

    **Raises** `ValueError` if the text is no Python.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.lines = split_lines(text)
        mark = text.startswith("\ufeff")  # its bytes count in no column, as Python takes it off before it reads
        if mark:
            raise ValueError(f"{file} begins with a byte order mark")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"{file} is no Python source: {error}") from None
        self.parents: dict[ast.AST, ast.AST] = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }
        self.imports = dict(_imports(self.tree))

    # -- reading ------------------------------------------------------------------------------------------------

    def segment(self, node: ast.expr | ast.stmt) -> str:
        """The text of `node`, without parentheses round it."""
        start = offset(self.lines, node.lineno, node.col_offset)
        return self.text[start : offset(self.lines, node.end_lineno or 0, node.end_col_offset or 0)]

    def segment_of(self, scope: Scope) -> str:
        """The text of a function, or of the whole file."""
        return self.text if isinstance(scope, ast.Module) else "".join(self.lines[scope.lineno - 1 : scope.end_lineno])

    def spliced(self, outer: ast.expr, inner: ast.expr, text: str) -> str:
        """The text of `outer` with `text` in the place of `inner`, which lies in it."""
        begin = offset(self.lines, outer.lineno, outer.col_offset)
        start = offset(self.lines, inner.lineno, inner.col_offset)
        end = offset(self.lines, inner.end_lineno or 0, inner.end_col_offset or 0)
        return self.text[begin:start] + text + self.text[end : offset(self.lines, outer.end_lineno or 0, outer.end_col_offset or 0)]

    def operand(self, node: ast.expr) -> str:
        """The text of `node` as an operand: in parentheses unless it is one piece."""
        text = self.segment(node)
        plain = isinstance(node, _ATOMS) or (isinstance(node, ast.Constant) and not isinstance(node.value, (int, float, str)))
        return text if plain and ("\n" not in text or isinstance(node, (ast.Call, ast.Subscript))) else f"({text})"

    def argument(self, node: ast.expr) -> str:
        """The text of `node` as an argument of a call."""
        text = self.segment(node)
        return f"({text})" if isinstance(node, (ast.NamedExpr, ast.GeneratorExp)) and not text.startswith("(") else text

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What `node` lies in, innermost first."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The innermost statement that `node` is or lies in."""
        return node if isinstance(node, ast.stmt) else next((one for one in self.above(node) if isinstance(one, ast.stmt)), None)

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements among which `statement` stands, itself included; empty if it is none of this file's."""
        above = self.parents.get(statement)
        fields = (value for _, value in ast.iter_fields(above)) if above is not None else ()
        return next((value for value in fields if isinstance(value, list) and statement in value), [])

    def scope(self, node: ast.AST) -> Scope:
        """The innermost function `node` lies in, or the module."""
        return next((one for one in self.above(node) if isinstance(one, _SCOPES)), self.tree)

    def class_of(self, node: ast.AST) -> ast.ClassDef | None:
        """The class in whose body `node` lies."""
        return next((one for one in self.above(node) if isinstance(one, ast.ClassDef)), None)

    def indentation(self, statement: ast.stmt) -> str | None:
        """The white space before `statement`; ``None`` if something else stands before it on its line, or it is an ``elif``."""
        before = self.lines[statement.lineno - 1].encode()[: statement.col_offset].decode()
        elif_ = self.segment(statement).startswith("elif")
        return None if before.strip() or elif_ else before

    @property
    def newline(self) -> str:
        """How this file ends lines."""
        return "\r\n" if self.lines[0].endswith("\r\n") else "\n"

    def names_in(self, node: ast.AST) -> frozenset[str]:
        """Every name that stands below `node`, parameters included."""
        named = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
        named |= {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
        return frozenset(named)

    def fresh(self, near: ast.AST, *wishes: str) -> str:
        """The first of `wishes` that is no name in the function of `near` nor in the module; numbered if all are taken."""
        taken = self.names_in(self.tree)
        numbered = (f"{wishes[0]}{number}" for number in range(2, 99))
        return next(name for name in (*wishes, *numbered) if name not in taken)

    # -- names --------------------------------------------------------------------------------------------------

    def qualified(self, node: ast.expr) -> str:
        """The dotted name that `node` leads to by the imports of the file; empty if it leads to none."""
        if isinstance(node, ast.Name):
            return "" if self._shadowed(node) else self.imports.get(node.id, "")
        if isinstance(node, ast.Attribute):
            before = self.qualified(node.value)
            return f"{before}.{node.attr}" if before else ""
        return ""

    def _shadowed(self, node: ast.Name) -> bool:
        """True if a function round `node` binds its name: it is no import there."""
        for scope in self.above(node):
            if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                given = scope.args
                named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
                if node.id in {one.arg for one in named}:
                    return True
        return False

    def spelled(self, dotted: str, near: ast.AST) -> tuple[str, tuple[Edit, ...]]:
        """How this file spells ``"torch.nn.functional.log_softmax"``, by the longest import it has, and the edits that are needed
        for it: an import where it has none."""
        best = ""
        for name, module in self.imports.items():
            inside = dotted == module or dotted.startswith(f"{module}.")
            if inside and (not best or len(module) > len(self.imports[best])) and not self._hidden(name, near):
                best = name
        if best:
            return best + dotted[len(self.imports[best]) :], ()
        package = dotted.partition(".")[0]
        return dotted, (self.importing(f"import {package}"),)

    def _hidden(self, name: str, near: ast.AST) -> bool:
        probe = ast.Name(name)
        self.parents[probe] = near
        try:
            return self._shadowed(probe)
        finally:
            del self.parents[probe]

    def importing(self, statement: str) -> Edit:
        """An edit that adds the import `statement` after the last import at the top of the file."""
        tops = [one for one in self.tree.body if isinstance(one, (ast.Import, ast.ImportFrom))]
        body = self.tree.body
        said = body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
        after = tops[-1] if tops else body[0] if said else None
        if after is not None:
            found = self.insert_after(after, statement)
            if found is not None:
                return found
        first = 1
        while first <= len(self.lines) and self.lines[first - 1].startswith("#"):
            first += 1
        return self.edit_span(first, 0, first, 0, statement + self.newline)

    # -- edits --------------------------------------------------------------------------------------------------

    def edit_span(self, line: int, column: int, end_line: int, end_column: int, text: str) -> Edit:
        """The edit that gives a span the new `text`; the lines as they are now go with it."""
        return Edit(self.file, line, column, end_line, end_column, text, before="".join(self.lines[line - 1 : end_line]))

    def replace(self, node: ast.expr | ast.stmt | ast.arg, text: str) -> Edit:
        """`node` becomes `text`."""
        return self.edit_span(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0, text)

    def delete(self, statement: ast.stmt) -> Edit | None:
        """`statement` is taken out, with its lines; where nothing else is in its block, ``pass`` stands for it. ``None`` where it
        shares a line with another one."""
        indentation = self.indentation(statement)
        first, last = statement.lineno, statement.end_lineno or 0
        rest = self.lines[last - 1].rstrip("\r\n").encode()[statement.end_col_offset or 0 :].decode().strip()
        if indentation is None or (rest and not rest.startswith("#")):
            return None
        if len(self.block(statement)) < 2:
            return self.replace(statement, "pass")
        return self.edit_span(first, 0, last + 1, 0, "") if last < len(self.lines) else self.replace(statement, "pass")

    def insert_before(self, statement: ast.stmt, text: str) -> Edit | None:
        """The line(s) `text` before `statement`, with its indentation; ``None`` where it does not begin its line."""
        indentation = self.indentation(statement)
        if indentation is None:
            return None
        made = "".join(line + self.newline + indentation for line in text.split("\n"))
        first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", ()))])
        if first < statement.lineno:
            return self.edit_span(first, len(indentation.encode()), first, len(indentation.encode()), made)
        return self.edit_span(first, statement.col_offset, first, statement.col_offset, made)

    def insert_after(self, statement: ast.stmt, text: str) -> Edit | None:
        """The line(s) `text` after the simple `statement`, behind a comment at its end; ``None`` where something follows it on
        its line or it does not begin its own."""
        indentation = self.indentation(statement)
        line, column = statement.end_lineno or 0, statement.end_col_offset or 0
        own = self.lines[line - 1].rstrip("\r\n").encode()
        rest = own[column:].decode().strip()
        if indentation is None or (rest and not rest.startswith("#")):
            return None
        made = "".join(self.newline + indentation + new for new in text.split("\n"))
        return self.edit_span(line, len(own), line, len(own), made)

    def set_keyword(self, call: ast.Call, name: str, value: str, position: int | None = None) -> Edit | None:
        """The argument `name` of `call` becomes `value`; where it is not given, it is added. `position`: where it stands if it is
        given without its name; ``None`` if that cannot be. ``None`` where ``**`` or ``*`` may hold it."""
        for keyword in call.keywords:
            if keyword.arg == name:
                return self.replace(keyword.value, value)
        if any(keyword.arg is None for keyword in call.keywords) or any(isinstance(one, ast.Starred) for one in call.args):
            return None
        if position is not None and len(call.args) > position:
            return self.replace(call.args[position], value)
        return self._add_argument(call, f"{name}={value}")

    def _add_argument(self, call: ast.Call, text: str) -> Edit | None:
        given: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
        end_line, end_column = call.end_lineno or 0, (call.end_col_offset or 0) - 1
        if not given:
            return self.edit_span(end_line, end_column, end_line, end_column, text)
        last = max(given, key=lambda one: (one.end_lineno or 0, one.end_col_offset or 0))
        start = offset(self.lines, last.end_lineno or 0, last.end_col_offset or 0)
        between = self.text[start : offset(self.lines, end_line, end_column)]
        if isinstance(last, ast.GeneratorExp) and not between.strip():
            return None  # it stands without parentheses of its own
        closing = re.match(r"\s*\)+", between)  # of the argument itself
        at = start + (closing.end() if closing else 0)
        line, column = self._position(at)
        comma = re.search(r",\s*(#.*)?$", between.strip()) is not None and "\n" in between
        if comma:  # one argument a line, with a comma behind the last
            after = at + self.text[at:].index(",") + 1
            line, column = self._position(after)
            indentation = re.match(r"\s*", self.lines[last.lineno - 1])
            space = indentation.group() if indentation else ""
            rest = self.lines[line - 1].rstrip("\r\n").encode()[column:].decode()
            if rest.strip().startswith("#"):
                column = len(self.lines[line - 1].rstrip("\r\n").encode())
            return self.edit_span(line, column, line, column, f"{self.newline}{space}{text},")
        return self.edit_span(line, column, line, column, f", {text}")

    def _position(self, index: int) -> tuple[int, int]:
        """Line and column of an index into the text."""
        for number, line in enumerate(self.lines, 1):
            if index <= len(line.rstrip("\r\n")):
                return number, len(line[:index].encode())
            index -= len(line)
        raise IndexError("beyond the text")


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Every name that an import binds, anywhere in the file, with the dotted name it leads to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"
