"""Which files are the user's own, and what their imports lead to."""

from __future__ import annotations

import ast
import site
import sysconfig
import warnings
from pathlib import Path

import pytest

import stayfinite
from stayfinite.rewrite.project import SourceIndex, is_user_file, unheard


@pytest.mark.parametrize(
    "name",
    ["train.py", "package/module.py", "my_site_packages/x.py", "venv.py", "lib/python/train.py", "ipykernel_42/1.py"],
)
def test_the_users_own(name: str, tmp_path: Path) -> None:
    assert is_user_file(str(tmp_path / name))


@pytest.mark.parametrize(
    "name",
    [".venv/lib/x.py", "venv/bin/x.py", "env/lib/python3.11/site-packages/x.py", "dist-packages/x.py", "node_modules/x.py"],
)
def test_inside_the_project_and_not_the_users(name: str, tmp_path: Path) -> None:
    assert not is_user_file(str(tmp_path / name))


def test_libraries_and_ourselves_are_not() -> None:
    paths = sysconfig.get_paths()
    assert not is_user_file(str(Path(paths["stdlib"]) / "json" / "decoder.py"))
    assert not is_user_file(str(Path(paths["purelib"]) / "torch" / "nn.py"))
    assert not is_user_file(str(Path(site.getsitepackages()[0]) / "x.py"))
    assert not is_user_file(stayfinite.__file__)


@pytest.mark.parametrize(
    ("name", "own"), [("<ipython-input-3-abc>", True), ("<string>", False), ("<frozen importlib._bootstrap>", False), ("<stdin>", False)]
)
def test_names_that_are_no_files(name: str, own: bool) -> None:
    assert is_user_file(name) is own


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "real.py").write_text("")
    (tmp_path / "link.py").symlink_to(tmp_path / "venv" / "real.py")
    assert not is_user_file(str(tmp_path / "link.py"))


def closure(folder: Path, files: dict[str, str]) -> set[str]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    path = str(folder / "train.py")
    found = SourceIndex(str(folder)).closure(path, ast.parse(files["train.py"]))
    return {str(Path(p).relative_to(folder.resolve())) for p in found}


def test_imports_are_followed(tmp_path: Path) -> None:
    files = {
        "train.py": "import a, json, numpy\nfrom p.q import r\nfrom p import s as t\ndef f():\n    import late\nimport none\n",
        "a.py": "import b\nimport train\n",
        "b.py": "",
        "p/__init__.py": "from . import s\nfrom .q.r import x\n",
        "p/s.py": "from .. import above\nfrom .q import *\n",
        "p/q/__init__.py": "",
        "p/q/r.py": "from ..deep import one\n",
        "p/deep.py": "",
        "late.py": "",
        "unused.py": "",
    }
    assert closure(tmp_path, files) == {
        "train.py", "a.py", "b.py", "p/__init__.py", "p/s.py", "p/q/__init__.py", "p/q/r.py", "p/deep.py", "late.py"
    }


def test_packages_without_an_init_are_followed(tmp_path: Path) -> None:
    files = {"train.py": "from a.b import c\nimport a.b.d\n", "a/b/c.py": "", "a/b/d.py": ""}
    assert closure(tmp_path, files) == {"train.py", "a/b/c.py", "a/b/d.py"}


def test_modules_that_are_no_python_are_passed_over(tmp_path: Path) -> None:
    deep = "x = " + "-" * 100_000 + "1\n"
    files = {"train.py": "import broken, nulls, deep, fine\n", "broken.py": "def f(:\n", "deep.py": deep, "fine.py": ""}
    files["nulls.py"] = "x = 1\0\n"
    assert closure(tmp_path, files) == {"train.py", "fine.py"}


def test_looking_at_source_warns_nobody_and_forgets_nothing() -> None:
    def nag() -> None:
        warnings.warn("once", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        nag()
        with unheard():
            ast.parse(r"x = '\d'")
        nag()
        assert [str(w.message) for w in heard] == ["once"]
        ast.parse(r"x = '\d'")
        assert len(heard) == 2
