"""What a window wrote, and how it is put back: the state round a failure."""

from __future__ import annotations

from contextlib import suppress

from stayfinite.frameworks.torch.clearing import clear
from stayfinite.frameworks.torch.generators import generator_states
from stayfinite.frameworks.torch.marks import ITEM
from stayfinite.frameworks.torch.passes import Failure, Scene, Window
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.rewrite.undo import Unrepeatable


def changed_unseen(window: Window) -> str | None:
    """Why the window cannot be repeated, if it changed what it was given without being known to."""
    names = sorted({name for one in window.passes for name in one.changed_unseen()})
    if not names:
        return None
    what = "what next() gave" if names[0] == ITEM else f"`{names[0]}`"
    return f"{what} was changed in place under another name, and had not been copied"


def counts(failure: Failure | None) -> bool:
    """True if the state that the step left is the one to go on from: it is healthy, did no harm, or ended in an exception
    that stays the script's own affair."""
    return failure is None or failure.committed or (failure.error is not None and not failure.latched)


def moved_parameters(scene: Scene, *, latched: bool = False) -> int:
    """How many parameters were written since the window began, by their version counters; but for those it puts back. A
    latched step may count as a write without effect: there only what no optimizer owns is told."""
    window, subjects = scene.window, scene.subjects
    passed_over = window.kept | (subjects.owned if latched else frozenset())
    pairs = zip(subjects.parameters, window.versions, strict=False)
    return sum(p._version != before and id(p) not in passed_over for p, before in pairs)


def hold_back(scene: Scene, failure: Failure) -> None:
    """What an `Inquiry` leaves in the end, where there can be none: tensors, moments and counters as they were before the
    step, unless what the step left counts; names and generators stay where they are."""
    if counts(failure):
        return
    window = scene.window
    generators = generator_states()
    try:
        rewind(window, scene.subjects)
        retake(window, asked_before(window, failure))
        with suppress(Unrepeatable):
            window.passes[0].saved.restore_trained()
    finally:
        generators()


def put_back(late: Failure) -> None:
    """What the host wrote since a step that a latch held, where no pass is running any more."""
    if late.window is not None and not late.committed:
        generators = generator_states()
        for undo in late.window.undo:
            undo()
        generators()


def copies_needed(window: Window, failure: Failure) -> int:
    """How many snapshots an `Inquiry` takes: where the window began, after the updates that stay, after the step."""
    retaken = is_void(window) and bool(window.committed[: asked_before(window, failure)])
    return 1 + int(retaken) + int(counts(failure))


def is_void(window: Window) -> bool:
    """True if updates taken earlier in the window stay taken: there is no copy to undo them with."""
    return window.parameters is None and window.full is None


def asked_before(window: Window, failure: Failure | None) -> int:
    """How many updates the window asked for before the one that failed."""
    if failure is not None and failure.asked is not None:
        return failure.asked
    asked = sum(len(one.stepped) for one in window.passes)
    at_step = failure is not None and failure.at in ("before step", "after step", "scaler")
    return asked - 1 if at_step else asked


def rewind(window: Window, subjects: Subjects) -> None:
    """Bring tensors, moments and counters to where the window began."""
    if window.full is not None:
        window.full.restore()
        return
    for undo in window.undo:
        undo()
    if window.parameters is not None:
        window.parameters()
    if window.gradients is not None:
        window.gradients()
        return
    clear(subjects.parameters, zeroes=window.zeroes)


def retake(window: Window, asked: int) -> bool:
    """After `_rewind`: go on to where the updates before the failed one, which stay taken, had left the light state."""
    taken = window.committed[:asked]
    if not taken or not is_void(window):
        return False
    for undo in taken[-1]:
        undo()
    return True
