"""The steps before the held one, repeated from an earlier state.

    earlier state  --window-->  --window-->  ...  --window-->  the state before the held step  --held step-->

Each window gets its own batches and generators again. Names that the block binds carry over from the repeated step before, as
the script's own would, so that a change in the first of them reaches the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from stayfinite.engine.ports import Outcome
from stayfinite.frameworks.torch.history.kept import Kept
from stayfinite.frameworks.torch.history.ring import Ring
from stayfinite.frameworks.torch.history.windows import Remembered
from stayfinite.frameworks.torch.passes import Pass, Window
from stayfinite.frameworks.torch.repeat import Repeat
from stayfinite.records.numbers import show
from stayfinite.rewrite.blocks import Block


@dataclass
class Turn:
    """One pass to be repeated. `restore`: puts back what the pass was given, names aside. `watcher`: listens to it, the same one
    for all passes of a window. `closes`: the window ends with it."""

    names: dict[str, Any]
    items: list[Any]
    restore: Callable[[], None]
    watcher: Repeat
    closes: bool


@dataclass
class Past:
    """An earlier state, the windows since and the held one. `lost`: why a repetition from there says nothing, once the unchanged
    one was not the run again; ``None`` until it has been repeated."""

    kept: Kept
    windows: list[Remembered]
    held: Window
    block: Block
    optimizers: Sequence[Optimizer]
    lost: str | None = None
    watchers: list[Repeat] = field(default_factory=list)
    arrived: bool = False
    """The repetition came as far as the held window."""

    def restore(self) -> None:
        """Go there."""
        self.kept.restore(zeroes=self.held.zeroes)

    def turns(self, listen: Callable[[], Repeat], last: Repeat) -> Iterator[Turn]:
        """Every pass in order. `listen` makes the watcher of a window, `last` is that of the held one."""
        self.watchers, self.arrived = [], False
        beginning = True
        for window in self.windows:
            if not window.passes:
                continue
            self.watchers.append(listen())
            for place, given in enumerate(window.passes):
                rates = window.rates if not place else None
                names = {**given.first, **given.names} if beginning else given.names
                beginning = False
                restore = self._restoring(given.generators, rates)
                yield Turn(names, list(given.items), restore, self.watchers[-1], closes=place == len(window.passes) - 1)
        self.watchers.append(last)
        self.arrived = True
        for place, one in enumerate(self.held.passes):
            names = {n: v for n, v in one.saved.names.items() if n in self.block.needed and n not in self.block.bound}
            restore = self._restoring(one.generators, self.held.rates if not place else None, one)
            yield Turn(names, list(one.items), restore, last, closes=False)

    def _restoring(
        self, generators: Callable[[], None], rates: list[list[dict[str, Any]]] | None, held: Pass | None = None
    ) -> Callable[[], None]:
        def restore() -> None:
            generators()
            for optimizer, groups in zip(self.optimizers, rates or (), strict=False):
                for group, scalars in zip(optimizer.param_groups, groups, strict=False):
                    group.update(scalars)
            for undo in held.item_undo if held is not None else ():
                undo()

        return restore

    def outcome(self, seconds: float) -> Outcome:
        """What the repetition came to: one loss per step, and whether any of them failed."""
        outcomes = [watcher.outcome() for watcher in self.watchers]
        last = outcomes[-1]
        losses = tuple(one.losses[0] if one.losses else "nan" for one in outcomes)
        return Outcome(
            failed=last.failed or not self.arrived, fingerprint=" | ".join(one.fingerprint for one in outcomes), losses=losses,
            trace=last.trace, exception=next((one.exception for one in outcomes if one.exception), None),
            unrepeatable=next((one.unrepeatable for one in outcomes if one.unrepeatable), None), survey=last.survey, seconds=seconds,
        )

    def compare(self, failed: bool) -> str:
        """Why the unchanged repetition is not the run again, in words; empty if it is, bit for bit in its losses."""
        live = [window.losses for window in self.windows if window.passes] + [tuple(loss.value for loss in self.held.losses)]
        steps = [window.first for window in self.windows if window.passes] + [self.held.first]
        for step, expected, watcher in zip(steps, live, self.watchers, strict=False):
            found = watcher.numbers
            if [*map(_bits, found)] != [*map(_bits, expected)]:
                return (
                    f"repeated from step {self.kept.step} on, the loss of step {step} is {_told(found)} and was {_told(expected)}: "
                    "something between two steps is not remembered"
                )
        if not self.arrived:
            return f"repeated from step {self.kept.step} on, it failed before"
        return "" if failed else f"repeated from step {self.kept.step} on, it did not fail"


def remembered(ring: Ring, window: Window, block: Block, steps: int, optimizers: Sequence[Optimizer]) -> Past | str:
    """The past of `window`, going back at least `steps` - 1 updates before it; or why there is none, in words."""
    found = ring.since(window.first, steps, block.id)
    return found if isinstance(found, str) else Past(*found, window, block, optimizers)


def _bits(value: float) -> str:
    return "nan" if math.isnan(value) else float(value).hex()


def _told(values: Sequence[float]) -> str:
    return show(values[0]) if values else "none"
