"""Performs what the policy of recovery decides, and counts it (``--on-incident recover``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from stayfinite import shield
from stayfinite.engine.ports import Action, Listener, Past, Readings, Recovering, Trouble
from stayfinite.errors import BeginAgain, TrainingHalted
from stayfinite.frameworks.torch import describe
from stayfinite.frameworks.torch.history.kept import Kept, identity
from stayfinite.frameworks.torch.history.ring import Ring
from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.looks import SAVED
from stayfinite.frameworks.torch.lowering import Lowering
from stayfinite.frameworks.torch.mending import Mending
from stayfinite.frameworks.torch.passes import Failure, Scene
from stayfinite.frameworks.torch.subjects import successors
from stayfinite.records.diagnosis import Treatment
from stayfinite.records.incident import Incident, Outcome
from stayfinite.records.numbers import show, to_float
from stayfinite.records.recovery import Measure, MeasureKind, Toll

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.interventions.living import Living

LISTED = 100
"""Measures that are recorded one by one; further ones are only counted."""


@dataclass
class _Applied:
    """A change that the run goes on with, since `incident`; `finite`: its steps were healthy before. `sure`: enough healthy updates
    were taken with it."""

    told: str
    incident: str
    living: Living
    finite: bool = False
    sure: bool = False


class Recovery:
    """The recovery of one session. `treat` is asked once a bad step is held, `passed` after a healthy one."""

    def __init__(
        self, policy: Recovering, ring: Ring, live: Live, listener: Listener, readings: Readings, mending: Mending,
        scene: Callable[[], Scene | None], relative: Callable[[str], str], can_begin_again: Callable[[], bool] = lambda: False,
    ) -> None:
        """`scene`: the pass that is running. `relative`: how paths are spelled. `can_begin_again`: the script may begin again now."""
        self._can_begin_again = can_begin_again
        self._policy = policy
        self._ring = ring
        self._live = live
        self._listener = listener
        self._readings = readings
        self._mending = mending
        self._scene = scene
        self._relative = relative
        self._applied: list[_Applied] = []
        """Changes that the run goes on with."""
        self.to_retake: _Applied | None = None
        """The change with which the step that is held now may be taken after all: it was seen to pass, and the state is as it was."""
        self.again: BeginAgain | None = None
        """To be raised once the incident is told: the script begins again."""
        self._counts: dict[MeasureKind, int] = {}
        self.lowering = Lowering(policy, scene, lambda: bool(self._counts))
        self._saved = -SAVED
        self._last: Incident | None = None
        """The latest failure."""
        self._bound: dict[int, frozenset[str]] = {}
        """Block -> the names it had bound at the end of its first healthy pass."""

    def attach(self) -> Callable[[], None]:
        """Change steps from now on; to be called after the sensors listen, so that steps are judged as the script made them.
        **Returns** what ends it."""
        unhook = self.lowering.attach()

        def detach() -> None:
            unhook()
            for one in self._applied:
                one.living.close()

        return detach

    # -- deciding ------------------------------------------------------------------------------------------------

    def treat(self, failure: Failure, incident: Incident, scene: Scene, *, held: bool) -> tuple[Outcome, Measure]:
        """Do something about a step that was held. **Returns** what became of it (``"stopped"`` if nothing can be done) and what
        was done, to be told by `say`."""
        self._last, self.to_retake = incident, None
        withdrawn = self._withdraw(incident.id)
        bad = self._mending.of_pass(scene)
        again = self._policy.pressing  # what trains otherwise from now on is for what steps left out do not end
        offered = [one for one in incident.diagnosis.treatments if one.sure or again or (not one.tried and failure.finite is not None)]
        treatments = {f"{incident.id}: {one.told}": one for one in offered}
        trouble = Trouble(
            failure.step, failure.detector, bool(bad) or failure.detector == "nonfinite-learning-rate",
            failure.finite is not None or not held, _is_data(incident),
            tuple(key for key, one in treatments.items() if one.tried), tuple(key for key, one in treatments.items() if not one.tried),
            self._cure_of(incident), failure.error is not None and not self._can_swallow(scene),
        )
        action = self._policy.decide(trouble, self._past(scene))
        if action.kind == "begin-again":
            return "recovered", self._measure("begun-again", failure, incident, withdrawn + self._begin_again(action, incident))
        if action.kind == "remedy":
            said = self._go_on_with(treatments[action.remedy], action, incident, scene)
            return "recovered", self._measure("remedied", failure, incident, withdrawn + said)
        if action.kind == "leave-out":
            return "skipped", self._measure("left-out", failure, incident, f"{withdrawn}the update is left out: {action.told}")
        if action.kind == "mend":
            told = self._mending.mend(bad, self._ring.kept) if bad else "the last rate that could be used is used"
            return "recovered", self._measure("mended", failure, incident, f"{withdrawn}{action.told}: {told}")
        if action.kind == "rewind":
            withdrawn += self._withdraw("")
            told = self._rewind(action, scene)
            if told:
                return "recovered", self._measure("rewound", failure, incident, withdrawn + told, action.back_to)
            action = Action("stop", "the remembered states are not finite either")
        return "stopped", self._measure("gave-up", failure, incident, f"given up: {action.told}")

    def examined(self, incident: Incident, scene: Scene) -> tuple[Incident, Measure | None]:
        """Do something about a failure whose numbers stay finite, if something is known. **Returns** what became of it, and what was
        done, which is still to be told."""
        treatments = {f"{incident.id}: {one.told}": one for one in incident.diagnosis.treatments if one.tried}
        symptom = incident.case.symptom
        trouble = Trouble(symptom.step, symptom.detector, remedies=tuple(treatments), cure=self._cure_of(incident))
        action = self._policy.cure(trouble, self._past(scene))
        if action is None:
            return incident, None
        self._last = incident
        if action.kind == "begin-again":
            measure = Measure("begun-again", self._live.updates.last, self._begin_again(action, incident), incident.id)
            return msgspec.structs.replace(incident, outcome="recovered"), measure
        said = self._go_on_with(treatments[action.remedy], action, incident, scene)
        self._applied[-1].finite = True
        measure = Measure("remedied", self._live.updates.last, said, incident.id, rate=self._policy.goal, clip=self._policy.clip)
        return msgspec.structs.replace(incident, outcome="recovered"), measure

    def _cure_of(self, incident: Incident) -> str:
        """The remedy with whose patch the script can begin again; empty if there is none, or it cannot."""
        return incident.diagnosis.again if incident.diagnosis.again and self._can_begin_again() else ""

    def _begin_again(self, action: Action, incident: Incident) -> str:
        """Have the script begin again once this is told. **Returns** what is done, in words."""
        cure = next(one for one in incident.diagnosis.remedies if one.remedy == incident.diagnosis.again and one.fix is not None)
        assert cure.fix is not None
        self.again = BeginAgain(cure.fix)
        return f"the script begins again with the patch {cure.remedy} ({cure.title}): {action.told}; its files stay as they are"

    def _withdraw(self, incident: str) -> str:
        """Do not go on with what the failure came back with, or made healthy steps bad; with nothing unsure, where no `incident` is
        named. **Returns** what was withdrawn, in words that others may follow."""
        vain = [one for one in self._applied if not one.sure and (one.finite or incident in ("", one.incident))]
        for one in vain:
            one.living.close()
            self._applied.remove(one)
        return f"it came back with {'; '.join(one.told for one in vain)}, which is withdrawn; " if vain else ""

    def _go_on_with(self, treatment: Treatment, action: Action, incident: Incident, scene: Scene) -> str:
        from stayfinite.frameworks.torch.interventions.living import Living  # only here: others load no performers

        step = self._live.updates.last - treatment.steps + 1 if treatment.steps > 1 else -1
        back_to = action.back_to if step < 0 else step if action.back_to < 0 else min(step, action.back_to)
        kept = self._finite_one(max(back_to, 0)) if back_to >= 0 else None
        whence = self._back_to(kept, scene) if kept is not None else ""
        living = Living(treatment.interventions, self._mending.name, self._relative)
        self._applied.append(_Applied(treatment.told, incident.id, living))
        self.to_retake = self._applied[-1] if kept is None else None
        return f"from here on{whence}, {treatment.told}: {action.told}"

    def _past(self, scene: Scene) -> Past:
        alike = identity(scene.subjects)
        windows = {window.series: window for window in self._readings.windows() if window.series in ("loss", "gradient_norm")}
        series = {name: tuple(zip(w.steps, map(to_float, w.values), strict=False)) for name, w in windows.items()}
        steps = tuple(one.step for one in self._ring.kept if one.identity == alike)
        return Past(steps, series.get("loss", ()), series.get("gradient_norm", ()))

    def _rewind(self, action: Action, scene: Scene) -> str:
        kept = self._finite_one(action.back_to)
        if kept is None:
            return ""
        whence = self._back_to(kept, scene)
        clipped = f", gradients clipped at a norm of {show(self._policy.clip)}" if self._policy.clip is not None else ""
        return (
            f"{action.told}: {whence.removeprefix(', ')}, with the learning rate times "
            f"{show(self._policy.rate)}, rising to {show(self._policy.goal)}{clipped}"
        )

    def _back_to(self, kept: Kept, scene: Scene) -> str:
        """Go back to `kept`. **Returns** where that is, in words."""
        kept.rewind()
        self._ring.forget_after(kept.step)
        if kept.names:  # an update by hand may make parameters anew: those of then are the state
            attempt = scene.here.attempt
            roots = {path.partition("[")[0] for path, _ in successors(kept.names, scene.frame.f_locals)}
            attempt.names = {**attempt.names, **{name: kept.names[name] for name in roots}}
            attempt.again = True
        return f", back to the state before step {kept.step}"

    def _finite_one(self, step: int) -> Kept | None:
        """What is kept from before `step`; the next older one, if that was bad already."""
        older = [one for one in self._ring.kept if one.step <= step]
        return next((one for one in reversed(older) if one.is_finite()), None)

    def passed(self, scene: Scene) -> None:
        """A pass has ended, and its update stays.

        **Raises** `TrainingHalted` if the loss leaves where it was once more, and nothing is left to try.
        """
        if scene.block.id not in self._bound:
            bound = {*scene.frame.f_locals, *scene.frame.f_globals}
            self._bound[scene.block.id] = frozenset(scene.block.stored & bound)
        if not self._policy.open:
            return
        step, losses = self._live.updates.last, scene.window.losses
        came = self._policy.passed(step, losses[0].value if losses else math.nan)
        name = self._last.id if self._last is not None else ""
        if came == "overcome":
            for one in self._applied:
                one.sure = True
            told = "overcome: the updates since are healthy"
            self.say(Measure("overcome", step, told, name, rate=self._policy.goal, clip=self._policy.clip))
        elif came == "leaving":
            cure = self._cure_of(self._last) if self._last is not None else ""
            action = self._policy.decide(Trouble(step, "divergence", grows=True, cure=cure), self._past(scene))
            if action.kind == "begin-again" and self._last is not None:
                self.say(Measure("begun-again", step, self._begin_again(action, self._last), name))
                self.leave()
            told = self._rewind(action, scene) if action.kind == "rewind" else ""
            if told:
                self.say(Measure("rewound", step, told, name, action.back_to, self._policy.goal, self._policy.clip))
            elif self._last is not None:
                self.say(Measure("gave-up", step, f"given up: {action.told}", name, rate=self._policy.goal))
                stopped = msgspec.structs.replace(self._last, stopped=True, outcome="stopped")
                self._listener.incident(stopped)
                raise TrainingHalted(f"{describe.summary(stopped)}. given up: {action.told}", stopped)

    def before_save(self, *, asked: bool) -> None:
        """The script is about to save: what is not finite must not come over the last good file. `asked`: it only asks for the state
        of a module, which some do at every step."""
        step = self._live.updates.last
        if asked and step - self._saved < SAVED:
            return
        self._saved = step
        with shield.shielded("recovery"):
            bad = self._mending.latest()
            if bad:
                told = f"about to be saved, the state is not finite: {self._mending.mend(bad, self._ring.kept)}"
                self.say(Measure("mended", step, told, rate=self._policy.goal, clip=self._policy.clip))

    def can_treat(self, failure: Failure, incident: Incident, scene: Scene) -> bool:
        """False for an exception that has to end the script."""
        again = self._policy.may_begin_again and bool(self._cure_of(incident))
        return failure.error is None or again or self._can_swallow(scene)

    def _can_swallow(self, scene: Scene) -> bool:
        """True if what follows the block finds every name that a healthy pass binds, though an exception ended this one."""
        bound = self._bound.get(scene.block.id)
        return bound is not None and bound <= {*scene.frame.f_locals, *scene.frame.f_globals}

    def leave(self) -> None:
        """**Raises** `BeginAgain` if the script is to begin again."""
        if self.again is not None:
            raise self.again

    # -- telling -------------------------------------------------------------------------------------------------

    def _measure(self, kind: MeasureKind, failure: Failure, incident: Incident, told: str, back_to: int | None = None) -> Measure:
        return Measure(kind, failure.step, told, incident.id, back_to, self._policy.goal, self._policy.clip)

    def say_of(self, measure: Measure, *, retaken: bool) -> None:
        """Tell what was done about a held step; `retaken`: it was taken after all."""
        if measure.kind == "remedied":
            told = f"{measure.told}; the step is {'taken after all' if retaken else 'left out'}"
            measure = msgspec.structs.replace(measure, told=told)
        self.say(measure)

    def say(self, measure: Measure) -> None:
        """Tell what was done, and count it."""
        count = self._counts[measure.kind] = self._counts.get(measure.kind, 0) + 1
        if count <= LISTED:
            with shield.shielded("telling what was done"):
                self._listener.measure(measure)

    def close(self) -> None:
        """The run ends: say how much was done in all."""
        counts = self._counts
        if counts:
            if self._policy.at_loss and self.again is None and "gave-up" not in counts:
                told = "the run ended while every update was bad"
                self.say(Measure("gave-up", self._live.updates.last, told, self._last.id if self._last is not None else ""))
            done = (counts.get("left-out", 0), counts.get("mended", 0), counts.get("rewound", 0), counts.get("remedied", 0))
            self._listener.measure(Toll(*done, self._policy.goal, counts.get("begun-again", 0)))

    # -- changed passes ------------------------------------------------------------------------------------------

    @contextmanager
    def around(self, scene: Scene) -> Iterator[None]:
        """Entered round a pass and its repetitions: remedies that are applied are performed."""
        with ExitStack() as stack:
            for one in [*self._applied]:
                with shield.shielded(f"the change {one.told}", "it is not made any more"):
                    stack.enter_context(one.living.around(scene))
            yield
        for one in [*self._applied]:
            if one.living.refused or shield.is_off(f"the change {one.told}"):
                self._applied.remove(one)
                one.living.close()

    def note_item(self, item: Any) -> None:
        """`next` gave `item` in this pass."""
        for one in self._applied:
            one.living.note_item(item)

def _is_data(incident: Incident) -> bool:
    """True if what made the step bad came in with its batch."""
    origin = incident.case.origin
    return origin is not None and origin.phase == "data"
