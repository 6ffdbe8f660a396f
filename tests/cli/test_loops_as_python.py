"""A loop that is wrapped does what it does under ``python``: errors, exits, names, scopes.

A session drives the loops; what they train is no framework's, so every pass runs once.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sameness import check_loops

SCRIPTS: dict[str, str | bytes] = {
    "plain": """
        for i in range(2):
            loss.backward()
            optimizer.step()
            print(i)
        """,
    "raise-before": """
        for i in range(3):
            if i == 1:
                raise ValueError('before')
            loss.backward()
            optimizer.step()
        """,
    "raise-after": """
        for i in range(3):
            loss.backward()
            optimizer.step()
            print([1, 2][
                i + 1])
        """,
    "raise-in-helper": """
        def helper(n):
            return {0: 1, 1: 2}[n]
        def train():
            for i in range(3):
                loss.backward()
                helper(i)
                optimizer.step()
        train()
        """,
    "raise-chain": """
        def f():
          for i in range(3):
            try:
                loss.backward()
                {}[i]
                optimizer.step()
            except KeyError as e:
                raise RuntimeError('x') from e
        f()
        """,
    "raise-group": """
        for i in range(3):
            loss.backward()
            optimizer.step()
            raise ExceptionGroup('g', [ValueError(1)])
        """,
    "reraise-e": """
        def f():
            raise ValueError('x')
        for i in range(3):
            try:
                f()
            except ValueError as e:
                raise e
            loss.backward()
            optimizer.step()
        """,
    "caught-printed": """
        import traceback
        def f():
            raise ValueError('x')
        try:
            for i in range(3):
                loss.backward()
                f()
                optimizer.step()
        except ValueError:
            traceback.print_exc()
        """,
    "stop-iteration": """
        it = iter([1])
        while True:
            x = next(it)
            loss.backward()
            optimizer.step()
        """,
    "stop-iteration-caught": """
        it = iter([1, 2])
        while True:
            try:
                x = next(it)
            except StopIteration:
                break
            loss.backward()
            optimizer.step()
            print(x)
        """,
    "exit-in-loop": """
        import sys
        for i in range(3):
            loss.backward()
            if i: sys.exit(4)
            optimizer.step()
        """,
    "keyboard-in-loop": """
        for i in range(3):
            loss.backward()
            if i: raise KeyboardInterrupt
            optimizer.step()
        """,
    "keyboard-caught": """
        try:
          for i in range(3):
            loss.backward()
            if i: raise KeyboardInterrupt
            optimizer.step()
        except KeyboardInterrupt:
          print('saved', i)
        """,
    "locals": """
        def train():
            for i in range(2):
                x = i
                loss.backward()
                optimizer.step()
                print(sorted(locals()), sorted(vars()), dir())
            return sorted(locals())
        print(train())
        """,
    "locals-in-block": """
        def train():
            for i in range(2):
                seen = sorted(locals())
                print("{i} of {seen}".format(**locals()))
                loss.backward()
                optimizer.step()
        train()
        """,
    "globals": """
        for i in range(2):
            loss.backward()
            optimizer.step()
        print(sorted(k for k in globals() if not k.startswith("_")))
        print(sorted(k for k in dir() if not k.startswith("_")))
        """,
    "own-locals": """
        def locals(): return "mine"
        def train():
            for i in range(2):
                loss.backward()
                optimizer.step()
                print(locals())
        train()
        """,
    "names": """
        range_, locals_ = range, locals
        def train(range, next, iter, __stayfinite=3):
            for __x in range:
                loss.backward()
                optimizer.step()
                print(next, iter, __x, __stayfinite)
        train([1, 2], 2, 3)
        _sf_attempt = 5
        print(_sf_attempt)
        """,
    "mangled": """
        class T:
            def __init__(self):
                self.__n = 0
                self.__seen = []
            def fit(self):
                for __i in range(3):
                    self.__n += 1
                    self.__seen.append(__i)
                    loss.backward()
                    optimizer.step()
                    print(self.__n, sorted(vars(self)), __class__.__name__)
                return self.__seen
        print(T().fit())
        """,
    "super": """
        class A:
            def step(self):
                loss.backward()
                optimizer.step()
        class B(A):
            def fit(self):
                for i in range(2):
                    super().step()
                    loss.backward()
                    optimizer.step()
                    print(__class__, super().__thisclass__)
        B().fit()
        """,
    "class-level": """
        class Config:
            total = 0
            for k in range(3):
                total += k
                loss.backward()
                optimizer.step()
            del k
        print(Config.total, sorted(n for n in vars(Config) if not n.startswith("_")))
        """,
    "closure": """
        def outer():
            n = 0
            def add():
                nonlocal n
                n += 1
                return n
            fs = []
            for i in range(3):
                add()
                fs.append(lambda: (i, n))
                loss.backward()
                optimizer.step()
            return [f() for f in fs], add()
        print(outer())
        """,
    "while-else": """
        w = 0
        while w < 3:
            w += 1
            loss.backward()
            optimizer.step()
        else:
            print('else', w)
        """,
    "nested": """
        def train():
            for e in range(2):
                for i in range(3):
                    loss.backward()
                    if i == 1:
                        continue
                    if e == 1 and i == 2:
                        return e, i
                    optimizer.step()
                else:
                    print("no break", e)
            return None
        print(train())
        """,
    "finally": """
        def train():
            for i in range(3):
                try:
                    loss.backward()
                    return i
                finally:
                    optimizer.step()
                    print("finally", i)
        print(train())
        """,
    "accumulate": """
        for i in range(4):
            loss.backward()
            if (i + 1) % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()
            print(i)
        """,
    "match": """
        for i in range(4):
            match [i, i + 1]:
                case [0, x]:
                    print("zero", x)
                case [n, *rest] if n % 2:
                    loss.backward()
                    continue
                case {"a": 1, **others}:
                    pass
                case _:
                    optimizer.step()
        """,
    "locals-as-configuration": """
        def train(rate=0.1, size=3):
            config = locals()
            for i in range(2):
                loss.backward()
                optimizer.step()
            print(config)
            return config
        print(train())
        """,
    "shadowed-by-comprehension": """
        p, q = "global p", "global q"
        def train():
            r = "of the function"
            def inner():
                for i in range(2):
                    total = sum(p for p in range(3))
                    names = [(lambda r: r)(q) for q in "ab"]
                    loss.backward()
                    optimizer.step()
                    print(p, q, r, total, names)
            inner()
        train()
        """,
}
UNWRAPPED: frozenset[str] = frozenset()
"""Scripts whose loop is left as it is."""


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_same_as_python(name: str, tmp_path: Path) -> None:
    check_loops(tmp_path, SCRIPTS[name], wrapped=name not in UNWRAPPED)
