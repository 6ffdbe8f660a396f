"""Experiments over many steps: the script again from its start, with one change performed in every step.

What a rate, an initialisation or the scale of the data does is seen over many steps and not in one. The control is the script
without a change, which must fail as the run did. A change passes if the script gets past the step where it had failed, and has
then come as far: a tenth of the rate would put off any failure that comes with progress, and confirm itself.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from stayfinite.engine.ports import TryOut
from stayfinite.records.diagnosis import Trial
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Intervention, Update
from stayfinite.records.numbers import Number, is_finite, to_float

MARGIN = 2.0
"""A trial runs this many times as many steps as the run took to fail, and `LEAST_MARGIN` more."""
LEAST_MARGIN = 20
SLOWER = 10.0
"""A run at a tenth of its rate gets this many times as many steps, to come as far."""
LATER = 4
"""How many times longer a placebo is run."""
RISEN = 1e3
"""How many times its first loss the last one of some repeated steps is where they diverge."""
SHARE = 0.1
"""How much of the way from the first loss to the least one may be missing for a run to have come as far."""


class Rerun:
    """The trials of one incident, of its experiments and its cures. The control is run once, when it is first asked for.

    `patience`: updates from a symptom until it is told, and with that ends a trial: a suspicion is looked into first.
    """

    def __init__(self, case: Case, try_out: TryOut, *, patience: int = 0) -> None:
        self._patience = patience
        self._case = case
        self._try_out = try_out
        self._control: Trial | None = None
        self.count = 0

    @property
    def limit(self) -> int:
        """Updates after which a run that still is finite has passed."""
        return int(MARGIN * self._case.step_of_run) + LEAST_MARGIN + self._patience

    def control(self, seconds: float) -> Trial:
        """The script without a change."""
        if self._control is None:
            self.count += 1
            self._control = self._try_out("", steps=self._case.step_of_run + 2 + self._patience, seconds=seconds)
        return self._control

    def changed(self, change: Intervention, seconds: float, *, steps: int = 0) -> Trial:
        """The script with `change` performed in every step, for `steps` updates; 0: as many as tell whether it passes."""
        slower = SLOWER if isinstance(change, Update) and 0.0 < change.rate < 0.5 else 1.0
        self.count += 1
        return self._try_out(change.told, interventions=(change,), steps=steps or int(slower * self.limit), seconds=seconds)

    def beside(self, change: Intervention, placebo: Intervention, passed: Trial, seconds: float) -> tuple[Trial, Trial]:
        """The run with the placebo, and the one with `change`, which has `passed`. A run on the brink may fail later for any small
        change, so the placebo gets longer; where it fails after all, the change has to pass that step too."""
        other = self.changed(placebo, seconds / 2, steps=LATER * self.limit)
        if other.status == "failed" and other.step >= passed.steps:
            passed = self.changed(change, seconds / 2, steps=other.step + LEAST_MARGIN)
        return other, passed

    def patched(self, change: str, sources: Mapping[str, str], seconds: float) -> Trial:
        """The script with another text for some of its files."""
        self.count += 1
        return self._try_out(change, sources=sources, steps=self.limit, seconds=seconds)

    def doubt(self, seconds: float) -> str:
        """Why nothing can be concluded from trials, in words; empty if they can be relied on."""
        control = self.control(seconds)
        if control.status == "failed" and control.step <= self._case.step_of_run + 1 + self._patience:
            return ""
        if control.status == "not_run":
            return control.note
        if control.status == "failed":
            return f"the script, run again without a change, failed at step {control.step} instead of {self._case.step_of_run}"
        if control.steps <= self._case.step_of_run:
            return f"the script, run again, had not come to step {self._case.step_of_run} after {seconds:.0f} s"
        return "the script, run again without a change, does not fail: it draws other numbers each time, or the fault has gone"

    def verdict(self, trial: Trial) -> tuple[str, str]:
        """(``"finite"``, ``"failed"`` or ``""`` if that is not known; a note) for a changed run, held against the control."""
        if trial.status == "failed":
            return "failed", f"{trial.symptom} at step {trial.step}"
        if trial.status in ("broken", "not_run"):
            return "", trial.note
        if trial.steps <= self._case.step_of_run:
            return "", f"it had not come past step {self._case.step_of_run}: {trial.note or trial.status}"
        before = self._control.losses if self._control is not None else ()
        if not as_far(trial.losses, before):
            return "", f"it stayed finite for {trial.steps} steps, but had not come as far as the run that failed"
        return "finite", ""


def as_far(losses: Sequence[Number], control: Sequence[Number]) -> bool:
    """Whether a run reached what the control had reached before it failed, but for a tenth of the way. A run whose losses are not
    known has."""
    reached, other = least(losses), least(control)
    if other is None:
        return True
    if reached is None:
        return False
    start = next((to_float(loss) for loss in control if is_finite(loss)), other)
    return reached <= other + SHARE * abs(start - other) + 1e-6 * abs(start)


def least(losses: Sequence[Number]) -> float | None:
    """The least of the finite losses, each taken as the median of three: one lucky batch is no progress."""
    finite = [to_float(loss) for loss in losses if is_finite(loss)]
    if len(finite) < 3:
        return min(finite, default=None)
    smooth = [statistics.median(finite[place : place + 3]) for place in range(len(finite) - 2)]
    return min(value for value in smooth if not math.isnan(value))


def still_rises(losses: Sequence[Number]) -> bool:
    """Whether repeated steps stayed finite and went the way of the failed ones all the same: a little of a change puts a divergence
    off by a step or two, and the repetition ends there."""
    finite = [to_float(loss) for loss in losses if is_finite(loss)]
    return len(finite) == len(losses) > 2 and finite[0] > 0.0 and finite[-1] >= RISEN * finite[0]
