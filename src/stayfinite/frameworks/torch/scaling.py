"""Scaled losses: what a gradient scaler skips, and whether what is done with it makes sense.

A scaler that finds its scale skips a few updates, and that is no failure: it begins too high on purpose and halves until
gradients fit. One that goes on skipping hides a fault, or is one. Per step this costs a handful of reads of Python
attributes, and only where a scaler is used.
"""

from __future__ import annotations

import collections
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.passes import Failure
from stayfinite.records.finding import Warning
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import show, to_number
from stayfinite.records.scaling import LossScaling, Misuse, MisuseKind

SKIPPED_IN_A_ROW = 20
"""Updates skipped one after the other from which a scaler is suspected. From its usual start, 65536, sixteen halvings
reach 1."""
LONGEST_CALIBRATION = 40
"""Halvings from 2**40 to 1. While a scale above 1 falls at each skip, calibration may go on as long."""
HOPELESS = 2.0**-10
"""Below this scale one skipped update is enough: an unscaled gradient of 65504 * 1024 is none that anybody wants."""
RECENT, MOSTLY = 64, 48
"""Of the latest 64 updates 48 skipped: a scale that grows much faster than it falls. A scale that doubles at every
update, the quickest that makes sense, skips every second one."""
BY_HAND = 64.0
"""Constant factors of a loss from which they are taken for a scale: the smallest in use is 128, weights of losses seldom
exceed ten."""
_KEPT = 32
"""Scaled losses of one update that are remembered; micro-batches are differentiated one after the other."""
_DEEP = 8
"""Operators between a scaled loss and what is differentiated: divided by a count, added to another."""
_MEANT = 0.1
"""Share of the scale from which a limit for clipping is meant for scaled gradients, as `max_norm * scale` is: without a
scale limits between 0.1 and 10 are in use, and the scale is above 100 in all but the hardest cases."""


class _History:
    """What scalers did with the updates of one optimizer."""

    def __init__(self) -> None:
        self.asked = self.skipped = self.row = self.scalers = 0
        self.began = math.nan
        self.scaler: weakref.ref[Any] | None = None
        self.recent: collections.deque[bool] = collections.deque(maxlen=RECENT)


