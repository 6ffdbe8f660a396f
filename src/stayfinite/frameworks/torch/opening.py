"""What is captured when a window begins."""

from __future__ import annotations

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.habits import Habits
from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.passes import Window
from stayfinite.frameworks.torch.state import (
    Snapshot,
    Written,
    gradient_undo,
    light_undo,
    optimizer_undo,
    parameter_undo,
    together,
)
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.undo import Undo


def open_window(
    block: Block, subjects: Subjects, written: Written, generators: Undo, live: Live, habits: Habits, *, full: bool
) -> Window:
    """The window that begins with the next pass of `block`. `full`: everything is copied, because it is going to be repeated
    although it is healthy."""
    window = Window([generators, *light_undo(subjects, written.undo())], versions=[p._version for p in subjects.parameters])
    window.kept = written.kept
    window.block, window.first, window.round = block.id, live.updates.coming, live.updates.rounds
    window.accumulates = block.id in habits.accumulate
    window.by_hand = block.by_hand or not subjects.optimizers
    window.zeroes = live.clearing.zeroes
    reason = hold.undo_reason(block, subjects, habits.by_hand.get(block.id), live.steps_in_backward)
    if reason:
        window.reason = reason
        copies = [parameter_undo(subjects.parameters), *map(optimizer_undo, subjects.optimizers)]
        window.parameters = together(copies)
        window.copied = frozenset((*subjects.parameter_names, *map(id, subjects.optimizers)))
    if live.clearing.alive:
        window.gradients = gradient_undo(subjects.parameters)
    if full:
        window.full = Snapshot(subjects)
    return window
