"""A loop that is wrapped looks to tools, threads, generators and file formats as it does under ``python``."""

from __future__ import annotations

from pathlib import Path

import pytest
from sameness import check_loops

SCRIPTS: dict[str, str | bytes] = {
    "generator": """
        def epochs():
            for i in range(3):
                loss.backward()
                optimizer.step()
                got = yield i
                print("got", got)
            return "end"
        g = epochs()
        print(next(g), g.send(5), list(g))
        """,
    "yield-inside": """
        def epochs():
            for i in range(3):
                loss.backward()
                yield i
                optimizer.step()
        print(list(epochs()))
        """,
    "async-for": """
        import asyncio
        async def ticks():
            for i in range(3):
                yield i
        async def train():
            async for i in ticks():
                loss.backward()
                optimizer.step()
                print(i)
            for k in range(2):
                async with asyncio.timeout(5):
                    loss.backward()
                    optimizer.step()
            for k in range(2):
                await asyncio.sleep(0)
                loss.backward()
                optimizer.step()
            return [i async for i in ticks()]
        print(asyncio.run(train()))
        """,
    "threads": """
        import threading
        def train(name):
            for i in range(3):
                loss.backward()
                optimizer.step()
        ts = [threading.Thread(target=train, args=(n,)) for n in range(2)]
        for t in ts:
            t.start()
            t.join()
        print(optimizer.count)
        """,
    "thread-raises": """
        import threading
        def train():
            for i in range(3):
                loss.backward()
                optimizer.step()
                [][i]
        t = threading.Thread(target=train)
        t.start()
        t.join()
        """,
    "decorated": """
        import functools
        def twice(f):
            @functools.wraps(f)
            def g(*a):
                f(*a)
                return f(*a)
            return g
        @twice
        def train(n):
            for i in range(n):
                loss.backward()
                optimizer.step()
            return i
        print(train(2), train.__wrapped__.__code__.co_firstlineno)
        """,
    "sources": """
        import inspect, linecache
        def train():
            for i in range(2):
                loss.backward()
                # a comment
                optimizer.step()
        print(inspect.getsource(train), train.__code__.co_varnames[:1], linecache.getline(__file__, 5))
        train()
        """,
    "pickle": """
        import pickle
        class Model:
            def fit(self):
                for i in range(2):
                    loss.backward()
                    optimizer.step()
                self.i = i
                return self
        def fit():
            for i in range(2):
                loss.backward()
                optimizer.step()
        print(pickle.loads(pickle.dumps(Model().fit())).i, pickle.loads(pickle.dumps(fit)) is fit)
        """,
    "tracing": """
        import sys
        lines = set()
        def tracer(frame, event, arg):
            if frame.f_code.co_filename == __file__:
                lines.add((frame.f_code.co_name, frame.f_lineno))
                return tracer
        def train(n):
            for i in range(n):
                if i == 2:
                    break
                loss.backward()
                if i == 1:
                    continue
                optimizer.step()
                x = [j for j in range(2)]
                print(i)
            else:
                print("else")
            return i
        sys.settrace(tracer)
        train(4)
        sys.settrace(None)
        print(sorted(lines))
        """,
    "doctest": '''
        import doctest
        def train():
            """
            >>> train()
            backward
            step 1
            'done'
            """
            for i in range(1):
                loss.backward()
                optimizer.step()
            return "done"
        print(doctest.testmod())
        ''',
    "warnings": """
        import warnings
        for i in range(3):
            warnings.warn("in block")
            loss.backward()
            optimizer.step()
            warnings.warn(f"after {i}")
        """,
    "future": """
        from __future__ import annotations
        from fake import loss, optimizer
        def f(x: Nope) -> Never2:
            for i in range(2):
                loss.backward()
                optimizer.step()
        print(f.__annotations__)
        f(1)
        """,
    "docstring": '''
        """Doc."""
        from fake import loss, optimizer
        for i in range(1):
            loss.backward()
            optimizer.step()
        print(__doc__)
        ''',
    "tabs": "\n".join([
        "from fake import loss, optimizer", "for i in range(2):", "\tloss.backward()", "\tif i:", "\t\tbreak",
        "\toptimizer.step()",
    ]),
    "crlf": "\r\n".join([
        "from fake import loss, optimizer", "for i in range(2):", "    loss.backward()", "    s = '''a", "b'''",
        "    optimizer.step()", "print(s.encode())",
    ]),
    "bom": b"\xef\xbb\xbf" + "\n".join([
        "from fake import loss, optimizer", "for i in range(2):",
        "    loss.backward(); optimizer.step(); print('caf\u00e9')",
    ]).encode(),
    "latin-1": "\n".join([
        "# -*- coding: latin-1 -*-", "from fake import loss, optimizer", "for i in range(2):",
        "    loss.backward(); optimizer.step(); print('\u00e9'.encode())", "    raise ValueError('\u00e9')",
    ]).encode("latin-1"),
    "one-line": "for i in range(2): loss.backward(); optimizer.step(); print(i)\n",
    "long": "for i in range(2):\n    loss.backward(); x = [" + ", ".join(map(str, range(5000))) + "]\n"
    "    optimizer.step()\n    print(len(x), x[\n        i + 4999])\n",
    "exec": "exec(open('trainer.py').read() + '\\nfit()')\n",
    "main-guard": """
        def main():
            for i in range(2):
                loss.backward()
                optimizer.step()
            return 0
        if __name__ == "__main__":
            raise SystemExit(main())
        """,
    "script-that-imports-the-loop": "import trainer\ntrainer.fit()\n",
    "debugger": "for i in range(2):\n    loss.backward()\n    breakpoint()\n    optimizer.step()\n    print(i)\n",
    "spawned": """
        import multiprocessing as m
        class Job:
            def __call__(self, n):
                for i in range(n):
                    loss.backward()
                    optimizer.step()
                return n
        if __name__ == "__main__":
            for i in range(1):
                loss.backward()
                optimizer.step()
            with m.get_context("fork").Pool(1) as pool:
                print(pool.map(Job(), [1, 2]))
        """,
}
UNWRAPPED = frozenset({"yield-inside", "exec"})
"""Scripts whose loop is left as it is: a block with `yield` cannot run again, and executed text is not loaded."""


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_same_as_python(name: str, tmp_path: Path) -> None:
    check_loops(tmp_path, SCRIPTS[name], wrapped=name not in UNWRAPPED)
