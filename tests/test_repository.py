"""The repository around the code: names, sizes, links, and what belongs together."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stayfinite
import stayfinite.catalog.causes

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "stayfinite"
GALLERY = ROOT / "gallery"

BAGS = {"utils", "util", "core", "base", "common", "helpers", "helper", "manager", "misc"}
"""Names that say nothing. What has no better name is not one thing."""

MOST_LINES = 400
LARGEST_FILE = 1 << 20

PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "stayfinite-reports" for part in path.relative_to(ROOT).parts)
)


def bags(root: Path) -> list[str]:
    """Modules and packages under `root` with a name (or a part of one) that says nothing."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if (path.is_dir() or path.suffix == ".py") and BAGS & set(path.stem.strip("_").split("_"))
    )


def too_long(root: Path) -> list[str]:
    """Modules under `root` with `MOST_LINES` lines or more."""
    counts = {path.relative_to(root).as_posix(): path.read_text("utf-8").count("\n") for path in root.rglob("*.py")}
    return sorted(f"{name}: {count} lines" for name, count in counts.items() if count >= MOST_LINES)


def tracked_files() -> list[Path]:
    """What git tracks, and what it would track; skips the test outside a checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: there is no list of tracked files")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def too_large(files: list[Path]) -> list[str]:
    """Those of `files` that are larger than `LARGEST_FILE` bytes."""
    return sorted(f"{path.name}: {path.stat().st_size} bytes" for path in files if path.stat().st_size > LARGEST_FILE)


def dead_links(page: Path) -> list[str]:
    """Relative links in the Markdown file `page` that lead nowhere. Code is not looked into."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    return [target for target in targets if "://" not in target and not (page.parent / target).exists()]


def loaded(path: Path) -> Any:
    """The Python file at `path`, which belongs to no package, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def causes() -> list[ModuleType]:
    """Every module of the catalog's causes."""
    package = stayfinite.catalog.causes
    return [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
        if not found.name.startswith("_")
    ]


def without_example(cause: ModuleType, gallery: Path) -> list[str]:
    """What is missing for `cause` to be proven: named gallery cases with both scripts, or a reason in `NO_EXAMPLE`."""
    examples = getattr(cause, "EXAMPLES", ())
    if not examples:
        return [] if getattr(cause, "NO_EXAMPLE", "").strip() else ["neither EXAMPLES nor a NO_EXAMPLE with the reason"]
    needed = [gallery / case / name for case in examples for name in ("train.py", "train_fixed.py", "case.toml")]
    return [f"no {path.parent.name}/{path.name}" for path in needed if not path.is_file()]


def test_no_module_is_a_bag() -> None:
    assert bags(SOURCE) == []


def test_no_module_is_too_long() -> None:
    assert too_long(SOURCE) == []


def test_no_large_file_is_tracked() -> None:
    assert too_large(tracked_files()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_every_cause_is_proven_by_the_gallery() -> None:
    missing = {cause.__name__: without_example(cause, GALLERY) for cause in causes()}
    assert {name: what for name, what in missing.items() if what} == {}


def test_these_checks_can_fail(tmp_path: Path) -> None:
    (tmp_path / "tensor_utils.py").write_text("\n" * MOST_LINES)
    (tmp_path / "core").mkdir()
    (tmp_path / "score.py").write_text("")
    assert bags(tmp_path) == ["core", "tensor_utils.py"]
    assert too_long(tmp_path) == [f"tensor_utils.py: {MOST_LINES} lines"]

    heavy = tmp_path / "weights.bin"
    heavy.write_bytes(bytes(LARGEST_FILE + 1))
    assert too_large([heavy, tmp_path / "score.py"]) == [f"weights.bin: {LARGEST_FILE + 1} bytes"]

    page = tmp_path / "page.md"
    page.write_text("[a](score.py#x) [b](gone.md) `[c](code.md)` [d](https://example.org/)")
    assert dead_links(page) == ["gone.md"]

    cause = ModuleType("log_of_zero")
    assert without_example(cause, tmp_path) != []
    cause.NO_EXAMPLE = "cannot be provoked on purpose"  # type: ignore[attr-defined]
    assert without_example(cause, tmp_path) == []
    cause.EXAMPLES = ("core",)  # type: ignore[attr-defined]
    assert without_example(cause, tmp_path) == ["no core/train.py", "no core/train_fixed.py", "no core/case.toml"]


def test_dev_is_understood_by_an_old_python() -> None:
    """So that it can say which one it needs. Any later syntax would turn that sentence into a SyntaxError."""
    source = (ROOT / "dev.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
    with pytest.raises(SyntaxError):
        ast.parse("if found := 1: pass", feature_version=(3, 7))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(["--help"], 0, "dev.py demo"), ([], 2, "a command is needed"), (["tset"], 2, "'tset' is no command")],
)
def test_dev_says_what_it_accepts(arguments: list[str], code: int, words: str) -> None:
    command = [sys.executable, str(ROOT / "dev.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert words in done.stdout + done.stderr


def test_the_demo_is_a_gallery_case_and_in_the_readme() -> None:
    dev = loaded(ROOT / "dev.py")
    assert (dev.DEMO / "train.py").is_file()
    assert (dev.DEMO / "train_fixed.py").is_file()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for words in ("python3 dev.py demo", "python3 dev.py test", dev.DEMO.relative_to(ROOT).as_posix()):
        assert words in readme


def test_version_is_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/stayfinite/__init__.py"
    assert f"## {stayfinite.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


_SETTINGS = ("Configuration", "OptimizerInfo", "LossScaling", "Misuse")


def undescribed(schema: dict[str, Any], page: str) -> set[str]:
    """Field names of a JSON Schema that do not stand as code in a page. Those of nested settings are not asked for."""
    described = set(re.findall(r"`([a-z_]+)`", page))
    parts = {name: part for name, part in schema["$defs"].items() if name not in _SETTINGS}
    return {field for part in parts.values() for field in part.get("properties", {})} - described


def test_every_field_of_the_report_is_described() -> None:
    assert (SOURCE / "py.typed").is_file()
    schema = json.loads((SOURCE / "reporters" / "report.schema.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "reference" / "report.md").read_text(encoding="utf-8")
    assert undescribed(schema, page) == set()
    assert undescribed(schema, page.replace("`held`", "held")) == {"held"}


def test_each_test_is_in_exactly_one_share() -> None:
    conftest = loaded(ROOT / "tests" / "conftest.py")
    shares = [conftest.share_of(f"tests/test_x.py::test_{i}", 3) for i in range(300)]
    assert set(shares) == {1, 2, 3}
    assert min(shares.count(share) for share in (1, 2, 3)) > 50
    assert conftest.wanted_share("2/3") == (2, 3)
    for text in ("0/3", "4/3", "2", "", "a/b"):
        with pytest.raises(pytest.UsageError, match="STAYFINITE_SHARE"):
            conftest.wanted_share(text)
