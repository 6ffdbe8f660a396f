"""``stayfinite run SCRIPT`` behaves as ``python SCRIPT``: exit code, output, error text and files, byte for byte.

What a script can see differs in one place only, and no test here looks there: the frames below its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sameness import both

SCRIPTS: dict[str, str | bytes] = {
    "names": """
        import os, sys
        print(__name__, __file__, __spec__, __package__, __doc__, type(__loader__).__name__, __builtins__, __cached__)
        print(sys.argv, sys.path[0], os.getcwd(), sys.modules["__main__"].__dict__ is globals(), __annotations__)
        print(list(globals()))
        """,
    "docstring": '"""What it is."""\nfrom __future__ import annotations\nx: No = 1\nprint(__doc__, __annotations__)\n',
    "guarded": "def main():\n    print('main')\n\nif __name__ == '__main__':\n    main()\n",
    "siblings": """
        import beside, package.inner
        from package import inner as again
        print(beside.VALUE, beside.__file__, package.inner.__name__, package.inner.__package__, again.__spec__.name)
        print(open("data.txt").read(), open(package.inner.HERE + "/near.txt").read())
        """,
    "namespace-package": "from spaces.deep import inner\nimport spaces\nprint(inner.__name__, list(spaces.__path__))\n",
    "stdin": "import sys; print(input('? ')); print(sys.stdin.read().upper(), sys.stdin.isatty(), sys.stdout.isatty())",
    "environment": "import os; print(os.environ['COLOUR'], sorted(k for k in os.environ if k.startswith('PYTHON')))",
    "chdir": "import os; os.mkdir('out'); os.chdir('out'); open('x', 'w').close(); import beside; print(beside.VALUE)",
    "files": "import os; open('a.txt', 'w').write('1'); open('b.bin', 'wb').write(b'2'); os.remove('data.txt')",
    "left-open": "f = open('a.txt', 'w'); f.write('kept')",
    "configurator": """
        learning_rate, name, n = 0.1, "x", 3
        kinds = (int, float, bool, str)
        config_keys = [k for k, v in globals().items() if not k.startswith("_") and isinstance(v, kinds)]
        exec(open("override.txt").read())
        config = {k: globals()[k] for k in config_keys}
        print(config)
        """,
    "exec": """
        namespace = {}
        exec("def f(x):\\n    return g(x)\\ndef g(x):\\n    return x + 1\\n", namespace)
        print(namespace["f"](1), eval("1 + 1"), __builtins__.len([1]))
        code = compile("y = x * 2", "<mine>", "exec")
        x = 4
        exec(code)
        print(y)
        """,
    "pickle": """
        import pickle

        class Point:
            def __init__(self, x):
                self.x = x

        def double(x):
            return 2 * x

        p = pickle.loads(pickle.dumps(Point(3)))
        print(type(p) is Point, p.x, pickle.loads(pickle.dumps(double)) is double, Point.__module__)
        pickle.dump(Point(1), open("p.pkl", "wb"))
        """,
    "sources": """
        import inspect, linecache, sys

        class A:
            def f(self):
                return 1  # one

        def g(x,
              y=2):
            return x

        print(inspect.getsource(A), inspect.getsource(g), inspect.getsource(A.f), inspect.getsourcefile(A))
        print(repr(linecache.getline(__file__, 4)), g.__code__.co_firstlineno, g.__code__.co_filename)
        print(inspect.getsource(sys.modules["__main__"]) == open(__file__).read(), inspect.getmodule(g))
        """,
    "typing": """
        from __future__ import annotations
        import typing
        from dataclasses import dataclass, field, asdict

        @dataclass
        class Config:
            rate: float = 0.1
            inner: Inner | None = None
            sizes: list[int] = field(default_factory=list)

        @dataclass(slots=True, frozen=True)
        class Inner:
            n: int = 3

        print(typing.get_type_hints(Config), asdict(Config(inner=Inner())), Config.__module__)
        """,
    "doctest": '''
        import doctest

        def f(x):
            """
            >>> f(2)
            4
            >>> f(3)
            7
            """
            return 2 * x

        print(doctest.testmod())
        ''',
    "classes": """
        import abc, collections, enum, functools

        class Colour(enum.Enum):
            RED = 1
            for _name in ("a", "b"):
                locals()[_name.upper()] = _name
            del _name

        class Base(abc.ABC):
            @functools.cached_property
            def x(self):
                return 1

        print(list(Colour), Base().x, collections.namedtuple("P", "x y")(1, 2).__module__)
        """,
    "warnings": """
        import warnings
        warnings.warn("mine")
        def old():
            warnings.warn("old", DeprecationWarning, stacklevel=2)
        for _ in range(3):
            old()
            warnings.warn("again")
        import beside
        beside.warn()
        beside.warn()
        print(1 is 1)
        """,
    "warnings-of-parsing": "import warnings\nwarnings.simplefilter('always')\nimport escapes\nprint('\\d' '\\w')\n",
    "warned-once": """
        import warnings
        def nag():
            warnings.warn("once")
        nag()
        import package.inner
        nag()
        import beside
        nag()
        """,
    "exit-handlers": "import atexit; atexit.register(print, 'last'); atexit.register(print, 'first'); print('body')",
    "exit-zero": "import sys; print('x'); sys.exit()",
    "exit-number": "import sys; sys.exit(7)",
    "exit-interrupted": "import sys; sys.exit(130)",
    "exit-negative": "import sys; sys.exit(-1)",
    "exit-large": "import sys; sys.exit(1000)",
    "exit-bool": "import sys; sys.exit(True)",
    "exit-text": "raise SystemExit('went wrong')",
    "exit-object": "import sys; sys.exit([1, 2])",
    "exit-in-function": "import sys\ndef f():\n  try:\n    sys.exit(3)\n  finally:\n    print('end')\nf()\n",
    "exit-at-once": "import os; print('x', flush=True); os._exit(5)",
    "threads": """
        import threading, time
        def late():
            time.sleep(0.2)
            print("late")
        threading.Thread(target=late).start()
        threading.Thread(target=lambda: 1 / 0, name="bad").start()
        print("early")
        """,
    "pool": """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        print([f.result() for f in [pool.submit(pow, 2, n) for n in range(4)]])
        """,
    "asyncio": """
        import asyncio

        async def ticks(n):
            for i in range(n):
                await asyncio.sleep(0)
                yield i

        async def main():
            async for i in ticks(3):
                print(i)
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
            return "done"

        print(asyncio.run(main()))
        """,
    "signals": """
        import signal, os
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGTERM))
        signal.signal(signal.SIGUSR1, lambda n, f: print("got", n, f.f_code.co_name))
        os.kill(os.getpid(), signal.SIGUSR1)
        """,
    "terminated": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "interrupted": """
        import atexit, os, signal, time
        atexit.register(print, "bye")
        def wait():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        wait()
        """,
    "interrupt-caught": "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    print('caught')\n",
    "fork": """
        import os, sys
        pid = os.fork()
        if pid == 0:
            print("child", flush=True)
            sys.exit(3)
        print("child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """,
    "fork-falls-through": """
        import os
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        print("child" if pid == 0 else "parent", flush=True)
        """,
    "fork-interrupted": """
        import os
        pid = os.fork()
        if pid == 0:
            raise KeyboardInterrupt
        print("child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """,
    "workers-fork": """
        import multiprocessing as m

        def f(x):
            return x * x

        if __name__ == "__main__":
            with m.get_context("fork").Pool(2) as pool:
                print(pool.map(f, range(4)))
        """,
    "workers-spawn": """
        import multiprocessing as m

        class Square:
            def __call__(self, x):
                return x * x

        if __name__ == "__main__":
            with m.get_context("spawn").Pool(1) as pool:
                print(pool.map(Square(), range(4)))
        """,
    "tracing": """
        # lines that ran, as a coverage tool sees them
        import sys
        lines = set()
        def tracer(frame, event, arg):
            if frame.f_code.co_filename.endswith(("train.py", "beside.py")):
                lines.add((frame.f_code.co_name, frame.f_lineno))
                return tracer
        def work(n):
            for i in range(n):
                if i == 1:
                    continue
                x = i
            return x
        sys.settrace(tracer)
        import beside
        work(3)
        sys.settrace(None)
        print(sorted(lines))
        """,
    "debugger": "x = 3\nbreakpoint()\ny = x + 1\nprint(y)\n",
    "next": """
        it = iter([1])
        print(next(it), next(it, None), next(it, 3))
        try:
            next(it, 1, 2)
        except TypeError as e:
            print(e)
        """,
    "own-next": "def next(a, b=2):\n    return a + b\nx = 3\nprint(next(x))\n",
    "next-as-parameter": "def f(next, x):\n    return next(x)\nprint(f(lambda v: v * 2, 3))\n",
    "next-imported": "from operator import neg as next\nx = 3\nprint(next(x))\n",
    "next-as-method": "class N:\n    def next(self, it):\n        return next(it)\nprint(N().next(iter('a')))\n",
    "long-line": "x = [" + ", ".join(map(str, range(20000))) + "]\nprint(sum(x))\n",
    "deep-expression": "x = " + " + ".join(["1"] * 1200) + "\nprint(x)\n",
    "tabs": "def f():\n\tfor i in range(2):\n\t\tif i:\n\t\t\tprint(i)\nf()\n",
    "crlf": "def f():\r\n    print('''a\r\nb'''.encode())\r\nf()\r\n",
    "bom": b"\xef\xbb\xbf# a comment\nprint('caf\xc3\xa9')\n",
    "latin-1": b"# -*- coding: latin-1 -*-\nprint('caf\xe9'.encode())\nprint(open(__file__, 'rb').read()[-8:])\n",
    "form-feed": "x = 1\n\x0c\nprint(x)\n",
    "empty": "",
    "comment-only": "# nothing",
    "no-newline": "print('x')",
}
BESIDE: dict[str, str | bytes] = {
    "beside.py": "import warnings\nVALUE = 'beside'\ndef warn():\n    warnings.warn('from beside')\n",
    "escapes.py": "PATTERN = '\\d'\n",
    "package/__init__.py": "",
    "package/inner.py": "import os\nHERE = os.path.dirname(__file__)\n",
    "package/near.txt": "near",
    "spaces/deep/inner.py": "",
    "data.txt": "text",
    "override.txt": "learning_rate = 0.5\n",
}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_same_as_python(name: str, tmp_path: Path) -> None:
    files = {"train.py": SCRIPTS[name], **BESIDE}
    argv = ["train.py", "--quiet", "--json", "x", "--", "-m"]  # options that look like ours are the script's
    bare, watched = both(tmp_path, files, argv, fresh=True, env={"COLOUR": "red"}, stdin="p x\nn\nc\n")
    assert watched == bare
