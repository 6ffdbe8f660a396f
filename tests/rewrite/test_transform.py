"""A loop with an attempt loop round its body does what the loop did: once, and when the body is repeated."""

from __future__ import annotations

import ast
import contextlib
import sys
import textwrap
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Analysis, Block
from stayfinite.rewrite.runtime import Attempt
from stayfinite.rewrite.transform import transform

FILE = "program.py"
REPETITIONS = 2


class World:
    """What a generated program can see and change: a log, a loss, an optimizer. `count` and `log` are its whole state."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.count = 0

    def names(self) -> dict[str, Any]:
        world = self

        class Loss:
            def backward(self) -> None:
                world.log.append("backward")

        class Optimizer:
            def step(self) -> None:
                world.count += 1
                world.log.append(("step", world.count))

        @contextlib.contextmanager
        def entered(name: int) -> Iterator[None]:
            world.log.append(("enter", name))
            try:
                yield
            except ValueError:
                if name % 2:
                    raise
                world.log.append(("swallowed", name))
            finally:
                world.log.append(("exit", name))
            if name % 3 == 0:
                raise ValueError("from a context manager")

        def log(*values: Any) -> None:
            world.log.append(values)
            if len(world.log) > 3000:
                raise RuntimeError("the program runs for too long")

        return {"loss": Loss(), "optimizer": Optimizer(), "entered": entered, "log": log, "x": "global x", "y": "global y"}


class Repeating:
    """Repeats each block, and leaves what the last repetition came to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.passes = 0
        self.outcomes: list[tuple[list[Any], int, object]] = []

    def advance(self, iterator: Iterator[Any], default: tuple[Any, ...]) -> Any:
        return next(iterator, *default)

    def attempts(self, block: Block, frame: FrameType) -> Iterable[Attempt]:
        self.passes += 1
        world = self.world

        def on_exit(error: BaseException | None) -> bool:
            attempt.error = error
            return error is not None

        attempt = Attempt(on_exit)
        log, count = list(world.log), world.count
        names = {name: value for name, value in frame.f_locals.items() if name in block.stored}
        outcomes = []
        for repetition in range(1 + REPETITIONS):
            world.log[:], world.count = log, count
            attempt.again, attempt.names = repetition > 0, names
            attempt.exit, attempt.value, attempt.error = 0, None, None
            yield attempt
            outcomes.append((list(world.log), attempt.exit, repr(attempt.value), repr(attempt.error)))
        assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
        attempt.again = True
        attempt.names = {name: value for name, value in frame.f_locals.items() if name in block.stored}


def outcome(code: Any, world: World, *, repeat: bool = False) -> tuple[list[Any], Any]:
    """What running `code` comes to: the log, and the result or error of its function `program`."""
    names = world.names()
    driver = Repeating(world) if repeat else None
    runtime.set_driver(driver)
    try:
        exec(code, names)
        result = names["program"]() if "program" in names else {k: names[k] for k in "abc" if k in names}
        if isinstance(result, Iterator):
            result = list(result)
    except Exception as error:
        lines = []
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == FILE:
                lines.append((trace.tb_frame.f_code.co_name, trace.tb_lineno))
            trace = trace.tb_next
        result = type(error), str(error), repr(error.__context__), repr(error.__cause__), lines
    finally:
        runtime.set_driver(None)
    return world.log, result


def wrapped(source: str, first_id: int = 1) -> tuple[Any, list[Block]]:
    """Code of `source` with its step loops wrapped, and their blocks."""
    tree = ast.parse(source, FILE)
    sites = Analysis({FILE: tree}).sites(FILE, first_id)
    blocks = [site.block for site in sites]
    runtime.blocks.update({block.id: block for block in blocks})
    return compile(transform(tree, sites), FILE, "exec", dont_inherit=True), blocks


def check(source: str, *, sites: int | None = None) -> None:
    """`source` plain, wrapped, and wrapped with every block repeated must come to the same."""
    plain = outcome(compile(source, FILE, "exec", dont_inherit=True), World())
    code, blocks = wrapped(source)
    if sites is not None:
        assert len(blocks) == sites
    assert outcome(code, World()) == plain
    assert outcome(code, World(), repeat=True) == plain


# ---- programs --------------------------------------------------------------------------------------------------------

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
        kinds = ["raise ValueError(a)"] + ["return ('result', a, b)"] * (2 * in_function) + ["break", "continue"] * (2 * in_loop)
        return draw(st.sampled_from(kinds))

    def statement(depth: int, in_loop: bool) -> str:
        kinds = ["simple"] * 4 + ["jump"] * 2
        if depth > 0:
            kinds += ["if", "for", "while", "try", "finally", "with", "match"]
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


_ = example, pytest, sys
