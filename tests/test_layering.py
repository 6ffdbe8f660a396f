"""Imports point one way. Every import in src/stayfinite is compared with the table in docs/explanation/architecture.md.

An import inside a function counts like one at the top of a file, and one under ``TYPE_CHECKING`` too: a layer that
knows another one's types depends on it. Imports by name (``import_module("...")``) count where the name is a literal.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import stayfinite

SOURCE = Path(stayfinite.__file__).parent

OPEN_TO_ALL = {"errors", "shield"}

MAY_IMPORT: dict[str, set[str]] = {
    "records": set(),
    "catalog": {"records"},
    "engine": {"records", "catalog"},
    "recording": {"records"},
    "readers": {"records"},
    "rewrite": {"records"},
    "frameworks": {"records", "engine.ports", "rewrite"},
    "integrations": {"api", "frameworks"},
    "reporters": {"records", "catalog"},
    "errors": {"records"},  # TrainingHalted carries an Incident
    "shield": set(),
    "__init__": {"api"},  # named on first use, see tests/test_imports.py
    "__main__": {"cli"},
}
"""Layer -> what it may import beside itself and what is open to all. What wires the layers together is not listed."""

WIRING = {"api", "cli", "watching", "children"}

ONLY_IN: dict[str, set[str]] = {
    "torch": {"frameworks/torch", "integrations"},
    "safetensors": {"frameworks/torch", "recording"},
    "tensorflow": {"frameworks/tensorflow", "frameworks/keras", "integrations"},
    "keras": {"frameworks/keras", "integrations"},
    "jax": {"frameworks/jax", "integrations"},
    "sklearn": {"frameworks/sklearn", "integrations"},
    "rich": {"reporters", "cli"},
    "jinja2": {"reporters"},
    "click": {"cli"},
}
"""Package that is not ours -> the only folders (or modules) that may import it."""


def imported_names(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """`(line, dotted name)` of everything a module of `package` imports; relative imports are made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if node.level:
                parents = package.split(".")
                home = ".".join([*parents[: len(parents) - node.level + 1], *([home] if home else [])])
            yield from ((node.lineno, f"{home}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def layer_and_module(name: str, root: Path) -> tuple[str, str]:
    """Layer and dotted module path (both without ``stayfinite.``) that `name` leads to.

    ``from stayfinite.engine import ports`` and ``from stayfinite.engine.ports import Holding`` both lead to
    ``engine.ports``; ``from stayfinite import watch`` leads to ``api``, where that name lives.
    """
    parts = name.split(".")[1:]
    if len(parts) == 1 and parts[0] in stayfinite._HOMES:
        parts = stayfinite._HOMES[parts[0]].split(".")[1:]
    while parts and not (root.joinpath(*parts).is_dir() or root.joinpath(*parts).with_suffix(".py").is_file()):
        parts.pop()
    return (parts[0] if parts else "__init__"), ".".join(parts)


def violations(root: Path) -> list[str]:
    """Every import under `root` (a folder laid out like `src/stayfinite`) that the table does not allow."""
    found = []
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        layer = inside.parts[0].removesuffix(".py")
        package = ".".join(["stayfinite", *inside.parts[:-1]])
        folder = inside.with_suffix("").as_posix()
        for line, name in imported_names(ast.parse(path.read_text(encoding="utf-8")), package):
            place = f"{inside.as_posix()}:{line}"
            top = name.split(".")[0]
            if top != "stayfinite":
                homes = ONLY_IN.get(top)
                if homes is not None and not any(folder == home or folder.startswith(home + "/") for home in homes):
                    found.append(f"{place}: {top} belongs to {', '.join(sorted(homes))}")
                continue
            if layer in WIRING:
                continue
            target, module = layer_and_module(name, root)
            if layer not in MAY_IMPORT:
                found.append(f"{place}: layer {layer} is not in the table")
            elif target == layer or target in OPEN_TO_ALL or name == "stayfinite.__version__":
                continue
            elif not any(module == allowed or module.startswith(allowed + ".") for allowed in MAY_IMPORT[layer]):
                found.append(f"{place}: {layer} must not import {module or 'stayfinite'}")
    return found


def write(path: Path, text: str) -> None:
    """`text` as the module at `path`, with the folders that takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def lay_out(root: Path) -> None:
    """An innocent package in small, for made-up imports to lead somewhere."""
    for module in (
        "api", "catalog/ops", "engine/ports", "engine/rank", "errors", "frameworks/torch/session", "records/numbers",
        "recording/writer", "reporters/terminal", "rewrite/blocks", "rewrite/runtime", "shield",
    ):
        write(root / f"{module}.py", "from __future__ import annotations")


def test_imports_point_one_way() -> None:
    assert violations(SOURCE) == []


def test_every_layer_of_the_source_is_in_the_table() -> None:
    present = {
        path.name.removesuffix(".py")
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))
    }
    assert present - MAY_IMPORT.keys() - WIRING == set()


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("records/series.py", "from stayfinite.catalog import ops", "records must not import catalog"),
        ("catalog/causes/x.py", "import stayfinite.engine.rank", "catalog must not import engine.rank"),
        ("engine/rank.py", "def f():\n    from stayfinite.recording import writer", "engine must not import recording"),
        ("engine/rank.py", "from ..reporters import terminal", "engine must not import reporters"),
        ("engine/rank.py", "from stayfinite import watch", "engine must not import api"),
        ("recording/writer.py", "from stayfinite.engine import ports", "recording must not import engine.ports"),
        ("frameworks/torch/session.py", "from stayfinite.engine import rank", "frameworks must not import engine.rank"),
        (
            "frameworks/torch/session.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from stayfinite.catalog import ops",
            "frameworks must not import catalog",
        ),
        ("rewrite/blocks.py", "import importlib\nimportlib.import_module('stayfinite.frameworks.torch')",
         "rewrite must not import frameworks"),
        ("reporters/terminal.py", "from stayfinite import api", "reporters must not import api"),
        ("engine/rank.py", "import torch", "torch belongs to frameworks/torch"),
        ("frameworks/keras/session.py", "from torch import nn", "torch belongs to frameworks/torch"),
        ("engine/rank.py", "def f():\n    import rich.table", "rich belongs to cli, reporters"),
        ("novelty/x.py", "from stayfinite import errors", "layer novelty is not in the table"),
    ],
)
def test_a_made_up_violation_is_found(tmp_path: Path, file: str, text: str, complaint: str) -> None:
    lay_out(tmp_path)
    assert violations(tmp_path) == []
    write(tmp_path / file, text)
    found = violations(tmp_path)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("records/series.py", "import msgspec\nfrom stayfinite.records import numbers"),
        ("engine/rank.py", "from stayfinite.catalog.ops import kind_of\nfrom stayfinite.errors import ReplayError"),
        ("frameworks/torch/x.py", "import torch\nfrom stayfinite.engine.ports import A\nfrom stayfinite import shield"),
        ("frameworks/torch/session.py", "from stayfinite.engine import ports\nfrom ...rewrite import runtime"),
        ("recording/writer.py", "from stayfinite import __version__"),
        ("api.py", "def watch():\n    from stayfinite.frameworks import torch\n    from stayfinite.engine import rank"),
        ("cli/run.py", "import click\nfrom stayfinite import api"),
    ],
)
def test_what_the_table_allows_is_not_complained_about(tmp_path: Path, file: str, text: str) -> None:
    lay_out(tmp_path)
    write(tmp_path / file, text)
    assert violations(tmp_path) == []
