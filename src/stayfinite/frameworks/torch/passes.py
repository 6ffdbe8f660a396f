"""What is remembered of a step while it runs: its passes through a block, and why it failed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch.marks import ITEM, Marks, content_undo
from stayfinite.frameworks.torch.state import Snapshot
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.records.incident import Symptom
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import to_number
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.runtime import Attempt
from stayfinite.rewrite.saved import Saved
from stayfinite.rewrite.state import Plan
from stayfinite.rewrite.undo import Undo


@dataclass
class Failure:
    """Why a step cannot be committed (or, if `committed`, what was wrong with it although it did no harm)."""

    detector: str
    step: int
    series: str
    value: float
    names: tuple[str, ...] = ()
    at: Literal["before step", "after step", "scaler", "end", "exception"] = "end"
    optimizer: Optimizer | None = None
    committed: bool = False
    """The user's training goes on from the state this step left, not from the state before it."""
    harmless: bool = False
    error: Exception | None = None
    held: bool = True
    hold_note: str = ""
    location: Location = UNKNOWN_LOCATION
    finite: Symptom | None = None
    """The symptom itself, where it is a finite one that the user wants to stop at."""
    latched: bool = False
    """Held by a flag on the device, which lets no later update change anything either."""
    late: int = 0
    """Updates that were asked for after the bad one before it was seen."""
    window: Window | None = None
    """The window it happened in, where that is not the one that is open."""
    asked: int | None = None
    """Updates asked for before it in that window; None: all but the last."""
    before: bool = False
    """What it names was bad before the step computed anything."""
    known_finite: int | None = None
    """The last update after which that was seen to be finite (-1: before the first one); None: not looked at before."""


class Loss:
    """A value that was differentiated: its series and its number (NaN and infinities included).

    `tensor` holds the number as long as nobody has waited for the device; asking for `value` does. `step`: the update it
    is for.
    """

    __slots__ = ("_number", "series", "step", "tensor", "told")

    def __init__(self, series: str, value: float | Tensor, step: int = -1) -> None:
        self.series = series
        self.step = step
        self.told = False
        """It is among the readings."""
        self.tensor = value if isinstance(value, Tensor) else None
        self._number = math.nan if isinstance(value, Tensor) else value

    @property
    def value(self) -> float:
        """The number; waits for it if need be."""
        if self.tensor is not None:
            self.settle(float(self.tensor.item()))
        return self._number

    def settle(self, number: float) -> None:
        """The number has arrived."""
        self.tensor, self._number = None, number


def bad_loss(losses: Iterable[Loss]) -> Loss | None:
    """The first loss that is not finite."""
    return next((loss for loss in losses if not math.isfinite(loss.value)), None)


@dataclass
class Pass:
    """One pass through a block: what it started from and what it did."""

    saved: Saved
    generators: Undo
    attempt: Attempt
    items: list[Any] = field(default_factory=list)
    """Results of `next` in this pass, in order; exceptions stand for themselves."""
    losses: list[Loss] = field(default_factory=list)
    stepped: list[Optimizer] = field(default_factory=list)
    """Optimizers whose step was asked for in this pass, in order (skipped by a scaler included)."""
    backward: bool = False
    failure: Failure | None = None
    norms: list[float] = field(default_factory=list)
    """Gradient norms as `hold.norm` gives them, where the pass is to be compared with its repetitions."""
    originals: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """(scaled, original) pairs a gradient scaler made in this pass."""
    marks: list[Marks] = field(default_factory=list)
    """What the pass was given, by name and by `next`, with the versions it had."""
    item_undo: list[Undo] = field(default_factory=list)
    """Give the tensors that `next` gave their content back, where the block is known to change it."""
    spoiled: list[Tensor] = field(default_factory=list)
    """Parameters that were bad when it began."""

    def changed_unseen(self) -> set[str]:
        """Names of tensors that were changed in place although nothing said so: they cannot be put back."""
        return {name for marks in self.marks for name in marks.moved(self.saved.kept)}


