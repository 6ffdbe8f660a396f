"""What a performer is, and which one performs which intervention.

A repetition asks its performer at four moments: when the state before the step has been put back (`begin`), when names and
items of a pass are about to be handed to the user's code (`rebind`), while that code runs (`entered`), and round every update
(`before_step`, `after_step`). What it does is undone with the repetition itself: state by the snapshot that is restored
afterwards, names and items because copies were changed, everything else by the performer when it is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from stayfinite.frameworks.torch.passes import Window
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.records.intervention import (
    Bypassed,
    Damped,
    Effect,
    Intervention,
    Joined,
    LossScale,
    Place,
    Precision,
    Rows,
    Scaled,
    Stable,
    State,
    Term,
    Update,
    Values,
    Within,
)
from stayfinite.records.sharpness import Sharpness
from stayfinite.rewrite.project import is_user_file


@dataclass(frozen=True)
class Given:
    """What performers may know of the step: the passes that are repeated, whose parameters and optimizers they train, how
    places are spelled, what a parameter is called, and `named`: the names of the frame and its globals that were bound. `births`:
    by name, the calls that were seen to make a tensor of the batch inside the step; performers of one step share them."""

    window: Window
    subjects: Subjects
    frames: Frames
    name: Callable[[Tensor], str]
    named: dict[str, Any]
    births: dict[str, set[tuple[Any, ...]]] = field(default_factory=dict)


def given_of(
    window: Window, subjects: Subjects, relative: Callable[[str], str], name: Callable[[Tensor], str], names: dict[str, Any],
    frames: Frames | None = None, births: dict[str, set[tuple[Any, ...]]] | None = None,
) -> Given:
    """What performers may know of a step whose frame binds `names`. `frames`: one that has learned of earlier passes; `births`: what
    earlier performers have learned."""
    bound = {key: value for key, value in names.items() if not key.startswith("__")}
    return Given(window, subjects, frames or Frames(is_user_file, relative), name, bound, {} if births is None else births)


def begins_backward(function: Any) -> bool:
    """True for a call that begins a backward pass, and lies in none."""
    return getattr(function, "__name__", "") == "backward" and torch._C._current_graph_task_id() == -1


class SeesCalls(Protocol):
    """A performer that changes calls."""

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What stands for `function(*args, **kwargs)`."""


class Calls(TorchFunctionMode):
    """Hands every call of a torch function or tensor method to `owner`, before automatic differentiation sees it.

    A backward pass begins with such a call, and while a mode handles one it is switched off. It is switched on again for what the
    user's own code computes in there: a derivative by hand, or what a checkpoint computes once more.
    """

    def __init__(self, owner: SeesCalls) -> None:
        super().__init__()
        self._owner = owner

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("backward", "grad"):
            with self._inside():
                return self._owner.call(func, args, kwargs)
        return self._owner.call(func, args, kwargs)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """A block in which the engine that differentiates runs inside this mode."""
        name = "_engine_run_backward"  # private, and the one place behind every check for modes
        original = torch.autograd.__dict__.get(name)
        if original is None:
            yield
            return

        def run(*args: Any, **kwargs: Any) -> Any:
            with self:
                return original(*args, **kwargs)

        setattr(torch.autograd, name, run)
        try:
            yield
        finally:
            setattr(torch.autograd, name, original)


class Performer:
    """Changes nothing. `applied` counts what was changed; see the module for when each method is called. `compiled`: what the
    script has compiled runs compiled. `living`: a run goes on with the change, one performer for each pass; else a step is
    repeated. `fresh`: this is the first of these passes."""

    compiled = False
    living = False
    fresh = False

    def __init__(self) -> None:
        self.applied = 0
        self.refused = ""

    def begin(self) -> None:
        """The state is the one before the step."""

    def rebind(self, names: dict[str, Any], items: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """What the pass is given by name and by `next`, changed; neither argument is."""
        return names, items

    def entered(self) -> AbstractContextManager[Any]:
        """Entered round the user's code, left after it."""
        return nullcontext()

    def before_step(self, optimizer: Optimizer) -> None:
        """`optimizer` is about to step."""

    def after_step(self, optimizer: Optimizer) -> None:
        """It has."""

    def places(self) -> tuple[Place, ...]:
        """Lines that were seen to compute, in order, where the performer looks at operators."""
        return ()

    def sharpness(self, step: int) -> Sharpness | None:
        """What was measured of the curvature, where the performer does that, at update number `step`."""
        return None

    def effect(self) -> Effect:
        """What it came to, once the step is over."""
        return Effect(applied=self.applied, refused=self.refused)


def performer(intervention: Intervention, given: Given) -> Performer:
    """The performer of `intervention`. Modules are imported here: a run without experiments loads none."""
    if isinstance(intervention, Within):
        from stayfinite.frameworks.torch.interventions import distributions, limits

        return (distributions.Allowed if intervention.place.kind == "distribution" else limits.Limited)(intervention, given)
    if isinstance(intervention, Precision):
        from stayfinite.frameworks.torch.interventions import formats

        return (formats.Whole if intervention.format == "int64" else formats.Recomputed)(intervention, given)
    if isinstance(intervention, Stable):
        from stayfinite.frameworks.torch.interventions import forms, shifting

        shifts = intervention.form in ("shifted-softmax", "log-sum-exp")
        return shifting.Shifted(intervention, given) if shifts else forms.Rewritten(intervention, given)
    if isinstance(intervention, (Rows, Values)):
        from stayfinite.frameworks.torch.interventions import batches

        return batches.Replaced(intervention, given) if isinstance(intervention, Rows) else batches.Changed(intervention, given)
    if isinstance(intervention, Update):
        from stayfinite.frameworks.torch.interventions import updates

        return updates.Otherwise(intervention, given)
    if isinstance(intervention, State):
        from stayfinite.frameworks.torch.interventions import keeping, states

        return keeping.Kept(intervention, given) if intervention.how == "kept" else states.Restated(intervention, given)
    if isinstance(intervention, Term):
        from stayfinite.frameworks.torch.interventions import terms

        return terms.LeftOut(intervention, given)
    if isinstance(intervention, Scaled):
        from stayfinite.frameworks.torch.interventions import centring

        return centring.Centred(intervention, given)
    if isinstance(intervention, Damped):
        from stayfinite.frameworks.torch.interventions import damping

        return damping.Bounded(intervention, given)
    if isinstance(intervention, Joined):
        from stayfinite.frameworks.torch.interventions import joining

        return joining.Rejoined(intervention, given)
    if isinstance(intervention, Bypassed):
        from stayfinite.frameworks.torch.interventions import bypassing

        return bypassing.LeftAside(intervention, given)
    if isinstance(intervention, LossScale):
        from stayfinite.frameworks.torch.interventions import bypassing

        return bypassing.Rescaled(intervention)
    from stayfinite.frameworks.torch.interventions import backends

    return backends.performer(intervention, given)
