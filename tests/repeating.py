"""Runs programs plain, with their loops wrapped, and with every wrapped block repeated, and compares what they come to.

A program trains nothing: it has a `loss` and an `optimizer` that write into a log, which is all of its world.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Analysis, Block
from stayfinite.rewrite.runtime import Attempt
from stayfinite.rewrite.transform import transform

FILE = "program.py"
REPETITIONS = 2


class World:
    """What a program can see and change: a log, a loss, an optimizer. `count` and `log` are its whole state."""

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

        names = {"loss": Loss(), "optimizer": Optimizer(), "entered": entered, "log": log}
        return {**names, "x": "global x", "y": "global y"}


class Repeating:
    """Repeats each block, and leaves what the last repetition came to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.passes = 0

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
