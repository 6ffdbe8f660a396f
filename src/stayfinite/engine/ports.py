"""What the engine asks of a framework, and what it tells whoever listens.

A framework performs replays; the engine only says which ones it wants and reads their outcomes. Because a step is
repeated in the user's own frame, control cannot be handed to a function that returns: an investigation is a generator
that yields requests and is sent outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Mapping
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from stayfinite.records.diagnosis import Trial
from stayfinite.records.finding import Warning
from stayfinite.records.incident import Case, ExceptionInfo, Incident, Symptom
from stayfinite.records.intervention import Effect, Intervention, Place
from stayfinite.records.numbers import Number
from stayfinite.records.recovery import Measure, Toll
from stayfinite.records.series import Window
from stayfinite.records.sharpness import Sharpness
from stayfinite.records.survey import Birth, Making, Survey
from stayfinite.records.trace import Trace


class ReplayRequest(msgspec.Struct, frozen=True):
    """One repetition of the held step: plainly (`control`), with gradient scalers that multiply with 1 (`unscaled`), under the
    microscope that follows non-finite values (`trace`; compiled parts run as they are written), or under the same one looking
    at the finite ones as well (`survey`), or with one thing changed (`experiment`; `watched`: under the microscope too), or with a
    measurement of how sharply the loss is curved where the repetition begins (`sharpness`).

    `steps`: how many steps to go back to, 1 for the held one alone; only steps that are remembered can be repeated
    (`Outcome.remembered`), and it may be some more, because a state is not kept before every step. An intervention is performed in all
    of them; `Outcome.losses` has one loss for each. Where the unchanged steps are not the run again, loss by loss and bit by
    bit, `Outcome.unrepeatable` says so.
    """

    purpose: Literal["control", "unscaled", "trace", "survey", "experiment", "sharpness"]
    intervention: Intervention | None = None
    watched: bool = False
    steps: int = 1


class Outcome(msgspec.Struct, frozen=True):
    """What one execution of a step came to.

    - `failed`: a non-finite loss, gradient or state was seen, or a numeric exception raised.
    - `fingerprint`: text that is equal for bit-equal losses, gradient norms and bad names.
    - `unrepeatable`: why this execution does not count as a repetition, or ``None``.
    """

    failed: bool
    fingerprint: str
    losses: tuple[Number, ...] = ()
    trace: Trace | None = None
    exception: ExceptionInfo | None = None
    unrepeatable: str | None = None
    seconds: float = 0.0
    survey: Survey | None = None
    effect: Effect | None = None
    """What the intervention of an experiment came to."""
    places: tuple[Place, ...] = ()
    """Lines that were seen to compute, in order, where an experiment looked at operators."""
    sharpness: Sharpness | None = None
    """What a request for it measured, at the first of the repeated steps."""
    remembered: int = 1
    """As how many `steps` a request may name: the held one, and those before it that can be repeated from an earlier state."""


Investigation = Generator[ReplayRequest, Outcome, Incident]
FindBirth = Callable[[Case], Birth | None]
"""Asked of a case whose origin is known: who made the value, if it was bad before the step computed anything."""
FindMakings = Callable[[Case], tuple[Making, ...]]
"""Asked of every case before its causes are ranked: the lines of the source that made what failed."""


class TryOut(Protocol):
    """Runs the user's script again from its start, with one change: performed in every step, or edited into its source."""

    def __call__(
        self, change: str, *, interventions: tuple[Intervention, ...] = (), sources: Mapping[str, str] | None = None,
        steps: int = 0, seconds: float = 30.0,
    ) -> Trial:
        """`change`: in words, empty for the control; `sources`: file as in `Location` -> the text that runs in its place; `steps`: it
        ends after that many updates (0: with the script). Never raises: what went wrong is in the trial."""


class Examined(msgspec.Struct, frozen=True):
    """What a survey came to. `incident`: ``None`` if there is nothing to tell; `certain`: one survey is enough to tell it,
    else another one has to say the same; `whole`: nothing that an optimizer has is reached by a gradient."""

    incident: Incident | None = None
    certain: bool = False
    whole: bool = False


Examination = Generator[ReplayRequest, Outcome, Examined]


class Readings(Protocol):
    """Where sensors put their numbers."""

    def read(self, series: str, step: int, value: float) -> bool:
        """Add one reading. Costs one append. **Returns** True if a finite detector fired at it."""

    def windows(self) -> tuple[Window, ...]:
        """The latest readings of every series."""

    def take(self) -> list[Symptom]:
        """Finite symptoms since the last call."""

    def begin_anew(self) -> None:
        """An optimizer was made: what the loss was before, on another task or another part of the model, is no measure."""


class Investigate(Protocol):
    """`engine.investigate.investigate`, handed to the session of a framework."""

    def __call__(
        self, case: Case, live: Outcome, listener: Listener, *, repeatable: str | None, budget: float,
        birth: FindBirth | None = None,
        look_back: Callable[[Case], Case] | None = None,
        makings: FindMakings | None = None,
        try_out: TryOut | None = None,
        sources: Mapping[str, str] | None = None,
        treat: bool = False,
    ) -> Investigation:
        """Begin the investigation of a held step. `look_back`: adds to a located case what the framework knows of the time
        before the step."""


