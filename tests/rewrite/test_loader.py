"""Modules of the user's are found as Python finds them and compiled with their loops wrapped; a module is awaited."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from stayfinite.frameworks.hooks import when_imported
from stayfinite.rewrite import runtime
from stayfinite.rewrite.loader import Rewriter, RewritingFinder, find_behind

LOOP = "for i in range(2):\n    loss.backward()\n    optimizer.step()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(runtime, "blocks", {})
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def rewriter(folder: Path, failures: list[str] | None = None) -> Rewriter:
    def on_failure(path: str, error: Exception) -> None:
        assert failures is not None, error
        failures.append(f"{Path(path).name}: {error}")

    return Rewriter(str(folder), on_failure)


def test_an_imported_module_is_wrapped(folder: Path) -> None:
    (folder / "job.py").write_text("def fit(loss, optimizer):\n" + "".join(f"    {line}\n" for line in LOOP.splitlines()))
    (folder / "plain.py").write_text("x = 1\n")
    sys.meta_path.insert(0, RewritingFinder(rewriter(folder)))
    job = importlib.import_module("job")
    assert [block.line for block in runtime.blocks.values()] == [2]
    assert {name for name in vars(job) if not name.startswith("__")} == {"fit"}
    assert job.__file__ == str(folder / "job.py")
    assert importlib.import_module("plain").x == 1
    importlib.reload(job)
    assert [block.line for block in runtime.blocks.values()] == [2, 2]


def test_byte_code_is_neither_read_nor_written(folder: Path) -> None:
    (folder / "job.py").write_text(LOOP)
    sys.meta_path.insert(0, RewritingFinder(rewriter(folder)))
    with pytest.raises(NameError):
        importlib.import_module("job")
    assert not (folder / "__pycache__").exists()


def test_a_module_that_does_not_parse_is_left_to_python(folder: Path) -> None:
    (folder / "job.py").write_text("def f(:\n")
    failures: list[str] = []
    sys.meta_path.insert(0, RewritingFinder(rewriter(folder, failures)))
    with pytest.raises(SyntaxError) as caught:
        importlib.import_module("job")
    assert caught.value.__context__ is None
    assert "stayfinite" not in str(caught.traceback[-1].path)
    assert failures == []


def test_what_cannot_be_rewritten_runs_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*args: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("stayfinite.rewrite.loader.transform", breaks)
    failures: list[str] = []
    code = rewriter(folder, failures).compile("x = 5\nif x == 6:\n    " + LOOP.replace("\n", "\n    "), str(folder / "job.py"))
    names: dict[str, object] = {}
    exec(code, names)
    assert names["x"] == 5
    assert failures == ["job.py: ours"]


class _Elsewhere:
    """A finder as editable installs add: it knows one module that is not on the path."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(fullname, self.path) if fullname == self.name else None


def test_modules_that_other_finders_know_are_wrapped_too(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "job.py").write_text("def fit(loss, optimizer):\n    " + LOOP.replace("\n", "\n    "))
    sys.meta_path.append(_Elsewhere("job", folder / "src" / "job.py"))  # type: ignore[arg-type]
    sys.meta_path.insert(0, RewritingFinder(rewriter(folder)))
    assert importlib.import_module("job").__name__ == "job"
    assert [block.line for block in runtime.blocks.values()] == [2]


def test_find_behind_passes_over_what_stands_before(folder: Path) -> None:
    finder = RewritingFinder(rewriter(folder))
    sys.meta_path[:0] = [_Elsewhere("job", folder / "a.py"), finder]  # type: ignore[list-item]
    assert find_behind(finder, "job", None, None) is None
    (folder / "job.py").write_text("")
    importlib.invalidate_caches()
    spec = find_behind(finder, "job", None, None)
    assert spec is not None and spec.origin == str(folder / "job.py")


def test_a_module_is_awaited(folder: Path) -> None:
    (folder / "awaited.py").write_text("x = 1\n")
    told: list[int] = []
    when_imported("awaited", lambda: told.append(sys.modules["awaited"].x))
    assert importlib.util.find_spec("awaited") is not None  # looked up, not imported
    assert importlib.util.find_spec("awaited") is not None
    assert told == []
    module = importlib.import_module("awaited")
    assert told == [1]
    importlib.reload(module)
    assert told == [1]
    assert type(module.__loader__) is importlib.machinery.SourceFileLoader
    assert "exec_module" not in vars(module.__loader__)


def test_a_module_that_is_there_already(folder: Path) -> None:
    told: list[int] = []
    when_imported("json", lambda: told.append(1))
    assert told == [1]


def test_a_module_whose_import_fails_is_still_awaited(folder: Path) -> None:
    (folder / "awaited.py").write_text("raise ImportError('not yet')\n")
    told: list[int] = []
    when_imported("awaited", lambda: told.append(1))
    with pytest.raises(ImportError, match="not yet"):
        importlib.import_module("awaited")
    (folder / "awaited.py").write_text("x = 12\n")
    importlib.invalidate_caches()
    importlib.import_module("awaited")
    assert told == [1]


def test_waiting_can_be_given_up(folder: Path) -> None:
    (folder / "awaited.py").write_text("")
    told: list[int] = []
    before = list(sys.meta_path)
    forget = when_imported("awaited", lambda: told.append(1))
    forget()
    forget()
    assert sys.meta_path == before
    importlib.import_module("awaited")
    assert told == []