@dataclass
class Window:
    """The passes since the last committed update: one, or one per micro-batch under gradient accumulation."""

    undo: list[Undo]
    """Everything but names and generators, as it was when the window began."""
    passes: list[Pass] = field(default_factory=list)
    parameters: Undo | None = None
    """The undo copy, where gradients cannot predict the update."""
    copied: frozenset[int] = frozenset()
    """Identities of the parameters and optimizers in the undo copy."""
    gradients: Undo | None = None
    versions: list[int] = field(default_factory=list)
    full: Snapshot | None = None
    """Everything, where a healthy window is going to be repeated."""
    reason: str = ""
    """Why an undo copy is kept."""
    by_hand: bool = False
    """No optimizer of torch's kind takes its update: the script's own code does, once a pass."""
    zeroes: bool = False
    """Gradients are cleared by filling them with zeros."""
    committed: list[list[Undo]] = field(default_factory=list)
    """As `undo`, captured after each of several updates in one pass: the next one is held against the latest."""
    accumulates: bool = False
    """Learned: updates of this block gather the gradients of several passes."""
    block: int = 0
    """Id of the block whose passes these are."""
    first: int = 0
    """The number of the first update it may take."""
    round: int = 0
    """The same, counted over all trainings of the run."""
    rates: list[list[dict[str, Any]]] = field(default_factory=list)
    """The scalars of each optimizer's groups when it began, where windows are remembered."""
    kept: frozenset[int] = frozenset()
    """`id` of what `undo` puts back although it is a parameter: averaged weights, whatever no optimizer owns."""

    def of_run(self, step: int) -> int:
        """An update of this window, counted over all trainings of the run. An optimizer of a later one counts from 0 again."""
        return self.round + max(0, step - self.first)

    def keep_copy(self, undo: Undo, optimizer: Optimizer) -> None:
        """`undo` is a copy of all that `optimizer` is about to write. If that is the first update of this window, the window can
        be repeated after it was taken."""
        if self.parameters is None and not self.by_hand and sum(len(one.stepped) for one in self.passes) == 1:
            self.parameters = undo
            self.copied = frozenset({id(optimizer), *(id(p) for group in optimizer.param_groups for p in group["params"])})

    @property
    def losses(self) -> list[Loss]:
        """Losses of all passes, in order."""
        return [loss for one in self.passes for loss in one.losses]


@dataclass(frozen=True)
class Watched:
    """A step that runs over an undo copy: what puts parameters and optimizer state back, and why it was taken.

    `losses`: how many the pass had before the step, so that those of a closure can be told; `void`: the step is known to
    be bad, and is undone whatever it comes to.
    """

    undo: Undo
    reason: str
    losses: int = 0
    void: bool = False

    @property
    def note(self) -> str:
        """What the hold cost."""
        return f"undo copy of the parameters and moments: {self.reason}"


@dataclass
class Scene:
    """A pass and all that belongs to it while it runs: nothing of it outlives the pass."""

    block: Block
    frame: FrameType
    plan: Plan
    subjects: Subjects
    window: Window
    here: Pass

    def note_item(self, item: Any) -> None:
        """`next` gave `item` in this pass: its content is copied where the block is known to change it, else watched."""
        if self.plan.changes_items:
            self.here.item_undo.append(content_undo(item))
        else:
            self.here.marks.append(Marks([(ITEM, item)], self.subjects.known))

    def learn_aliases(self) -> None:
        """Remember what this pass changed unseen: from the next one on it is copied."""
        changed = self.here.changed_unseen()
        self.plan.changes_items = self.plan.changes_items or ITEM in changed
        self.plan.aliases |= changed - {ITEM}

    def of_failure(self, failure: Failure) -> Scene:
        """The same with the window that `failure` happened in."""
        return self if failure.window is None else dataclasses.replace(self, window=failure.window)


def fingerprint(losses: list[Loss], norms: list[float], names: tuple[str, ...]) -> str:
    """Text that is equal for bit-equal losses and norms and equal names."""
    numbers = [float(value).hex() if value == value else "nan" for value in (*(loss.value for loss in losses), *norms)]
    return " ".join((*numbers, *names))


def shown(values: list[Loss]) -> tuple[Any, ...]:
    """The losses as record numbers."""
    return tuple(to_number(loss.value) for loss in values)
