"""Interventions performed in every step of a run, instead of in one repetition.

A trial of the script, and a run that recovers, go on with a change. Each pass through the loop gets performers of its own; an
update is met by hooks of the framework. What changes the state itself (`State`) is done once, before the first step, except for
parameters that are frozen, thawed or given to an optimizer, and gradients, which are changed after every update.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from stayfinite.frameworks.torch.interventions.performing import Performer, given_of, performer
from stayfinite.frameworks.torch.passes import Scene
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.records.intervention import Intervention, State, Update, Values


class Living:
    """Performs `interventions` in every pass. `applied`: how often they changed something; `refused`: why one could not."""

    def __init__(
        self, interventions: Sequence[Intervention], name: Callable[[Tensor], str], relative: Callable[[str], str]
    ) -> None:
        self._interventions = interventions
        self._name = name
        self._relative = relative
        self._frames: Frames | None = None
        self._now: list[Performer] = []
        self._updating: list[Performer] = []
        """Those of the latest pass that change updates: a script may take one after its loop."""
        self._begun = False
        self._data = _names_of_data(interventions)
        self._met: dict[str, Any] = {}
        self._left: dict[str, Any] = {}
        """What names of data held when the latest pass began, and what it gave them itself."""
        self._applied = 0
        self.refused = ""
        self._hooks = [
            register_optimizer_step_pre_hook(self._before_step), register_optimizer_step_post_hook(self._after_step),
        ]

    @property
    def applied(self) -> int:
        """How often something was changed so far."""
        return self._applied + sum(one.applied for one in self._now)

    def close(self) -> None:
        """Leave the framework as it was."""
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def around(self, scene: Scene) -> Iterator[None]:
        """Entered round one pass through a loop."""
        frame = scene.frame
        names = self._current({**frame.f_globals, **frame.f_locals})
        given = given_of(scene.window, scene.subjects, self._relative, self._name, names, self._frames)
        self._frames = given.frames
        wanted = [one for one in self._interventions if not self._begun or _lasts(one)]
        self._now = [performer(one, given) for one in wanted]
        self._updating = [done for one, done in zip(wanted, self._now, strict=True) if isinstance(one, Update)]
        try:
            with ExitStack() as stack:
                for one in self._now:
                    one.living, one.fresh = True, not self._begun
                    one.begin()
                    one.rebind({}, [])
                    stack.enter_context(one.entered())
                self._begun = True
                yield
        finally:
            self._applied = self.applied
            self.refused = self.refused or next((one.refused for one in self._now if one.refused), "")
            self._now = []
            if self._data:
                self._note_left({**frame.f_globals, **frame.f_locals}, scene.block.bound)

    def _current(self, names: dict[str, Any]) -> dict[str, Any]:
        """`names` without those of data that hold what the latest pass cut for itself: this one will cut its own."""
        kept = {name: value for name, value in names.items() if name not in self._left or self._left[name] is not value}
        self._met = {name: kept[name] for name in self._data if name in kept}
        return kept

    def _note_left(self, names: dict[str, Any], bound: frozenset[str]) -> None:
        # what the header of the loop gives comes back as another object where the pass was repeated
        cut = self._data & bound & names.keys()
        self._left = {name: names[name] for name in cut if names[name] is not self._met.get(name)}
        self._met = {}

    def note_item(self, item: Any) -> None:
        """`next` gave `item` in this pass."""
        for one in self._now:
            one.rebind({}, [("item", item)])

    def _before_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        for one in self._now or self._updating:
            one.before_step(optimizer)

    def _after_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        for one in self._now or self._updating:
            one.after_step(optimizer)


def _lasts(one: Intervention) -> bool:
    """True if `one` is performed in every pass."""
    return not isinstance(one, State) or one.how in ("frozen", "thawed", "adopted") or one.what == "gradients"


def _names_of_data(interventions: Sequence[Intervention]) -> frozenset[str]:
    """The names with which the tensors begin that are changed wherever they are made."""
    told = [name for one in interventions if isinstance(one, Values) for name in (one.name, *one.also)]
    return frozenset(found.group() for name in told if (found := re.match(r"\w+", name)) is not None)
