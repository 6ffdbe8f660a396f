"""A script that raises, or is no Python, ends under ``stayfinite run`` with the error text that ``python`` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sameness import both

SCRIPTS: dict[str, str | bytes] = {
    "zero": """
        def f(n):
            return 1 / n

        x = [f(1),
             f(0)]
        """,
    "chain": """
        def f():
            try:
                {}["a"]
            except KeyError as e:
                raise ValueError("b") from e
        try:
            f()
        except ValueError:
            int("c")
        """,
    "reraise": """
        def f():
            raise ValueError("x")
        try:
            f()
        except ValueError as e:
            e.add_note("noted")
            raise e
        """,
    "suppress": """
        try:
            1/0
        except Exception:
            raise KeyError('k') from None
        """,
    "group": """
        def f(i):
            raise ValueError(i)
        errors = []
        for i in range(3):
            try:
                f(i)
            except ValueError as e:
                errors.append(e)
        raise ExceptionGroup("several", [*errors[:2], ExceptionGroup("inner", errors[2:])])
        """,
    "excepthook": """
        import sys
        def hook(kind, error, trace):
            import traceback
            print("mine", kind.__name__, [(f.name, f.lineno) for f in traceback.extract_tb(trace)])
        sys.excepthook = hook
        def f():
            raise ValueError("x")
        f()
        """,
    "excepthook-breaks": """
        import sys
        def hook(kind, error, trace):
            {}[kind.__name__]
        sys.excepthook = hook
        def f():
            raise ValueError("x")
        f()
        """,
    "excepthook-exits": "import sys\nsys.excepthook = lambda *a: sys.exit(9)\n1/0\n",
    "excepthook-deleted": "import sys\ndel sys.excepthook\n1/0\n",
    "last": """
        import sys, atexit
        def show():
            trace = sys.last_traceback
            print(sys.last_type, sys.last_value, trace.tb_lineno, trace.tb_frame.f_code.co_name)
        atexit.register(show)
        1/0
        """,
    "importlib": """
        import importlib
        try:
            importlib.import_module('beside_not')
        except ImportError:
            import traceback; traceback.print_exc()
        importlib.import_module('package.nothing')
        """,
    "import-missing": "import package.nothing\n",
    "import-raises": "import breaks\n",
    "import-raises-importlib": "import importlib\nimportlib.import_module('breaks')\n",
    "import-raises-in-package": "from package2 import x\n",
    "import-syntax": "import badsyntax\n",
    "import-syntax-caught": """
        import traceback
        try:
            import badsyntax
        except SyntaxError:
            traceback.print_exc()
        """,
    "import-syntax-importlib": "import importlib\nimportlib.import_module('badsyntax')\n",
    "import-encoding": "import badenc\n",
    "import-null": "import badnull\n",
    "syntax": "x = 1\ndef f(:\n    pass\n",
    "syntax-eof": "x = (1,\n",
    "syntax-semantic": "def f():\n    return 1\nreturn 2\n",
    "syntax-fstring": "x = 1\nprint(f'{x!z}')\n",
    "syntax-nonlocal": "def f():\n    nonlocal y\n",
    "indentation": "def f():\nreturn 1\n",
    "taberror": "if 1:\n\tx = 1\n        y = 2\n",
    "encoding": b"x = 1\nprint('\xe9')\n",
    "cookie": b'# coding: nothing\nx = 1\n',
    "null": b'x = 1\n\x00\n',
    "bom-syntax": b'\xef\xbb\xbfx = (\n',
    "latin-syntax": b"# coding: latin-1\nx = '\xe9' +\n",
    "escape": "x = '\\d'\nprint(x)\n",
    "assertion": """
        x = 3
        assert x == 4, (
            'not four'
        )
        """,
    "generator-exit": "raise GeneratorExit('x')\n",
    "base": "class Stop(BaseException): pass\nraise Stop('x')\n",
    "system-exit-in-thread": """
        import threading, sys
        t = threading.Thread(target=sys.exit, args=(4,))
        t.start()
        t.join()
        print("on")
        """,
    "closed-stdout": "import sys\nsys.stdout.close()\n",
    "none-stderr": "import sys\nsys.stderr = None\n1/0\n",
    "str-raises": "class E(Exception):\n    def __str__(self): return 1/0\nraise E\n",
    "memory": "raise MemoryError('no')\n",
    "warn-error": "import warnings\nwarnings.simplefilter('error')\nwarnings.warn('x')\n",
    "resource": """
        import sys, warnings
        warnings.simplefilter('always')
        open(__file__)
        print(1)
        """,
    "profile-exit": """
        import sys
        sys.setrecursionlimit(5000)
        print(sys.getrecursionlimit())
        raise SystemExit(SystemExit(3))
        """,
    "next-error": "it = iter([])\nx = next(it)\n",
    "next-error-inner": """
        def g():
            yield 1
            raise ValueError('g')
        it = g()
        next(it)
        def f():
            return next(it)
        f()
        """,
    "nexttype": "x = 3\nnext(x)\n",
    "interrupt": "import atexit\natexit.register(print, 'bye')\ndef f():\n    raise KeyboardInterrupt\nf()\n",
    "interrupt-with-a-hook": "import sys\nsys.excepthook = lambda *a: print('mine', a[0])\nraise KeyboardInterrupt\n",
    "too-deep": "x = " + "(" * 300 + ")" * 300 + "\n",
    "import-in-function": """
        def load():
            import broken_inside
        try:
            load()
        except ImportError as e:
            print("caught", e)
        load()
        """,
}
BESIDE: dict[str, str | bytes] = {
    "breaks.py": "def f():\n    return 1 / 0\nf()\n",
    "package/__init__.py": "",
    "package2/__init__.py": "from .y import x\n",
    "package2/y.py": "import nothing_at_all\n",
    "badsyntax.py": "x = 1\ndef f(:\n  pass\n",
    "badenc.py": b"x = '\xe9'\n",
    "badnull.py": b"x = 1\n\0\n",
    "broken_inside.py": "from os import nothing_like_that\n",
}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_same_error_text(name: str, tmp_path: Path) -> None:
    bare, watched = both(tmp_path, {"train.py": SCRIPTS[name], **BESIDE}, ["train.py"], fresh=True)
    assert watched == bare


def test_an_interrupt_ends_the_process_by_the_signal(tmp_path: Path) -> None:
    source = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)\n"
    bare, watched = both(tmp_path, {"train.py": source}, ["train.py"], fresh=True)
    assert watched == bare
    assert watched.exit_code == -2


def test_an_error_where_the_package_of_a_module_is_imported(tmp_path: Path) -> None:
    files = {"package/__init__.py": "import badsyntax", "package/part.py": "", "badsyntax.py": "x = (\n"}
    bare, watched = both(tmp_path, files, ["-m", "package.part"], fresh=True)
    assert watched.exit_code == bare.exit_code == 1
    assert watched.stderr == re.sub(r'  File "<frozen runpy>", line \d+, in \w+\n', "", bare.stderr)


def test_deep_recursion_is_the_users_own(tmp_path: Path) -> None:
    """Frames of ours stand below the script's: the limit is reached some frames earlier, and the error is the same."""
    source = "n = 0\ndef f():\n    global n\n    n += 1\n    f()\ntry:\n    f()\nfinally:\n    print(n)\n"
    bare, watched = both(tmp_path, {"train.py": source}, ["train.py"], fresh=True)
    assert watched.exit_code == bare.exit_code == 1
    assert int(bare.stdout) - 30 < int(watched.stdout) <= int(bare.stdout)
    repeated = re.compile(r"\[Previous line repeated \d+ more times\]")
    assert repeated.sub("", watched.stderr) == repeated.sub("", bare.stderr)
