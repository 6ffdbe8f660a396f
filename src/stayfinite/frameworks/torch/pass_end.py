"""Judges a pass at its end: what no optimizer hook could have seen.

Updates by hand, a loss that was differentiated but never stepped on, state that others write, and losses the script
found bad by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from stayfinite.frameworks.torch import describe, hold
from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.norms import Norm
from stayfinite.frameworks.torch.passes import Failure, Loss, Pass, Scene, bad_loss
from stayfinite.frameworks.torch.subjects import Subjects


class PassEnd:
    """`every`: steps between looks at parameters and buffers, which cost a pass over them each. `skips`: a bad update is
    left out as a whole, so a bad micro-batch waits for the update it belongs to."""

    def __init__(self, live: Live, name: Callable[[Tensor], str], every: int, *, skips: bool = False) -> None:
        self._live = live
        self._name = name
        self._every = every
        self._next_look = 0
        self._skips = skips
        self._norm = Norm()

    def judge(self, scene: Scene) -> Failure | None:
        """Why the pass must not count as healthy, or None."""
        here, subjects = scene.here, scene.subjects
        bad = None if here.stepped and not scene.window.by_hand else bad_loss(here.losses)
        if scene.window.by_hand or (scene.window.parameters is not None and not here.stepped):
            failure = self._judge_by_hand(here, subjects, bad)
            if failure is not None:
                return failure
            if scene.window.by_hand and here.backward:
                self._live.updates.count_by_hand()
        if bad is not None and not here.stepped:
            if self._skips and scene.window.accumulates and not self._live.wiped:
                return None  # the update will be asked for, and judged by the losses of all its passes
            return self._judge_unstepped(subjects, bad)
        if here.stepped:
            return self._look(subjects)
        if not here.backward and not here.losses:
            return self._judge_names(scene)
        return None

    def _judge_by_hand(self, here: Pass, subjects: Subjects, bad: Loss | None) -> Failure | None:
        names = self._bad_parameters(subjects)
        if not names:
            return None
        step = self._live.updates.count_by_hand()
        if bad is not None:
            return Failure("nonfinite-loss", step, bad.series, bad.value, names, "after step")
        return Failure("nonfinite-parameter", step, "parameter", hold.worst(subjects.parameters), names, "after step")

    def _judge_unstepped(self, subjects: Subjects, bad: Loss) -> Failure:
        grads = [(self._name(p), p.grad) for p in subjects.parameters if p.grad is not None]
        names = tuple(hold.nonfinite(grads))[:10]
        harmless = not names and hold.all_zero(gradient for _, gradient in grads)
        return Failure(
            "nonfinite-loss", self._live.updates.coming, bad.series, bad.value, names, "end", committed=harmless, harmless=harmless
        )

    def _bad_parameters(self, subjects: Subjects) -> tuple[str, ...]:
        if self._norm.read(subjects.parameters) < math.inf:
            return ()
        return tuple(hold.nonfinite((self._name(p), p.detach()) for p in subjects.parameters))[:10]

    def _look(self, subjects: Subjects) -> Failure | None:
        """Every so often look at parameters and buffers: others write them too."""
        step = self._live.updates.last
        if step < self._next_look:
            return None
        self._next_look = step + self._every
        late = self._live.settle_latch()  # a look waits for the device anyway
        if late is not None:
            return late
        names = self._bad_parameters(subjects)
        if names:
            return Failure("nonfinite-parameter", step, "parameter", hold.worst(subjects.parameters), names, held=False)
        floating = [(subjects.buffer_names[id(b)], b) for b in subjects.buffers if b.is_floating_point() and _is_written(b)]
        if floating and not hold.norm([b for _, b in floating]) < math.inf:
            names = tuple(hold.nonfinite(floating))[:10]
            if names:
                return Failure("nonfinite-buffer", step, "buffer", hold.worst(b for _, b in floating), names)
        return None

    def _judge_names(self, scene: Scene) -> Failure | None:
        """The script left the step before any backward: because its own test found a bad loss?"""
        if not scene.here.attempt.exit:
            return None
        local_names, before = scene.frame.f_locals, scene.here.saved.names
        for name in sorted(scene.block.stored):
            value = local_names.get(name)
            number = describe.scalar(value)
            if number is not None and not math.isfinite(number) and before.get(name) is not value:
                return Failure("nonfinite-loss", self._live.updates.coming, "loss", number, (name,), "end", committed=True)
        return None


def _is_written(buffer: Tensor) -> bool:
    """True if the buffer was ever changed in place; tables and masks are not, and may hold infinities on purpose."""
    return buffer._version > 0
