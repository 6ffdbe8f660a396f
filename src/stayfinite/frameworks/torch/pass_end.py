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
from stayfinite.frameworks.torch.looks import Looks
from stayfinite.frameworks.torch.norms import Norm
from stayfinite.frameworks.torch.passes import Failure, Loss, Scene, bad_loss
from stayfinite.frameworks.torch.subjects import Subjects, successors
from stayfinite.frameworks.torch.undoing import moved_parameters


class PassEnd:
    """`looks` at parameters, buffers and moments. `skips`: a bad update is left out as a whole, so a bad micro-batch waits for
    the update it belongs to."""

    def __init__(self, live: Live, name: Callable[[Tensor], str], looks: Looks, *, skips: bool = False) -> None:
        self._live = live
        self._name = name
        self._looks = looks
        self._skips = skips
        self._norm = Norm()

    def judge(self, scene: Scene) -> Failure | None:
        """Why the pass must not count as healthy, or None."""
        here = scene.here
        bad = None if here.stepped and not scene.window.by_hand else bad_loss(here.losses)
        if scene.window.by_hand or (scene.window.parameters is not None and not here.stepped):
            failure = self._judge_by_hand(scene, bad)
            if failure is not None:
                return failure
            if scene.window.by_hand and here.backward:
                told = here.losses or moved_parameters(scene) or successors(here.saved.names, scene.frame.f_locals)
                failure = self._looks.buffers(scene, self._live.updates.count_by_hand(seen=bool(told)))
                if failure is not None:
                    return failure
        if bad is not None and not here.stepped:
            if self._skips and scene.window.accumulates and not self._live.clearing.wiped:
                return None  # the update will be asked for, and judged by the losses of all its passes
            return self._judge_unstepped(scene, bad)
        if here.stepped:
            if self._live.pulse.due(self._live.updates.last):
                self._live.pulse.parameters(list(self._live.updates.of), self._live.updates.last)
            return self._look(scene)
        if not here.backward and not here.losses:
            return self._judge_names(scene)
        return None

    def _judge_by_hand(self, scene: Scene, bad: Loss | None) -> Failure | None:
        written = list(scene.subjects.parameters)
        names = self._bad_parameters(scene.subjects)
        if not names and (made := successors(scene.here.saved.names, scene.frame.f_locals)):
            written = [tensor.detach() for _, tensor in made]
            names = () if hold.norm(written) < math.inf else tuple(hold.nonfinite(made))[:10]
        if not names:
            return None
        step = self._live.updates.count_by_hand()
        if bad is not None:
            return Failure("nonfinite-loss", step, bad.series, bad.value, names, "after step")
        return Failure("nonfinite-parameter", step, "parameter", hold.worst(written), names, "after step")

    def _judge_unstepped(self, scene: Scene, bad: Loss) -> Failure:
        grads = [(self._name(p), p.grad) for p in scene.subjects.parameters if p.grad is not None]
        names = tuple(hold.nonfinite(grads))[:10]
        harmless = not names and hold.all_zero(gradient for _, gradient in grads)
        by_hand = scene.window.by_hand
        if by_hand and not grads and moved_parameters(scene):
            harmless = False  # cleared before we could look, and the parameters were written
        return Failure(
            "nonfinite-loss",
            self._live.updates.last if by_hand and scene.here.backward else self._live.updates.coming,
            bad.series, bad.value, names, "after step" if by_hand and not harmless else "end",
            committed=harmless, harmless=harmless,
        )

    def _bad_parameters(self, subjects: Subjects) -> tuple[str, ...]:
        if self._norm.read(subjects.parameters) < math.inf:
            return ()
        return tuple(hold.nonfinite((self._name(p), p.detach()) for p in subjects.parameters))[:10]

    def _look(self, scene: Scene) -> Failure | None:
        """Every so often look at parameters, buffers and moments: others write them too."""
        step = self._live.updates.last
        if not self._looks.due(scene, step):
            return None
        # a look waits for the device anyway
        return self._live.settle_latch() or self._looks.everything(scene, step)

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

