"""Turns a script into one that runs its failing step once: the loop makes way for one pass over what was stored.

Everything before the loop stays as it is and builds the model; everything after it stays too, and is never reached.
"""

from __future__ import annotations

import ast
import io
import os
import textwrap
import tokenize
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from stayfinite.rewrite.blocks import Analysis, Site
from stayfinite.rewrite.project import SourceIndex
from stayfinite.rewrite.transform import next_calls

STEP = "failing_step"
"""The name the exported script gives the stored step."""


class CannotExport(Exception):
    """The script's structure does not allow it; the message says what stands in the way."""


def splice(source: bytes, path: str, layout: Mapping[str, Any]) -> tuple[str, list[str], str]:
    """The script at `path` with the loop of `layout` replaced.

    **Returns** its text without ``from __future__`` lines, those lines, and its docstring.

    **Raises**: `CannotExport` if the loop is not where it was, or a name it needs has no stored value.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    text = io.IncrementalNewlineDecoder(None, translate=True).decode(source.decode(encoding))
    text = text.removeprefix("\ufeff")
    if any(stored["items"] for stored in layout["passes"]):
        text = _with_stored_items(text, path)
    tree = ast.parse(text, path)
    site = _site(tree, path, layout["block"])
    _check(site, layout)
    lines = text.splitlines(keepends=True)
    inside = _inside_strings(text)
    loop, last = site.loop, site.loop.body[site.extent - 1]
    indent = lines[loop.lineno - 1][: loop.col_offset]
    shown = lines[loop.lineno - 1].strip()
    result = [f"{indent}with {STEP}.at(locals()):  # line {loop.lineno}, in place of: {shown}\n"]
    result += [f"{indent}    {name} = {STEP}[{name!r}]\n" for name in _surroundings(layout)]
    result.append(f"{indent}    for failing_pass in {STEP}:\n")
    result += [f"{indent}        {line}\n" for line in _bindings(site, layout)]
    result += _body(lines, site, last, f"{indent}        ", inside)
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    for node in future:
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = "\n"
    lines[loop.lineno - 1 : loop.end_lineno] = result
    return "".join(lines), [ast.unparse(node) for node in future], ast.get_docstring(tree, clean=False) or ""


def _site(tree: ast.Module, path: str, block: Mapping[str, Any]) -> Site:
    index = SourceIndex(os.path.dirname(os.path.realpath(path)))
    index.add(path, tree)
    for site in Analysis(index.closure(path, tree)).sites(os.path.realpath(path), 1):
        if site.block.line == block["line"] and site.block.function == block["function"]:
            return site
    raise CannotExport(
        f"line {block['line']} of {block['file']} is no training loop that can be taken out of the script (a step "
        "given to `guard.step` is not)"
    )


def _check(site: Site, layout: Mapping[str, Any]) -> None:
    hidden = [record["type"] for record in layout["optimizers"] if record["path"] is None]
    if hidden:
        raise CannotExport(f"no name in the script leads from the loop to its {hidden[0]}")
    targets = _names(site.loop.target) if isinstance(site.loop, ast.For) else set()
    for stored in layout["passes"]:
        for name in sorted(targets & site.block.needed):
            value = stored["names"].get(name, {"kind": "opaque", "type": "value that was not stored"})
            if isinstance(value, dict) and value["kind"] == "opaque":
                raise CannotExport(f"`{name}`, which the loop hands to its body, is no plain value: {value['type']}")


def _names(target: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def _surroundings(layout: Mapping[str, Any]) -> list[str]:
    """Names of the function round the loop that the state brings along: an epoch counter, a weight of a loss term."""
    places = [place for stored in layout["passes"] for place in stored["places"]] + layout["places"]
    names = [place["path"][0] for place in places if "value" in place and len(place["path"]) == 1]
    return sorted({name for scope, name, *_ in names if scope == "local"})


def _bindings(site: Site, layout: Mapping[str, Any]) -> list[str]:
    """Assignments that give a pass its names; those that only some passes have are guarded."""
    passes: Sequence[Mapping[str, Any]] = [stored["names"] for stored in layout["passes"]]
    lines = []
    for name in sorted({name for names in passes for name in names}):
        values = [names.get(name) for names in passes]
        if all(isinstance(value, dict) and value["kind"] in ("at", "opaque") for value in values):
            continue  # the script's own object
        everywhere = all(name in names for names in passes)
        lines.append(f"{'' if everywhere else f'if {name!r} in failing_pass: '}{name} = failing_pass[{name!r}]")
    return lines


def _body(lines: list[str], site: Site, last: ast.stmt, indent: str, inside: Collection[int]) -> list[str]:
    """The block's own lines, moved to `indent`; lines that begin inside a string stay where they are."""
    first = site.loop.body[0]
    decorators = getattr(first, "decorator_list", [])
    start = min([first.lineno, *(node.lineno for node in decorators)])
    end = last.end_lineno or last.lineno
    opening = lines[start - 1]
    own = opening[: len(opening) - len(opening.lstrip())]
    result = []
    for number in range(start, end + 1):
        line = lines[number - 1]
        if number == start and opening[: first.col_offset].strip():  # `for x in xs: f(x)` on one line
            column = len(opening.encode()[: first.col_offset].decode())
            result.append(indent + line[column:])
        elif number in inside or not line.strip():
            result.append(line)
        else:
            result.append(indent + line[len(own) :] if line.startswith(own) else indent + line.lstrip())
    if not result[-1].endswith("\n"):
        result[-1] += "\n"
    return result


def _inside_strings(text: str) -> set[int]:
    """Numbers of the lines that begin inside a string of several lines."""
    kinds = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            found.update(range(token.start[0] + 1, token.end[0] + 1))
    return found


def _with_stored_items(text: str, path: str) -> str:
    """`text` with its calls of `next` asking the stored step, as `transform` lets them ask the runtime.

    **Raises**: `CannotExport` if there are none: then they are in another module.
    """
    places = [(call.func.lineno, call.func.col_offset) for call in next_calls(ast.parse(text, path))]
    if not places:
        raise CannotExport("the step takes its batch by `next` in another module than the script")
    lines = text.splitlines(keepends=True)
    for number, column in sorted(places, reverse=True):
        line = lines[number - 1].encode()
        lines[number - 1] = (line[:column] + f"{STEP}.".encode() + line[column:]).decode()
    return "".join(lines)


def runtime_text(modules: Sequence[str]) -> str:
    """The classes of our own `modules` (source texts, in the order they build on each other) as the body of a function.

    There their names and imports cannot meet those of the user's script.
    """
    imports: dict[str, None] = {}
    bodies = []
    for module in modules:
        tree = ast.parse(module)
        lines = module.splitlines()
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                if (getattr(node, "module", "") or "").split(".")[0] not in ("stayfinite", "__future__"):
                    imports[ast.unparse(node)] = None
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                bodies.append("\n".join(lines[node.lineno - 1 : node.end_lineno]))
    return textwrap.indent("\n".join([*sorted(imports), ""]) + "\n" + "\n\n".join(bodies), "    ")
