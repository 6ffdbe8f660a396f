"""The module that rewritten code imports where it needs it.

It is imported by its name rather than bound to one because classes and functions of `__main__` are pickled by workers, which find
the module again, and because a script may list its own globals. What an attempt means is decided by the driver that a framework's
session sets here; without one, blocks run once and nothing is watched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, Protocol

from stayfinite.rewrite.blocks import Block


class Attempt:
    """One execution of a block. The same object serves all attempts of one pass through the loop body.

    - `again`: the block is being repeated (or was, and names must be put back): rebind `names`.
    - `exit`: how the user's code left the block: 0 by its end, else `transform.BREAK`, `CONTINUE` or `RETURN` with `value`.
    - `error`: an exception of the user's to raise again once the attempts are over, within the attempt itself: its
      traceback is then as if it had never been caught.
    """

    __slots__ = ("again", "error", "exit", "kept", "names", "on_exit", "value")

    def __init__(self, on_exit: Callable[[BaseException | None], bool] | None = None) -> None:
        self.again = False
        self.names: dict[str, Any] = {}
        self.exit = 0
        self.value: Any = None
        self.error: BaseException | None = None
        self.on_exit = on_exit
        self.kept: dict[int, tuple[int, Any]] = {}

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is not None and error is self.error:
            self.error = None
            error.__traceback__ = trace.tb_next if trace is not None else None  # without the line that raised it again
            return False
        return self.on_exit(error) if self.on_exit is not None else False

    def keep(self, level: int) -> None:
        """A `finally` of the user's begins, `level` deep: remember the jump that passes through it."""
        self.kept[level] = self.exit, self.value
        self.exit = 0

    def give_back(self, level: int) -> None:
        """That `finally` has come to its end: the jump goes on."""
        self.exit, self.value = self.kept.pop(level)

    def take_value(self) -> Any:
        """The value of the user's `return`, handed over without being kept alive."""
        value, self.value = self.value, None
        return value


class Driver(Protocol):
    """Decides how often a block runs."""

    def attempts(self, block: Block, frame: FrameType) -> Iterable[Attempt]:
        """Yield the attempts of one pass through `block`, whose code runs in `frame`."""

    def advance(self, iterator: Iterator[Any], default: tuple[Any, ...]) -> Any:
        """`next(iterator, *default)`, the same item again in a repetition."""


blocks: dict[int, Block] = {}
"""Every wrapped block of this process by id."""
entered: set[int] = set()
"""Ids of the blocks that ran at least once."""
_driver: Driver | None = None
_reserved = False


def set_driver(driver: Driver | None) -> None:
    """Let `driver` decide from now on; `None` lets blocks run once, unwatched."""
    global _driver
    _driver = driver


def reserve() -> None:
    """Say that a driver is going to be set, once the framework is imported."""
    global _reserved
    _reserved = True


def is_driven() -> bool:
    """True if a driver is set, or is going to be."""
    return _driver is not None or _reserved


def attempts(block_id: int) -> Iterable[Attempt]:
    """Called by rewritten code at the top of a block."""
    return attempts_of(blocks[block_id], sys._getframe(1))


def attempts_of(block: Block, frame: FrameType) -> Iterable[Attempt]:
    """The attempts of one pass through `block`, whose code runs in `frame`."""
    entered.add(block.id)
    if _driver is None:
        return (Attempt(),)
    return _driver.attempts(block, frame)


def advance(iterator: Iterator[Any], *default: Any) -> Any:
    """Stands for `next` in rewritten modules."""
    if _driver is None:
        return next(iterator, *default)
    return _driver.advance(iterator, default)


def without_ours(names: Any) -> Any:
    """A copy of what the user's ``locals()``, ``vars()`` or ``dir()`` gave, without the attempt in it."""
    kept = [name for name in names if not name.startswith("_sf_attempt_")]
    return {name: names[name] for name in kept} if isinstance(names, dict) else kept
