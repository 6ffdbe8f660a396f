"""What is loaded, and when: a framework is only ever loaded by the user's own script.

Each probe is a fresh interpreter, because this one has everything loaded already.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import stayfinite

FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "sklearn"}
HEAVY = FRAMEWORKS | {"numpy", "pandas", "scipy", "rich", "jinja2", "click", "IPython", "safetensors"}

HELP = """
import sys
from stayfinite.cli import main
sys.argv = ["stayfinite", *{arguments!r}]
try:
    code = main()
except SystemExit as ending:
    code = ending.code
assert not code, code
"""


def loaded_after(code: str) -> set[str]:
    """Names in `sys.modules` of a fresh interpreter once `code` has run there."""
    report = "\nimport json, sys\nprint(chr(10) + json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", code + report]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def of_ours(modules: set[str], package: str) -> set[str]:
    """Those of `modules` that lie in ``stayfinite.<package>``."""
    name = f"stayfinite.{package}"
    return {module for module in modules if module == name or module.startswith(name + ".")}


def test_import_loads_nothing_but_the_package() -> None:
    modules = loaded_after("import stayfinite; stayfinite.__version__")
    assert modules & HEAVY == set()
    assert {module for module in modules if module.startswith("stayfinite")} == {"stayfinite"}


def test_the_errors_load_no_framework() -> None:
    modules = loaded_after("from stayfinite import TrainingHalted, UsageError")
    assert modules & HEAVY == set()


@pytest.mark.parametrize("name", sorted(HEAVY & {"numpy", "rich", "jinja2", "click", "torch"}))
def test_the_probe_sees_what_is_loaded(name: str) -> None:
    assert name in loaded_after(f"import stayfinite, {name}") & HEAVY


def test_every_public_name_resolves() -> None:
    for name in stayfinite.__all__:
        assert getattr(stayfinite, name) is not None
    assert set(stayfinite.__all__) <= set(dir(stayfinite))
    with pytest.raises(AttributeError, match="no attribute 'wach'"):
        _ = stayfinite.wach


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_loads_no_framework_and_no_catalog(arguments: list[str]) -> None:
    modules = loaded_after(HELP.format(arguments=arguments))
    assert modules & FRAMEWORKS == set()
    assert of_ours(modules, "catalog") == set()
    assert of_ours(modules, "frameworks") == set()


def test_the_help_probe_sees_a_catalog_and_a_framework() -> None:
    modules = loaded_after("import torch, stayfinite.catalog\n" + HELP.format(arguments=["--help"]))
    assert "torch" in modules & FRAMEWORKS
    assert of_ours(modules, "catalog") != set()
