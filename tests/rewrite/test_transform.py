"""A loop with an attempt loop round its body does what the loop did: once, and when the body is repeated."""

from __future__ import annotations

import textwrap

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repeating import check

SIMPLE = [
    "a += 1", "b = a * 2 % 7", "c = b - a", "log(a, b, c)", "b = sum(x for x in range(a % 5))", "log(x, y)",
    "c = [y for y in range(3)][a % 3]", "f = lambda: a + b\nlog(f())", "del c", "c = 5", "a, b = b, a",
    "b = (a := a + 1) % 4", "loss.backward()", "optimizer.step()", "loss.backward()\noptimizer.step()",
    "log({k: v for k, v in zip('ab', (a, b))})", "log(*[a, *(b,)])", "assert b != 3, b",
]
CONDITIONS = ["a % 2", "b > a", "a % 3 == 1", "not b", "len(str(a)) and c % 2 == 0", "True"]


@st.composite
def programs(draw: st.DrawFn, *, in_function: bool = True) -> str:
    numbers = iter(range(1, 1000))

    def indented(text: str) -> str:
        return textwrap.indent(text, "    ")

    def condition() -> str:
        return draw(st.sampled_from(CONDITIONS))

    def statements(depth: int, in_loop: bool, least: int = 1) -> str:
        count = draw(st.integers(least, 3))
        return "\n".join(statement(depth, in_loop) for _ in range(count))

    def jump(in_loop: bool) -> str:
        kinds = ["raise ValueError(a)", *["return ('result', a, b)"] * (2 * in_function)]
        return draw(st.sampled_from(kinds + ["break", "continue"] * (2 * in_loop)))

    def statement(depth: int, in_loop: bool) -> str:
        kinds = ["simple"] * 4 + ["jump"] * 2
        if depth > 0:
            kinds += ["if", "for", "while", "try", "finally", "with", "match", "called off"]
        kind = draw(st.sampled_from(kinds))
        number = next(numbers)

        def inner(loop: bool = in_loop) -> str:
            return indented(statements(depth - 1, loop))

        if kind == "simple":
            return draw(st.sampled_from(SIMPLE))
        if kind == "jump":
            return f"if {condition()}:\n    {jump(in_loop)}"
        if kind == "if":
            return f"if {condition()}:\n{inner()}" + (f"\nelse:\n{inner()}" if draw(st.booleans()) else "")
        if kind in ("for", "while"):
            if kind == "for":
                loop = f"for i{number} in range({draw(st.integers(0, 3))}):\n{inner(True)}"
            else:
                loop = f"w{number} = 0\nwhile w{number} < {draw(st.integers(1, 3))}:\n    w{number} += 1\n{inner(True)}"
            return loop + (f"\nelse:\n{inner()}" if draw(st.booleans()) else "")
        if kind == "try":
            text = f"try:\n{inner()}\nexcept ValueError as e:\n    log(str(e))\n{inner()}"
            return text + (f"\nelse:\n{inner()}" if draw(st.booleans()) else "")
        if kind == "finally":
            caught = f"\nexcept ValueError:\n{inner()}" if draw(st.booleans()) else ""
            last = jump(in_loop) if draw(st.integers(0, 3)) == 0 else f"if {condition()}:\n    {jump(in_loop)}"
            last = last if draw(st.booleans()) else ""
            return f"try:\n{inner()}{caught}\nfinally:\n{inner()}\n{indented(last)}"
        if kind == "called off":  # a jump that an error or another jump in its `finally` replaces
            text = f"try:\n    {jump(in_loop)}\nfinally:\n{inner()}\n    {jump(in_loop)}"
            return f"try:\n{indented(text)}\nexcept ValueError:\n{inner()}"
        if kind == "with":
            return f"with entered({draw(st.integers(1, 8))}):\n{inner()}"
        return f"match a % 3:\n    case 0:\n{indented(inner())}\n    case {number} | 1 as m:\n{indented(inner())}\n    case _:\n        pass"  # noqa: E501

    body = statements(3, True) + "\nloss.backward()\n" + statements(1, True) + "\noptimizer.step()\n" + statements(2, True)
    wrapper = draw(st.sampled_from(["plain", "try", "with", "if"]))
    if wrapper == "try":
        body = f"try:\n{indented(body)}\nfinally:\n    log('finally')"
    elif wrapper == "with":
        body = f"with entered(7):\n{indented(body)}"
    elif wrapper == "if":
        body = f"if a < 50:\n{indented(body)}\nlog('end of pass')"
    if draw(st.booleans()):
        loop = f"for n in range({draw(st.integers(1, 4))}):\n{indented(body)}"
    else:
        loop = f"w = 0\nwhile w < {draw(st.integers(1, 4))}:\n    w += 1\n{indented(body)}"
    if draw(st.booleans()):
        loop += "\nelse:\n    log('else')"
    whole = "a = b = c = 0\n" + loop + "\nlog('after', a, b)"
    if draw(st.booleans()):
        whole = f"for epoch in range(2):\n{indented(whole)}"
    if in_function:
        return f"def program():\n{indented(whole)}\n    return a, b\n"
    return whole + "\n"


SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@SETTINGS
@given(programs())
def test_function_does_the_same(source: str) -> None:
    check(source)


@settings(SETTINGS, max_examples=60)
@given(programs(in_function=False))
def test_module_does_the_same(source: str) -> None:
    check(source)

