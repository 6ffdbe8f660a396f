"""Runs a program's loop and repeats each pass through it after putting the state back, as a session does."""

from __future__ import annotations

import sys
import textwrap
import types
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from repeating import FILE, World, wrapped

from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.runtime import Attempt
from stayfinite.rewrite.saved import Saved
from stayfinite.rewrite.state import Plan
from stayfinite.rewrite.undo import Undo, Unrepeatable


class NoFramework:
    """Owns nothing."""

    def is_owned(self, value: object) -> bool:
        return False

    def is_state(self, value: object) -> bool:
        return False

    def children(self, value: object) -> Iterable[object]:
        return ()

    def own_attributes(self, value: object) -> frozenset[str]:
        return frozenset()

    def copy(self, value: object) -> Undo | None:
        return None


class Restoring:
    """Repeats each block after putting the state back, and leaves what the last repetition came to."""

    def __init__(self) -> None:
        self.refused: str | None = None
        self._live: list[Any] = []
        self._again: list[Any] | None = None

    def advance(self, iterator: Iterator[Any], default: tuple[Any, ...]) -> Any:
        if self._again is not None:
            return self._again.pop(0)
        self._live.append(next(iterator, *default))
        return self._live[-1]

    def attempts(self, block: Block, frame: FrameType) -> Iterable[Attempt]:
        attempt, framework = Attempt(), NoFramework()
        plan = Plan(block, frame.f_locals, frame.f_globals, framework)
        before = Saved(plan, frame.f_locals, frame.f_globals, framework)
        self._live, self._again = [], None
        yield attempt
        after = Saved(plan, frame.f_locals, frame.f_globals, framework)
        self.refused = self.refused or plan.unrepeatable
        for _ in range(2 if self.refused is None else 0):
            try:
                before.restore()
            except Unrepeatable as reason:
                self.refused = str(reason)
                with suppress(Unrepeatable):  # the same refusal; all the rest is put back
                    after.restore()
                attempt.again, attempt.names = True, after.names
                return
            attempt.again, attempt.names = True, before.names
            self._again = list(self._live)
            yield attempt
            attempt.names = Saved(plan, frame.f_locals, frame.f_globals, framework).names
        self._again = None


def outcome(source: str, driver: Restoring | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    main = types.ModuleType("__main__")
    names = World().names()
    path = folder / "file.txt"
    path.unlink(missing_ok=True)
    main.__dict__.update(loss=names["loss"], optimizer=names["optimizer"], PATH=str(path), __file__=str(folder / FILE))
    monkeypatch.setitem(sys.modules, "__main__", main)
    code, blocks = wrapped(source)
    assert len(blocks) == 1
    runtime.set_driver(driver)
    try:
        exec(code, main.__dict__)
        return repr(main.__dict__["program"]() if "program" in main.__dict__ else main.__dict__["result"])
    finally:
        runtime.set_driver(None)


def module_level(before: str, body: str, result: str) -> str:
    block = textwrap.indent(f"loss.backward()\n{body}\noptimizer.step()\n", "    ")
    return f"{before}\nfor n in range(3):\n{block}result = {result}\n"


def in_function(before: str, body: str, result: str) -> str:
    return "def program():\n" + textwrap.indent(module_level(before, body, result), "    ") + "    return result\n"
