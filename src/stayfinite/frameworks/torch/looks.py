"""When parameters, buffers and moments are looked at, and since when they are known to be finite.

An optimizer's own update is judged by its gradients, so parameters need a look only where others write them:

- between two passes: version counters that moved are seen when the next pass begins;
- without a trace, through ``.data``: looks at growing distances, one every 50 steps in the end. Where the sum of squares
  differs between the end of a pass and the beginning of the next, the script does so habitually, and every pass is looked at;
- buffers that forward passes write: before each update, on the CPU. Elsewhere that would wait for the device.

Moments take a look every 200 steps. All are looked at last when the script ends, and before they are saved.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.norms import Norm
from stayfinite.frameworks.torch.passes import Failure, Scene
from stayfinite.frameworks.torch.state import Written
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.rewrite.blocks import Block

_VERSION = operator.attrgetter("_version")
HABIT = 3
"""Gaps in a row with a write after which other devices than the CPU are asked only at every `SELDOM`th."""
SELDOM = 16
HABIT_LOOKS = 8
"""First looks of a block after which the norm of the parameters is read again when the next pass begins."""
MOMENTS = 4
"""Of the looks at parameters one in so many takes the moments along: they are twice as many numbers and seldom go bad
unless a gradient did."""
NUMERATORS = frozenset({"momentum_buffer", "exp_avg", "grad_avg", "momentum", "mu", "m", "ax"})
"""Names under which optimizers (torch's own, and those people write) keep averages of gradients and of parameters."""
SAVED = 10
"""Updates between two looks on behalf of a `state_dict`: some scripts ask for one at every step."""


@dataclass
class Known:
    """What is known of the state that one block works on.

    `ended`: version of each parameter when the last pass was over. `finite_after`: the last update after which all
    parameters were seen to be finite; -1 before the first one, ``None`` if they never were. `passed_over`: `id` of what was
    not finite when it was first seen and need not be (a prefilled memory, a best value so far, memory that is written before
    it is read).
    """

    subjects: Subjects
    written: Written
    ended: list[int] = field(default_factory=list)
    finite_after: int | None = None
    passed_over: set[int] = field(default_factory=set)
    parameters: Norm = field(default_factory=Norm)
    buffers: Norm = field(default_factory=Norm)
    next_look: int = 0
    looks: int = 0
    reading: float = math.nan
    """The norm of all parameters at the end of the last pass, where it was read."""
    silent: bool = False
    """Learned: parameters are written between passes without their versions moving."""
    gaps: int = 0
    """Gaps in a row in which parameters were written."""
    outside: bool = False
    """Parameters were written between passes, once at least."""

    moments: Failure | None = None
    """Moments that were bad when the block was met first."""

    def __post_init__(self) -> None:
        modules = [module for root in self.subjects.roots for module in root.modules()]
        self.statistics = {id(b) for module in modules if isinstance(module, _NormBase) for b in module.buffers(recurse=False)}
        self._slots = [(module._buffers, name, id(b)) for module in modules for name, b in module._buffers.items() if b is not None]

    def replaced(self) -> list[Tensor]:
        """Buffers that were assigned anew since this block was met first: other tensors under the same name."""
        found = [held[name] for held, name, before in self._slots if id(held.get(name)) != before]
        return [b for b in found if isinstance(b, Tensor) and b.is_floating_point()]


class Looks:
    """`every`: updates between two looks at everything. `name` gives a tensor's name; `waits` says whether its values lie on a
    device that would have to be waited for."""

    def __init__(self, name: Callable[[Tensor], str], every: int, waits: Callable[[Tensor], bool]) -> None:
        self._name = name
        self._waits = waits
        self._every = every
        self.known: dict[int, Known] = {}
        self.latest: Known | None = None
        self._saved = -SAVED

    # -- a pass begins -------------------------------------------------------------------------------------------

    def begin(self, block: Block, subjects: Subjects, written: Written, versions: Sequence[int], step: int) -> list[Tensor]:
        """Parameters that are bad before the pass that begins. `versions`: those of `subjects.parameters` now; `step`: the
        number of the coming update."""
        known = self.known.get(block.id)
        if known is None or known.subjects is not subjects:
            before = known
            known = self.known[block.id] = self.latest = Known(subjects, written)
            return self._first_look(known, before, step)
        self.latest = known
        if versions != known.ended:
            moved = [p for p, one, other in zip(subjects.parameters, versions, known.ended, strict=False) if one != other]
            known.gaps += 1
            known.outside = True
            if known.gaps == 1:  # who goes back to a checkpoint puts moments back with the weights
                known.moments = self._of_moments(known, step)
            if known.gaps > HABIT and step % SELDOM and any(p.device.type != "cpu" for p in moved):
                return []
        elif known.silent or known.reading == known.reading:
            moved = self._moved_silently(known)
        else:
            known.gaps = 0
            return []
        known.reading = math.nan
        if not moved or hold.norm([p.detach() for p in moved]) < math.inf:
            return []
        return self._bad(known, moved)

    def _first_look(self, known: Known, before: Known | None, step: int) -> list[Tensor]:
        subjects = known.subjects
        if before is not None:
            known.passed_over, known.silent, known.finite_after = before.passed_over, before.silent, before.finite_after
        known.moments = self._of_moments(known, step)
        tensors = [*filter(_made, subjects.parameters), *_floating(subjects.buffers)]
        if hold.norm([t.detach() for t in tensors]) < math.inf:
            known.finite_after = step - 1
            return []
        bad = [t for t in tensors if hold.nonfinite([("", t.detach())])]
        known.passed_over.update(id(t) for t in bad if id(t) not in subjects.owned)
        return [t for t in bad if id(t) in subjects.owned]

    def _moved_silently(self, known: Known) -> list[Tensor]:
        """All parameters, if their norm is not what it was at the end of the last pass."""
        parameters = known.subjects.parameters
        if known.silent:
            return [*parameters]
        if known.parameters.read(parameters) == known.reading:
            return []
        known.silent = known.outside = True
        return [*parameters]

    def _bad(self, known: Known, tensors: Iterable[Tensor]) -> list[Tensor]:
        return [t for t in tensors if id(t) not in known.passed_over and hold.nonfinite([("", t.detach())])]

    # -- an update is asked for ----------------------------------------------------------------------------------

    def before_update(self, scene: Scene, optimizer: Optimizer, step: int) -> Failure | None:
        """Is the state that the step read, and what it wrote beside the parameters, fit to stay?"""
        known = self.known.get(scene.block.id)
        if known is None:
            return None
        spoiled = self._still_bad(scene)
        if spoiled:
            return self._of_parameters(known, spoiled, step, "before step", optimizer)
        if known.moments is not None:
            failure, known.moments = known.moments, None
            failure.step, failure.at, failure.optimizer, failure.held = step, "before step", optimizer, True
            failure.hold_note = "the moments were so before the step"
            return failure
        return self._of_buffers(known, step, "before step", optimizer)

    def buffers(self, scene: Scene, step: int) -> Failure | None:
        """The same of the buffers alone, after an update by the script's own code."""
        known = self.known.get(scene.block.id)
        return self._of_buffers(known, step, "end", None) if known is not None else None

    def _still_bad(self, scene: Scene) -> list[Tensor]:
        """What was bad when the pass began and was not given a value since, as some layers do in their first pass."""
        spoiled = scene.here.spoiled
        scene.here.spoiled = [t for t in spoiled if hold.nonfinite([("", t.detach())])] if spoiled else spoiled
        return scene.here.spoiled

    def _of_parameters(self, known: Known, bad: Sequence[Tensor], step: int, at: Any, optimizer: Optimizer | None) -> Failure:
        names = tuple(map(self._name, bad))[:10]
        return Failure(
            "nonfinite-parameter", step, "parameter", hold.worst(bad), names, at, optimizer, before=True,
            known_finite=known.finite_after, hold_note="the parameters were so before the step",
        )

    def _of_buffers(self, known: Known, step: int, at: Any, optimizer: Optimizer | None) -> Failure | None:
        buffers = [b for b in (*known.written.moving(), *known.replaced()) if not self._waits(b)]
        if not buffers or known.buffers.read(buffers) < math.inf:
            return None
        bad = [b for b in buffers if id(b) not in known.passed_over and harmful(b, known.statistics)]
        if not bad:
            return None
        return Failure("nonfinite-buffer", step, "buffer", hold.worst(bad), tuple(map(self._name, bad))[:10], at, optimizer)

    # -- a pass has ended ----------------------------------------------------------------------------------------

    def due(self, scene: Scene, step: int) -> bool:
        """True if the end of this pass is one at which everything is looked at."""
        known = self.known.get(scene.block.id)
        return known is not None and (step >= known.next_look or bool(scene.here.spoiled))

    def everything(self, scene: Scene, step: int) -> Failure | None:
        """After update `step`: a look at all there is. Where it waits for a device, the first ones are not closer together
        than the later ones."""
        known = self.known[scene.block.id]
        seldom = any(map(self._waits, known.subjects.parameters[:1]))
        known.next_look = step + (self._every if seldom else max(1, min(self._every, step)))
        known.looks += 1
        spoiled = self._still_bad(scene)
        if spoiled:
            failure = self._of_parameters(known, spoiled, step, "end", None)
            failure.held = False
            return failure
        bad = self._look(known, step, moments=known.looks % MOMENTS == 1)
        if seldom or known.looks > HABIT_LOOKS or self._every == 1:
            known.reading = math.nan
        return bad

    def _look(self, known: Known, step: int, *, moments: bool) -> Failure | None:
        subjects = known.subjects
        norm = known.parameters.read(subjects.parameters)
        known.reading = norm
        if not norm < math.inf:
            bad = self._bad(known, subjects.parameters)
            if bad:
                names = tuple(map(self._name, bad))[:10]
                return Failure(
                    "nonfinite-parameter", step, "parameter", hold.worst(bad), names, held=False, known_finite=known.finite_after
                )
        else:
            known.finite_after = step
        buffers = [b for b in _floating(subjects.buffers) if b._version > 0]
        if buffers and not hold.norm(buffers) < math.inf:
            bad = [b for b in buffers if id(b) not in known.passed_over and harmful(b, known.statistics)]
            if bad:
                return Failure("nonfinite-buffer", step, "buffer", hold.worst(bad), tuple(map(self._name, bad))[:10])
        else:
            known.passed_over.difference_update(map(id, buffers))
        return self._of_moments(known, step) if moments else None

    def _of_moments(self, known: Known, step: int) -> Failure | None:
        named = [pair for optimizer in known.subjects.optimizers for pair in moments(optimizer, self._name)]
        if hold.norm([moment for _, moment in named]) < math.inf:
            return None
        names = tuple(hold.nonfinite(named))[:10]
        if not names:
            return None
        value = hold.worst(moment for _, moment in named)
        return Failure(frozen(value, names), step, "moment", value, names, held=False, before=True, known_finite=known.finite_after)

    def end(self, block: Block) -> None:
        """A pass is over: from now on others write."""
        known = self.known.get(block.id)
        if known is not None:
            known.ended = [*map(_VERSION, known.subjects.parameters)]

    # -- the last look -------------------------------------------------------------------------------------------

    def last(self, step: int, *, asked: bool = False) -> Failure | None:
        """A look at everything outside of any pass: the script ends or saves its state. `asked`: only if the last one for a
        `state_dict` was a while ago."""
        known = self.latest
        if known is None or step < 0 or (asked and step - self._saved < SAVED):
            return None
        self._saved = step
        failure = self._look(known, step, moments=True)
        if failure is not None:
            failure.before, failure.held = True, False
            failure.hold_note = "it was seen when no step was running"
        return failure


def harmful(buffer: Tensor, statistics: Container[int] = ()) -> bool:
    """True if the values of a buffer that was finite once are no longer what anybody wants: a NaN, or some elements that are
    plus infinity while others are not. Masks hold minus infinities, and a best value is reset to infinity as a whole; not so
    the running statistics of torch's own normalisations, whose `id` are in `statistics`."""
    if not buffer.is_floating_point():
        return False
    with torch.no_grad():
        if bool(torch.isnan(buffer).any()):
            return True
        infinite = torch.isposinf(buffer)
        return bool(infinite.any()) and (id(buffer) in statistics or not bool(infinite.all()))


def frozen(value: float, names: Iterable[str]) -> str:
    """What an optimizer's moments called `names` are called that hold `value`: an infinity that updates are divided by makes
    every later one of its element exactly 0; one that they are made of makes the parameter infinite."""
    divided_by = all(name.partition(" of ")[0] not in NUMERATORS for name in names)
    return "frozen-moment" if value == math.inf and divided_by else "nonfinite-moment"


def moments(optimizer: Optimizer, name: Callable[[Tensor], str]) -> list[tuple[str, Tensor]]:
    """(``"exp_avg of layer.weight"``, tensor) for every floating tensor that `optimizer` keeps."""
    found = []
    for parameter, state in optimizer.state.items():
        if isinstance(state, dict):
            tensors = [(key, value) for key, value in state.items() if isinstance(value, Tensor) and value.is_floating_point()]
            found += [(f"{key} of {name(parameter)}", value) for key, value in tensors]
    return found


def _floating(buffers: Iterable[Tensor]) -> list[Tensor]:
    return [b for b in buffers if b.is_floating_point()]


def _made(parameter: Tensor) -> bool:
    """False for the parameter of a lazy module that has not been called: it has no values yet."""
    return not isinstance(parameter, UninitializedParameter)
