"""A case in the fork server ends as the same script in an interpreter of its own."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest
from forkserver import Completed, run_bare, run_case

SCRIPTS = {
    "place": "import os, sys; print(__name__, __file__, sys.argv, sys.path[0], os.getcwd(), __package__, __spec__)",
    "sibling": "import beside; print(beside.VALUE, beside.__file__)",
    "stdin": "import sys; print(sys.stdin.read().upper(), sys.stdin.isatty(), sys.stdout.isatty())",
    "environment": "import os; print(os.environ['COLOUR'], [k for k in os.environ if k.startswith('STAYFINITE')])",
    "raises": """
        def deep(n):
            return 1 / n

        try:
            deep(0)
        except ZeroDivisionError as e:
            raise KeyError('no') from e
        """,
    "syntax": "x = 1\ndef f(:\n    pass\n",
    "exit-number": "import sys; print('bye'); sys.exit(7)",
    "exit-text": "raise SystemExit('went wrong')",
    "exit-handler": "import atexit; atexit.register(print, 'last'); print('first')",
    "thread": """
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()
        print('early')
        """,
    "interrupt": "raise KeyboardInterrupt",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "future": "def f(a: 'no' = 1): ...\nprint(f.__annotations__)",
    "hook": "import sys\nsys.excepthook = lambda t, e, tb: print('mine', t.__name__, tb.tb_lineno)\nraise ValueError",
    "pickle": "import pickle\nclass P: pass\nprint(type(pickle.loads(pickle.dumps(P()))) is P)",
    "workers": """
        import multiprocessing as m

        def f(x):
            return x * x

        if __name__ == '__main__':
            with m.get_context('fork').Pool(2) as p:
                print(p.map(f, range(4)))
        """,
    "torch": "import torch as t; t.manual_seed(0); print(t.randn(3).tolist(), t.get_num_threads(), t.initial_seed())",
    "crlf": "# -*- coding: latin-1 -*-\r\nprint('\xe9'.encode())\r\n",
    "accents": "print('caf\u00e9')",
}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_same_as_an_interpreter(name: str, tmp_path: Path) -> None:
    encoding = "latin-1" if name == "crlf" else "utf-8"
    (tmp_path / "job.py").write_bytes(textwrap.dedent(SCRIPTS[name]).encode(encoding))
    (tmp_path / "beside.py").write_text("VALUE = 'beside'\n")

    def run(fresh: bool) -> Completed:
        return run_bare(["job.py", "--rate", "1"], tmp_path, {"COLOUR": "red"}, stdin="typed", fresh=fresh)

    forked, alone = run(fresh=False), run(fresh=True)
    assert (forked.exit_code, forked.stdout, forked.stderr) == (alone.exit_code, alone.stdout, alone.stderr)
    assert forked.stdout or forked.stderr or forked.exit_code


def test_files_left_open_are_written(tmp_path: Path) -> None:
    lines = ["f = open('left.txt', 'w')", "f.write('kept')", "g = [open('kept.bin', 'wb')]", "g[0].write(b'too')"]
    (tmp_path / "job.py").write_text("\n".join(lines))
    assert run_bare(["job.py"], tmp_path).exit_code == 0
    assert (tmp_path / "left.txt").read_text() == "kept"
    assert (tmp_path / "kept.bin").read_bytes() == b"too"


def test_missing_script_says_so(tmp_path: Path) -> None:
    forked, alone = (run_bare(["none.py"], tmp_path, fresh=fresh) for fresh in (False, True))
    assert forked.exit_code == alone.exit_code == 2
    assert forked.stderr == alone.stderr


def test_module_is_run_by_name(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("import sys; print(__name__, sys.argv[1:])")
    assert run_case(["python", "-m", "job", "a"], tmp_path).stdout == "__main__ ['a']\n"


def test_cases_do_not_see_each_other(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text("import torch, os; torch.leak = 1; os.environ['LEAK'] = '1'; import beside")
    (tmp_path / "beside.py").write_text("")
    seen = "hasattr(torch, 'leak'), 'LEAK' in os.environ, 'beside' in sys.modules"
    (tmp_path / "second.py").write_text(f"import torch, os, sys; print({seen})")
    assert run_bare(["first.py"], tmp_path).exit_code == 0
    assert run_bare(["second.py"], tmp_path).stdout == "False False False\n"


def test_unseeded_draws_differ_between_cases(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("import numpy, random; print(numpy.random.rand(), random.random())")
    first, second = (run_bare(["job.py"], tmp_path).stdout.split() for _ in range(2))
    assert first[0] != second[0]
    assert first[1] != second[1]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_case_that_hangs_is_killed_with_its_children(fresh: bool, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        textwrap.dedent(
            """
            import os, time
            child = os.fork()
            if child:
                print(child, flush=True)
            time.sleep(600)
            """
        )
    )
    done = run_bare(["job.py"], tmp_path, timeout=2.0, fresh=fresh)
    assert done.timed_out
    assert done.exit_code == -9
    deadline = time.monotonic() + 5.0
    while _runs(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_first_word_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="begins with python or stayfinite"):
        run_case(["bash", "-c", "true"], tmp_path)
