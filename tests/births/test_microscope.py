"""Lines under the microscope: the first that makes a bad value is told, whatever the style of the code."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from stayfinite.rewrite.births.microscope import Microscope
from stayfinite.rewrite.births.telling import tell

STYLES: dict[str, tuple[str, str]] = {
    "a name": ("def make():\n    x = np.array([1.0, 0.0])\n    y = np.log(x)  # here\n    return y\n", "log"),
    "a return": ("def make():\n    x = np.array([1.0, 0.0])\n    return np.log(x)  # here\n", "log"),
    "a lambda": ("f = lambda x: np.log(x)  # here\ndef make():\n    return f(np.array([0.0]))\n", "log"),
    "a helper": ("def scale(x):\n    s = x.std(0)\n    return (x - x.mean(0)) / s  # here\ndef make():\n"
                 "    z = scale(np.ones((4, 2)))\n"
                 "    return z.astype('float32')\n", "div"),
    "an attribute": ("class A:\n    def __init__(self):\n        self.x = np.array([-1.0])\n        self.y = np.sqrt(self.x)"
                     "  # here\n"
                     "def make():\n    return A().y\n", "sqrt"),
    "an item": ("def make():\n    x = np.zeros(3)\n    x[1] = float('nan')  # here\n    y = x * 2\n    return y\n", ""),
    "an addition in place": ("def make():\n    x = np.ones(3)\n    z = np.zeros(3)\n    x /= z  # here\n    return x\n", "div"),
    "a comprehension": ("def parse(text):\n    return float(text or 'nan')  # here\ndef make():\n"
                        "    rows = [[parse(c) for c in line.split(',')] for line in ('1,2', '3,')]\n    return np.array(rows)\n", ""),
    "a growing list": ("def make():\n    rows = []\n    for text in ('1', '', '3'):\n        rows.append(float(text or 'nan'))  # here\n"
                       "    return np.array(rows)\n", ""),
    "a generator": ("def rows():\n    for v in (1.0, 0.0):\n        yield 1.0 / np.float64(v)  # here\ndef make():\n"
                    "    got = [r for r in rows()]\n    return np.array(got)\n", "div"),
    "a callable": ("class Log:\n    def __call__(self, x):\n        x = x - 1\n        x = np.log(x)  # here\n        return x\n"
                   "def make():\n    for t in [Log(), np.abs]:\n        x = t(np.ones(2)) if t is not np.abs else t(x)\n"
                 "    return x\n", "log"),
    "a number of a library": ("def pad(x):\n    return np.append(x, np.nan)  # here\ndef make():\n    return pad(np.ones(2))\n", ""),
    "a framework": ("def make():\n    x = torch.ones(3, 2)\n    x = (x - x.mean(0)) / x.std(0)  # here\n    return x\n", "div"),
    "a table": ("def make():\n    f = pd.DataFrame({'a': [1.0, 2.0], 'b': [0.0, 1.0]})\n    f['c'] = f['a'] / f['b']  # here\n"
                "    return f[['a', 'c']].to_numpy()\n", "div"),
    "one clean row of a bad table": ("t = np.array([[np.nan], [0.0]])\ndef make():\n    row = t[1]\n"
                 "    return np.log(row)  # here\n", "log"),
}


def _module(path: Path, source: str) -> tuple[ModuleType, int]:
    path.write_text("import numpy as np\nimport torch\nimport pandas as pd\n" + source)
    module = ModuleType(path.stem)
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if text.endswith("# here"))
    return module, line


@pytest.mark.parametrize("style", STYLES)
def test_the_line_is_found(style: str, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    source, op = STYLES[style]
    module, line = _module(tmp_path / "user.py", source)
    make: Callable[[], Any] = module.make
    before = sys.gettrace()
    with Microscope() as scope:
        value = make()
    assert sys.gettrace() is before
    events = scope.of(value) or scope.events[-1:]
    births = scope.roots(events[0])
    assert [one.line for one in births][:1] == [line], [(e.line, e.target, e.foreign) for e in scope.events]
    assert not births[0].foreign
    birth = tell(scope, births[0], lambda path: path, "setup")
    assert birth.op == op and birth.location.line == line


def test_nothing_is_found_in_clean_lines(tmp_path: Path) -> None:
    module, _ = _module(tmp_path / "user.py", "def make():\n    x = np.arange(4.0)\n    return np.log1p(x).sum()  # here\n")
    with Microscope() as scope:
        module.make()
    assert not scope.events and not scope.wraps


def test_a_value_that_was_bad_before_is_no_birth(tmp_path: Path) -> None:
    module, line = _module(tmp_path / "user.py", "t = np.array([np.nan, 1.0])\ndef make():\n    x = t[0:1] * 2  # here\n    return x\n")
    with Microscope() as scope:
        value = module.make()
    (root,) = scope.roots(scope.of(value)[0])
    assert root.line == line and root.foreign == ["t[0:1]"] and root.held[0][0] == "t"


def test_the_spread_that_was_zero_is_known(tmp_path: Path) -> None:
    source = ("def make():\n    x = np.array([[1.0, 5.0], [2.0, 5.0]])\n    low, high = x.min(0), x.max(0)\n"
              "    return (x - low) / (high - low)  # here\n")
    module, _ = _module(tmp_path / "user.py", source)
    with Microscope() as scope:
        value = module.make()
    birth = tell(scope, scope.roots(scope.of(value)[0])[0], lambda path: path, "setup")
    assert birth.operand_by == "ptp" and birth.inputs[1].culprit == 0.0 and "because `high - low` is 0" in birth.how


@pytest.mark.parametrize(
    ("by", "line"),
    [
        ("std", "s = np.sqrt(((x - x.mean(0)) ** 2).sum(0) / len(x))"),
        ("std", "d = x - x.mean(0); s = np.sqrt((d * d * w).sum(0) / w.sum(0))"),
        ("var", "s = np.square(x - x.mean(0)).mean(0)"),
        ("norm", "s = np.sqrt((x0 * x0).sum(0))"),
        ("norm", "s = np.sqrt((x0 ** 2).mean(0))"),
        ("mean", "s = x0.sum(0) / len(x0)"),
        ("std", "s = pd.DataFrame(x).rolling(2, min_periods=1).std().fillna(0.0).to_numpy()"),
    ],
)
def test_what_made_the_divisor_is_known(by: str, line: str, tmp_path: Path) -> None:
    source = ("def make():\n    x, x0, w = np.array([[1.0, 5.0], [2.0, 5.0]]), np.array([[1.0, 0.0], [2.0, 0.0]]), np.ones((2, 1))\n"
              f"    {line}\n    return (x - x.mean(0)) / s  # here\n")
    module, _ = _module(tmp_path / "user.py", source)
    with Microscope() as scope:
        value = module.make()
    assert tell(scope, scope.roots(scope.of(value)[0])[0], lambda path: path, "setup").operand_by == by


def test_a_spread_within_groups_of_a_table_is_one(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    source = ("def make():\n    t = pd.DataFrame({'g': [0, 0, 1, 1], 'v': [1.0, 2.0, 3.0, 3.0]})\n    by = t.groupby('g')[['v']]\n"
              "    return (t[['v']] - by.transform('mean')) / by.transform('std', ddof=0)  # here\n")
    module, _ = _module(tmp_path / "user.py", source)
    with Microscope() as scope:
        value = module.make()
    birth = tell(scope, scope.roots(scope.of(value)[0])[0], lambda path: path, "setup")
    assert (birth.op, birth.operand_by, birth.inputs[-1].culprit) == ("div", "std", 0.0)


@pytest.mark.parametrize("line", ["y = a * b", "y = a * 2", "a *= b"])
def test_whole_numbers_that_leave_their_range_are_noted(line: str, tmp_path: Path) -> None:
    source = f"def make():\n    a, b = np.array([200], dtype='int16'), np.array([300], dtype='int16')\n    {line}  # here\n    return a\n"
    module, number = _module(tmp_path / "user.py", source)
    with Microscope() as scope:
        module.make()
    assert [one.line for one in scope.wraps] == ([number] if "b" in line else [])


def test_whole_numbers_are_noted_where_their_mean_is_returned(tmp_path: Path) -> None:
    source = ("def power(a):\n    return (a * a).mean()  # here\n"
              "def make():\n    return np.log(power(np.array([200, 200], dtype='int16')))\n")
    module, number = _module(tmp_path / "user.py", source)
    with Microscope() as scope:
        value = module.make()
    assert [one.line for one in scope.wraps] == [number]
    assert tell(scope, scope.of(value)[0], lambda path: path, "setup").wrapped_at.line == number


def test_what_is_masked_is_not_there(tmp_path: Path) -> None:
    source = "def make():\n    x = np.ma.masked_invalid([1.0, np.nan])\n    y = x * 1\n    z = y.filled(np.inf)  # here\n    return z\n"
    module, number = _module(tmp_path / "user.py", source)
    with Microscope() as scope:
        value = module.make()
    assert [one.line for one in scope.roots(scope.of(value)[0])] == [number]


def test_the_part_of_a_long_statement_is_told(tmp_path: Path) -> None:
    source = ("def make():\n    x = np.array([0.0, 1.0])\n    table = pd.DataFrame({\n        'a': x,\n"
              "        'b': np.log(x),  # here\n    })\n    return table.to_numpy()\n")
    module, line = _module(tmp_path / "user.py", source)
    with Microscope() as scope:
        value = module.make()
    (root,) = scope.roots(scope.of(value)[0])
    assert root.location(str).line == line


def test_reserved_memory_is_not_who_wrote_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def make():\n    x = np.empty(3)\n    x[:] = 1.0\n    x[1] = float('inf')  # here\n    y = x * 2\n    return y\n"
    module, line = _module(tmp_path / "user.py", source)
    monkeypatch.setattr(module.np, "empty", functools.partial(np.full, fill_value=np.nan))  # memory holds anything
    with Microscope() as scope:
        value = module.make()
    assert [one.line for one in scope.roots(scope.of(value)[0])] == [line]