class Examine(Protocol):
    """`engine.examine.examine`, handed to the session of a framework."""

    def __call__(
        self, case: Case, listener: Listener, *, repeatable: str | None, makings: FindMakings | None = None, budget: float = 0.0,
        try_out: TryOut | None = None, suspected: Container[str] = (), sources: Mapping[str, str] | None = None,
        tried: Container[str] = (), treat: bool = False,
    ) -> Examination:
        """Begin the examination of a step whose numbers are finite."""


class Preventing(Protocol):
    """`catalog.prevention.Chosen`, handed to what changes updates. `on`: ids of the policies; `does`: each in words. `by_weight`,
    `least_weight`: the largest norm of a gradient as a share of its parameter's, and the least that one counts as; `by_rate`: the
    largest root mean square of an update in learning rates."""

    on: frozenset[str]
    does: Mapping[str, str]
    by_weight: float
    least_weight: float
    by_rate: float

    def limit(self, optimizer: int, norm: float) -> float | None:
        """What a gradient of that optimizer is clipped to; ``None`` if it stays as it is."""

    def skips(self, loss: float) -> bool:
        """True if the update of this loss is left out."""


class Trouble(msgspec.Struct, frozen=True):
    """A step that must not stay as it is, as a policy of recovery sees it.

    `state`: parameters, buffers or moments are themselves not finite, or the rate is not. `grows`: every number is finite, and
    the loss has left what it was. `data`: the batch itself is bad. `remedies`: keys of the
    treatments with which this step was seen to pass, best first; `untried`: of those that only the run can tell. `cure`: id of a
    verified remedy with whose patch the script can begin again, where that is better than to go on with one of them. `raised`: an
    exception that ends the script unless it begins again.
    """

    step: int
    detector: str
    state: bool = False
    grows: bool = False
    data: bool = False
    remedies: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()
    cure: str = ""
    raised: bool = False


class Past(msgspec.Struct, frozen=True):
    """What is known of the time before. `snapshots`: numbers of the updates before which everything is remembered, oldest first;
    `losses`, `norms`: (number of the update, value), oldest first, of the loss and of the gradient."""

    snapshots: tuple[int, ...] = ()
    losses: tuple[tuple[int, float], ...] = ()
    norms: tuple[tuple[int, float], ...] = ()


class Action(msgspec.Struct, frozen=True):
    """What to do next. `back_to`: one of the snapshots; of a remedy, -1 where the state stays. `remedy`: key of the
    treatment to apply. `told`: the reason, in words."""

    kind: Literal["leave-out", "mend", "rewind", "remedy", "begin-again", "stop"]
    told: str
    back_to: int = -1
    remedy: str = ""


class Recovering(Protocol):
    """`engine.recover.Policy`, handed to the session of a framework: decides, while a framework performs."""

    @property
    def rate(self) -> float:
        """The share of the script's own learning rate that the coming update is made with."""

    goal: float
    """The share that `rate` comes back to in the end."""
    clip: float | None
    """The largest gradient norm of the coming update; ``None`` for any."""

    @property
    def open(self) -> bool:
        """True while healthy updates matter."""

    @property
    def pressing(self) -> bool:
        """True if a bad step is not the only one lately."""

    @property
    def may_begin_again(self) -> bool:
        """True unless the script has begun again too often."""

    @property
    def at_loss(self) -> bool:
        """True if the latest updates were all bad, so that nothing is being learned."""

    def decide(self, trouble: Trouble, past: Past) -> Action:
        """A step was held, or the loss leaves where it was."""

    def cure(self, trouble: Trouble, past: Past) -> Action | None:
        """A failure whose numbers stay finite: a change to go on with, or nothing."""

    def passed(self, step: int, loss: float) -> Literal["", "overcome", "leaving"]:
        """An update was taken and is healthy. **Returns** whether a failure is overcome by it, or the loss is leaving again."""


class Listener(Protocol):
    """Takes what a session finds. Calls arrive in the order things happen, from the training thread."""

    def symptom(self, symptom: Symptom, windows: tuple[Window, ...]) -> None:
        """Something was seen; what it comes to is not known yet."""

    def finite(self, symptom: Symptom, windows: tuple[Window, ...]) -> None:
        """A symptom with finite values: told, and the training goes on."""

    def examined(self, incident: Incident) -> None:
        """A failure whose numbers stay finite, with its case and causes; one told by `finite` before is complete now."""

    def stage(self, incident: str, name: str) -> None:
        """The named stage of an investigation begins; what was found before is complete."""

    def located(self, case: Case) -> None:
        """A case whose origin is known, before causes are ranked."""

    def incident(self, incident: Incident) -> None:
        """The finished incident."""

    def measure(self, measure: Measure | Toll) -> None:
        """Something was done so that the training can go on."""

    def warning(self, warning: Warning) -> None:
        """Something worth knowing that is no incident."""

    def case_folder(self, incident: str) -> Path | None:
        """A folder, made now, for the step of that incident; ``None`` if nothing can be written."""
