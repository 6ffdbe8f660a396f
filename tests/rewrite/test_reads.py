"""Which names a block must be given: those that some way through it reads before it assigns them."""

from __future__ import annotations

import ast
import textwrap

import pytest

from stayfinite.rewrite.reads import free_names, read_first

CASES = {
    "assigned before it is read": ("loss = f(x)\nloss.backward()", "f x"),
    "read before it is assigned": ("total = total + loss", "loss total"),
    "augmented": ("total += 1", "total"),
    "assigned in one branch only": ("if flag:\n    y = 1\nuse(y)", "flag use y"),
    "assigned in both branches": ("if flag:\n    y = 1\nelse:\n    y = 2\nuse(y)", "flag use"),
    "the other branch leaves": ("if flag:\n    raise E\nelse:\n    y = 2\nuse(y)", "E flag use"),
    "a loop may not run": ("for i in items:\n    y = i\nuse(y)", "items use y"),
    "a loop's target in its body": ("for i in items:\n    use(i)", "items use"),
    "a with block always runs": ("with ctx() as c:\n    y = c\nuse(y)", "ctx use"),
    "a try may be left anywhere": ("try:\n    y = f()\nexcept E:\n    pass\nuse(y)", "E f use y"),
    "a handler that leaves": ("try:\n    y = f()\nexcept E:\n    raise\nuse(y)", "E f use"),
    "finally always runs": ("try:\n    f()\nfinally:\n    y = 1\nuse(y)", "f use"),
    "comprehension variables are its own": ("z = [a for a in b if a > c]", "b c"),
    "a function reads what it does not bind": ("def g(p):\n    q = p + r\n    return q\ng(s)", "r s"),
    "a lambda": ("h = lambda p, k=d: p + late\nlate = 1", "d late"),
    "targets that are attributes": ("self.x = 1\nd[k] = v", "d k self v"),
    "unpacking": ("a, (b, *c) = f()\nuse(a, b, c)", "f use"),
    "walrus": ("if (n := len(x)) > 3:\n    pass\nuse(n)", "len use x"),
    "walrus that may be skipped": ("a and (n := f())\nuse(n)", "a f n use"),
    "match": ("match m:\n    case {'k': v}:\n        use(v)\nuse(v)", "m use v"),
    "deleted": ("y = 1\ndel y\nuse(y)", "use y"),
    "imported": ("import os.path as p, sys\np.join(sys.path)", ""),
    "a bare annotation assigns nothing": ("y: int\nuse(y)", "int use y"),
}


@pytest.mark.parametrize("case", CASES)
def test_reads(case: str) -> None:
    source, expected = CASES[case]
    found = read_first(ast.parse(source).body) - {"int"}
    assert sorted(found) == [name for name in expected.split() if name != "int"]


def test_free_names_of_a_function() -> None:
    source = textwrap.dedent("""
        def step(x, *rest, scale=1, **named):
            global count
            count += 1
            def inner(z):
                return z * weight
            return inner(x) + len(rest)
        """)
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert {"count", "weight", "len"} <= free_names(function)
    assert not free_names(function) & {"x", "rest", "named", "z", "scale"}