class Scaling:
    """The scalers of one session, and the scaling of the coming update. `locate()` gives the running line of the user's."""

    def __init__(self, locate: Callable[[], Location]) -> None:
        self._locate = locate
        self._made: weakref.WeakKeyDictionary[Any, Location] = weakref.WeakKeyDictionary()
        self._initial: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()
        self._of: weakref.WeakKeyDictionary[Optimizer, _History] = weakref.WeakKeyDictionary()
        self._latest: Any = None
        """Held: a scaler made for one step is gone when the step is asked about. It owns two numbers."""
        self._latest_of: weakref.ref[Optimizer] | None = None
        self.misuses: dict[MisuseKind, Misuse] = {}
        self._taken = False
        self.forget()

    def forget(self) -> None:
        """The update is over."""
        self._nodes: list[Any] = []
        """Autograd nodes of the losses that a scaler multiplied."""
        self._scaled = self._plain = False
        """A loss was differentiated that a scaler had multiplied; one that it had not."""
        self._unscaled = False
        self._factor = 1.0
        """The constant the script itself multiplied its loss with."""
        self._mark: tuple[int, int] | None = None
        self._marks: dict[int, tuple[int, int]] = {}
        self._over = False
        self._place = UNKNOWN_LOCATION

    @property
    def scaler(self) -> Any:
        """The scaler used last, if it is switched on; else ``None``."""
        return self._latest if self._latest is not None and self._latest.is_enabled() else None

    @property
    def scale(self) -> float | None:
        """Its factor; reading it waits for the device."""
        return float(self.scaler.get_scale()) if self.scaler is not None else None

    # -- what the sensors tell -----------------------------------------------------------------------------------

    def made(self, scaler: Any) -> None:
        """A scaler was constructed."""
        self._made[scaler] = self._locate()

    def after_scale(self, scaler: Any, scaled: object) -> None:
        """`scaler` multiplied a loss, or several."""
        self._latest = scaler
        if not scaler.is_enabled():
            return
        if scaler not in self._initial:
            self._initial[scaler] = float(scaler._init_scale)
        for one in scaled if isinstance(scaled, (list, tuple)) else (scaled,):
            if isinstance(one, Tensor):
                self._nodes.append(one.grad_fn)
        del self._nodes[:-_KEPT]

    def before_backward(self, roots: Sequence[Tensor]) -> None:
        """`roots` are about to be differentiated."""
        if self._over:
            nodes = self._nodes  # of losses that were multiplied since
            self.forget()
            self._nodes = nodes
        if self.scaler is not None and roots:
            if all(self._carries_scale(root) for root in roots):
                self._scaled = True
            else:
                self._plain = True
                if "unscaled-loss" not in self.misuses:
                    self._place = self._locate()
            return
        for root in roots:
            factor = _constant_factor(root)
            if factor >= BY_HAND:
                self._factor = factor
                if "not-divided" not in self.misuses:
                    self._place = self._locate()

    def _carries_scale(self, root: Tensor) -> bool:
        # What a scaler made of a constant has no node: it may be the gradient that the backward pass begins with.
        return None in self._nodes or _made_from(root.grad_fn, self._nodes) or _constant_factor(root) >= BY_HAND

    def after_backward(self, optimizers: Iterable[Optimizer]) -> None:
        """Gradients are there. Where they are scaled, remember one of them to see whether it is divided."""
        if self._scaled or self._factor >= BY_HAND:
            every = [*optimizers]
            self._mark = _mark(every)
            self._marks = {id(one): mark for one in every if (mark := _mark([one])) is not None}

    def after_unscale(self) -> None:
        """A scaler divided gradients by its scale."""
        self._unscaled = True

    def before_clip(self, optimizers: Iterable[Optimizer], limit: float | None) -> None:
        """Gradients are about to be clipped at `limit`, ``None`` where each value is. A script may have divided them itself."""
        if not self._scaled or self._unscaled or self._mark is None or self._mark != _mark(optimizers):
            return
        if limit is None or limit < _MEANT * float(self.scaler.get_scale()):
            self._note("clipped-scaled", self.scaler)

    def before_step(self, optimizer: Optimizer, *, scaled: bool) -> None:
        """The own step of `optimizer` was reached: under a scaler (`scaled`), or by itself."""
        if scaled:
            self._taken = not skips_by_itself(optimizer)
            return
        if (self._scaled and not self._unscaled) or self._factor >= BY_HAND:
            mark = self._marks.pop(id(optimizer), None)
            untouched = mark is not None and mark == _mark([optimizer])
            if untouched and self._scaled:
                self._note("stepped-scaled", self.scaler)
            elif untouched:
                self._note("not-divided", None)
        self._nodes, self._over = [], True  # others may take their update from the same backward pass

    def before_scaler_step(self, scaler: Any, optimizer: Optimizer) -> None:
        """`scaler` was asked to step `optimizer`."""
        self._taken = False
        if self._plain and not self._scaled:
            self._note("unscaled-loss", scaler)
        history = self._of.setdefault(optimizer, _History())
        history.asked += 1
        self._latest_of = weakref.ref(optimizer)
        if history.scaler is None or history.scaler() is not scaler:
            history.scaler = weakref.ref(scaler)
            history.scalers += 1

    def after_scaler_step(
        self, scaler: Any, optimizer: Optimizer, step: int, name: Callable[[Tensor], str]
    ) -> Failure | None:
        """It did, or it skipped. **Returns** a failure if that was one skipped update too many."""
        history = self._of.get(optimizer)
        self.forget()
        if history is None:
            return None
        history.recent.append(not self._taken)
        if self._taken:
            history.row = 0
            return None
        scale = float(scaler.get_scale())
        if not history.row:
            history.began = scale
        history.row += 1
        history.skipped += 1
        why = _stuck(history, scale, float(scaler.get_backoff_factor()))
        if why is None:
            return None
        named = [(name(p), p.grad) for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        bad = tuple(hold.nonfinite(named))
        if not bad:  # a flag without a gradient: not skipped for what can be looked at
            return None
        value = hold.worst(gradient for _, gradient in named)
        history.recent.clear()
        return Failure(
            "nonfinite-gradient", step, "gradient_norm", value, bad[:10], "scaler", optimizer,
            hold_note=f"the scaler skipped it, as {why}",
        )

    def _note(self, kind: MisuseKind, scaler: Any) -> None:
        """Count a misuse; where it happened is looked up at the first one."""
        known = self.misuses.get(kind)
        if known is not None:
            self.misuses[kind] = Misuse(kind, known.times + 1, known.factor, known.location)
            return
        early = kind in ("unscaled-loss", "not-divided")
        factor = self._factor if scaler is None else float(scaler.get_scale())
        self.misuses[kind] = Misuse(kind, 1, to_number(factor), self._place if early else self._locate())

    # -- what the report and an incident ask -----------------------------------------------------------------------------------

    def described(self) -> LossScaling | None:
        """How losses were scaled; ``None`` if they were not."""
        scaler = self.scaler
        misuses = tuple(self.misuses.values())
        if scaler is None:
            return LossScaling(misuses=misuses) if misuses else None
        optimizer = self._latest_of() if self._latest_of is not None else None
        history = self._of.get(optimizer, _History()) if optimizer is not None else _History()
        return LossScaling(
            scale=to_number(float(scaler.get_scale())),
            initial=self._initial.get(scaler),
            growth_factor=float(scaler.get_growth_factor()),
            backoff_factor=float(scaler.get_backoff_factor()),
            growth_interval=int(scaler.get_growth_interval()),
            asked=history.asked,
            skipped=history.skipped,
            in_a_row=history.row,
            began=to_number(history.began) if history.row else None,
            scalers=max(history.scalers, 1),
            location=self._made.get(scaler, UNKNOWN_LOCATION),
            misuses=misuses,
        )


    def told(self) -> list[Warning]:
        """What to say at the end of a run: training may survive a misuse and be the worse for it.

        A constant factor that was never divided by is left out: without a failure it is as good as a weight of the loss.
        """
        found = []
        for one in self.misuses.values():
            if one.kind in _SAID:
                place = f" ({one.location.file}:{one.location.line})" if one.location.file else ""
                factor = show(one.factor) if isinstance(one.factor, str) else f"{one.factor:g}"
                often = f"it happened {one.times} {'time' if one.times == 1 else 'times'}"
                found.append(Warning("loss-scale-misuse", f"{_SAID[one.kind].format(factor=factor)}{place}; {often}"))
        return found


_SAID: dict[MisuseKind, str] = {
    "clipped-scaled": "gradients were clipped while they still carried the loss scale of {factor}: call `scaler.unscale_(optimizer)` "
                      "before, else the limit is that much too small",
    "stepped-scaled": "an optimizer was stepped without its scaler, with gradients that still carried the loss scale of {factor}",
    "unscaled-loss": "a loss was differentiated that the scaler had not multiplied, and the scaler divided its gradients by "
                     "{factor} all the same: `scaler.scale(loss).backward()` was meant",
}


def _stuck(history: _History, scale: float, backoff: float) -> str | None:
    """Why a skipped update is no calibration any more, in words; ``None`` if it may be."""
    # A scale that fell at each skip of the row is `backoff` per skip lower than where the row began.
    falling = scale <= history.began * max(backoff, 0.9) ** (history.row - 1)
    if scale < HOPELESS:
        return f"gradients are not finite at a scale of {scale:.3g} either"
    if history.row >= (LONGEST_CALIBRATION if falling and scale > 1.0 else SKIPPED_IN_A_ROW):
        return f"it did with {history.row} updates in a row; the scale is {scale:.3g} now"
    if sum(history.recent) >= MOSTLY:
        return f"it did with {sum(history.recent)} of the latest {len(history.recent)} updates"
    return None


def _made_from(node: Any, scaled: Sequence[Any]) -> bool:
    """True if the autograd node `node` is one of `scaled`, or computed from one by a few operators."""
    level = [node]
    for _ in range(_DEEP):
        if any(one is known for one in level for known in scaled):
            return True
        level = [parent for one in level if one is not None for parent, _ in one.next_functions][:16]
    return False


def _constant_factor(root: Tensor) -> float:
    """The constant that a root of the backward pass was multiplied with (and divided by) last; 1 if there is none that can
    be read without waiting."""
    return math.prod(_constants(root))


def scale_by_hand(root: Tensor) -> float:
    """The scale among the constants that a root of the backward pass was multiplied with; 1 if there is none."""
    return math.prod(factor for factor in _constants(root) if factor >= BY_HAND)


def _constants(root: Tensor) -> Iterator[float]:
    """The factors that a root of the backward pass was multiplied with last, the latest first."""
    node = root.grad_fn
    for _ in range(_DEEP):
        name = type(node).__name__
        if name not in ("MulBackward0", "DivBackward0"):
            break
        places = ("_saved_other",) if name == "DivBackward0" else ("_saved_other", "_saved_self")
        constant = next((value for place in places if (value := _constant(getattr(node, place, None)))), None)
        if constant is None:
            break
        yield constant if name == "MulBackward0" else 1.0 / constant
        node = node.next_functions[0][0] or node.next_functions[-1][0]  # type: ignore[union-attr]


def _constant(value: object) -> float | None:
    """Magnitude of a plain number as autograd keeps it; ``None`` for what is none."""
    if isinstance(value, Tensor) and value.dim() == 0 and value.device.type == "cpu" and not value.requires_grad:
        return abs(float(value)) or None
    return None


def _mark(optimizers: Iterable[Optimizer]) -> tuple[int, int] | None:
    """Identity and version of the first gradient of `optimizers`: it changes when the gradient is written."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    return id(parameter.grad), parameter.grad._version
    return None


def skips_by_itself(optimizer: Optimizer) -> bool:
    """A fused optimizer under a scaler reads the flag on the device and skips; its gradients are still scaled."""
    found = getattr(optimizer, "found_inf", None)
    return isinstance(found, Tensor) and bool(found)


@contextmanager
def at_scale(fixed: float) -> Iterator[list[Any]]:
    """A block in which every gradient scaler multiplies with `fixed`; scalers keep their scale. With 1 a loss gives what it gives by
    itself. Its value is the list of the calls, filled as they happen."""
    kind = torch.amp.grad_scaler.GradScaler
    original = kind.scale
    kept: list[tuple[Any, float, float | None]] = []

    def scale(scaler: Any, outputs: Any) -> Any:
        held = float(scaler._scale) if scaler._scale is not None else None
        kept.append((scaler, scaler._init_scale, held))
        scaler._init_scale = fixed
        if held is not None:
            scaler._scale.fill_(fixed)
        return original(scaler, outputs)

    kind.scale = scale
    try:
        yield kept
    finally:
        kind.scale = original
        for scaler, initial, held in reversed(kept):
            scaler._init_scale = initial
            if scaler._scale is not None:
                scaler._scale.fill_(initial if held is None else held)
