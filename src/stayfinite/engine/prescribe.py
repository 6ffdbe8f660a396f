"""From causes to remedies that were seen to work.

Each remedy of a leading cause is tried twice: on the held step, where it is performed like an experiment, and by a trial, the
user's script from its start with the patch. It is *verified* if the failing step passes and training goes on to learn. A
**mask is no cure**: what leaves no gradient at the elements it cured, or other values where the original was finite while it
claims to be the same function, is *refused*, however finite the loss. What nobody could try says why.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator, Iterable, Mapping, Sequence

import msgspec

from stayfinite.catalog import pages
from stayfinite.catalog.edits.changes import patched
from stayfinite.engine.candidates import candidates, key_of, neighbours
from stayfinite.engine.over_steps import Rerun
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.records.diagnosis import Diagnosis, Hypothesis, Judged, Remedy, Trial
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Within
from stayfinite.records.numbers import Number, is_finite, show

TRIED = 6
"""Remedies that are tried at most once one is verified; the others are shown, not tested."""
MOST = 14
"""Remedies that are tried at most while none is verified."""
ROUNDING = 1e-3
"""Relative change of finite values that still counts as the same function: float16 has eleven bits, 1 part in 2048."""
FIRST = 2
"""Losses of a run that are compared with the control's, for a patch that claims to be the same function."""
EQUAL = 1e-6
"""Relative difference of two losses up to which nothing but the last bits of float32 tells two runs apart."""
ENOUGH = 2
"""Verified remedies after which no further trial is begun: the user needs one, and a second opinion."""

STUCK = frozenset({"dead-gradient", "plateau", "stalled-update"})
"""Symptoms of a training that stands still: a cure is one with which it moves."""
LATEST = 5
"""Losses of the control, at its end, that tell where it stood still: a gradient that is 0 three times is a dead one."""
OPENING = 3
"""Losses that a run begins with: where they end above them, nothing was learned, whatever lies between."""
FALL = 0.05
"""Share of the first loss by which the loss has to fall to count as learning."""

FLOORLESS = 100.0
"""Times the largest loss of the control below zero from which a loss has no floor."""

HIDES = "it hides the failure: no gradient passes where it replaces a value, so nothing is learned from these elements"
"""Why a mask is refused although the run goes on with it."""

Prescription = Generator[ReplayRequest, Outcome, tuple[Remedy, ...]]


def prescribe(
    case: Case, diagnosis: Diagnosis, sources: Mapping[str, str], *, rerun: Rerun | None, budget: float, steps: bool = True,
) -> Prescription:
    """Find remedies for the causes that lead `diagnosis` and try them.

    **Arguments**

    - `sources`: text of the user's files, by file as in `Location`.
    - `rerun`: runs trials; ``None`` if the script cannot be run again.
    - `budget`: seconds; nothing is begun once they are spent.
    - `steps`: the held step can be repeated.

    **Returns** a generator of replay requests whose value are the remedies, in the order of `ordered`.
    """
    until = time.monotonic() + budget
    steps = steps and case.replay.not_tested is None and bool(case.replay.attempts)
    trials = _Trials(rerun, sources, until)
    judged: list[Remedy] = []
    tried = verified = 0
    for remedy in candidates(case, diagnosis.hypotheses, sources):
        if remedy.fix is None and not remedy.interventions:
            judged.append(remedy)
            continue
        most = TRIED if verified else MOST
        if tried >= most or time.monotonic() > until:
            reason = "others were tried first" if tried >= most else "the budget was spent on others"
            judged.append(_with(remedy, "not_tested", remedy.reason or reason))
            continue
        tried += 1
        remedy = yield from _tried(remedy, trials, steps=steps, enough=verified >= ENOUGH)
        verified += _cures(remedy)
        judged.append(remedy)
    if not verified and rerun is not None:
        known = {key_of(one) for one in judged}
        for remedy in neighbours(case, diagnosis.hypotheses, sources):
            if key_of(remedy) in known or tried >= MOST + TRIED or time.monotonic() > until:
                continue
            tried += 1
            remedy = yield from _tried(remedy, trials, steps=steps)
            if _cures(remedy):  # what does not help is no news where nothing speaks for its cause
                judged.append(remedy)
                break
    return ordered(judged, _first(diagnosis.hypotheses))


def _tried(remedy: Remedy, trials: _Trials, *, steps: bool, enough: bool = False) -> Generator[ReplayRequest, Outcome, Remedy]:
    """`remedy` after the held step and a trial. `enough`: others were verified, and no trial is begun."""
    if steps and remedy.interventions and _on_step(remedy):
        outcome = yield ReplayRequest("experiment", remedy.interventions[0])
        remedy = judge_step(remedy, outcome)
    if remedy.verdict not in ("refused", "failed"):
        if enough:
            remedy = _with(remedy, "not_tested", "others were verified before")
        elif trials.open:
            remedy = trials.judge(remedy)
        else:
            remedy = _without_trial(remedy, "the budget was spent on others")
    return _with(remedy, "refused", HIDES) if remedy.verdict == "verified" and is_mask(remedy) else remedy


def _cures(remedy: Remedy) -> bool:
    return remedy.verdict == "verified" and remedy.fix is not None


def is_mask(remedy: Remedy) -> bool:
    """True for what replaces values by constants: no gradient passes there, by construction, however well a run goes on."""
    return bool(getattr(pages.load("remedies", remedy.remedy), "BREADTH", 0) > 2)


# -- on the held step --------------------------------------------------------------------------------------------------------


def _on_step(remedy: Remedy) -> bool:
    """False where one step cannot judge it: a rate that was too high long before."""
    return bool(getattr(pages.load("remedies", remedy.remedy), "ON_STEP", True))


def judge_step(remedy: Remedy, outcome: Outcome) -> Remedy:
    """`remedy` after it was performed on the held step: refused or failed, else with what was seen in `reason`."""
    effect = outcome.effect
    remedy = msgspec.structs.replace(remedy, effect=effect)
    if effect is None or effect.refused or not effect.applied or outcome.unrepeatable:
        return remedy  # nothing follows from it
    module = pages.load("remedies", remedy.remedy)
    kept_inside = isinstance(remedy.interventions[0], Within)  # a stable form may have a slope of 0 there by right
    if effect.gradient == "zero" and kept_inside and not getattr(module, "UNUSED_ELEMENTS", False):
        return _with(remedy, "refused", "it hides the failure: no gradient arrives at the elements it changes, so nothing is "
                     "learned from them")
    failed = outcome.failed or effect.gradient == "nonfinite"
    if failed and remedy.fix is not None:
        # a patch may reach what an intervention at one line does not: the logits in another function
        return msgspec.structs.replace(remedy, reason="one operation changed in the held step alone does not make it pass")
    if failed:
        return _with(remedy, "failed", "the held step fails with it too")
    if remedy.fix is None and _same_function(remedy) and effect.deviation > ROUNDING:
        return _with(remedy, "refused", f"it changes {effect.changed} values that were finite before, by up to "
                     f"{show(effect.deviation)} of their size, and claims to be the same function")
    return msgspec.structs.replace(remedy, reason="the held step passes with it")


def _same_function(remedy: Remedy) -> bool:
    """Whether it claims to be the same function: one that was offered as less safe than its module says claims nothing."""
    module = pages.load("remedies", remedy.remedy)
    return bool(getattr(module, "SAME_FUNCTION", False)) and not (remedy.applicability == "unsafe" and module.APPLICABILITY == "safe")


def _exact(remedy: Remedy) -> bool:
    """Whether it claims to leave every value that was finite as it was, bit for bit: what puts a floor under a divisor."""
    return bool(getattr(pages.load("remedies", remedy.remedy), "EXACT", False))


# -- by a trial --------------------------------------------------------------------------------------------------------------


class _Trials:
    """The trials of one incident. The control is run before the first, unless an experiment ran it."""

    def __init__(self, rerun: Rerun | None, sources: Mapping[str, str], until: float) -> None:
        self._rerun = rerun
        self._sources = sources
        self._until = until

    def judge(self, remedy: Remedy) -> Remedy:
        """`remedy` after a trial."""
        rerun = self._rerun
        if rerun is None:
            return _without_trial(remedy, "the script cannot be run again")
        doubt = rerun.doubt(self._seconds())
        if doubt:
            return _without_trial(remedy, doubt)
        change = f"{remedy.remedy}: {remedy.title}"
        if remedy.fix is not None:
            trial = rerun.patched(change, patched(self._sources, remedy.fix), self._seconds())
        else:
            trial = rerun.changed(remedy.interventions[0], self._seconds())
        return judge_trial(msgspec.structs.replace(remedy, trial=trial), trial, rerun.control(self._seconds()))

    @property
    def open(self) -> bool:
        """Whether there is time for another one."""
        return time.monotonic() < self._until

    def _seconds(self) -> float:
        """What a trial may take: half of what is left, so that another one can follow."""
        return max(2.0, (self._until - time.monotonic()) / 2)


def _without_trial(remedy: Remedy, reason: str) -> Remedy:
    """What is known without a trial: at most that the held step passes."""
    passed = remedy.reason
    return _with(remedy, "inconclusive" if passed else "not_tested", f"{passed}; {reason}" if passed else reason)


def judge_trial(remedy: Remedy, trial: Trial, control: Trial) -> Remedy:
    """`remedy` after `trial`, beside the `control` that failed."""
    if trial.status == "failed":
        same = trial.symptom == control.symptom and trial.step == control.step
        return _with(remedy, "failed", "the run fails at the same step" if same else
                     f"the run goes on to step {trial.step} and ends with {trial.symptom}")
    if trial.status == "broken":
        return _with(remedy, "failed", f"the patched script raises: {trial.note}")
    if trial.status in ("not_run", "ended"):
        return _without_trial(remedy, trial.note or "the trial ended before the failing step")
    other = _another_function(trial, control, exact=_exact(remedy)) if _same_function(remedy) else ""
    if other:
        return _with(remedy, "refused", f"it claims to be the same function, and {other}")
    if control.symptom in STUCK:
        module = pages.load("remedies", remedy.remedy)
        verdict, reason = moves(trial, control, other_loss=getattr(module, "OTHER_LOSS", False))
    else:
        verdict, reason = learns(trial, control, max(control.step, 0))
    if verdict == "verified" and (fallen := _without_floor(trial, control)):
        return _with(remedy, "refused", fallen)
    return _with(remedy, verdict, reason)


def _another_function(trial: Trial, control: Trial, *, exact: bool = False) -> str:
    """How the first losses differ from the control's, where both are finite, in words; empty if they agree but for rounding. Later
    ones prove nothing, as rounding grows from step to step, unless the patch is `exact`: then the runs are one up to the failing step,
    and a loss that leaves the control's at once, after equal ones, shows a floor that lies above values which were fine."""
    ours, others = _by_update(trial), _by_update(control)
    exact = exact and control.symptom.startswith("nonfinite")
    apart = 0.0
    for number, update in enumerate(sorted(ours.keys() & others.keys())):
        if number >= FIRST and (not exact or update > control.step or apart > EQUAL):
            return ""
        one, other = ours[update], others[update]
        if isinstance(one, str) or isinstance(other, str):
            return ""
        difference, size = abs(one - other), max(abs(one), abs(other))
        if difference > ROUNDING * size + 1e-6:
            return f"its loss {update} is {show(one)} instead of {show(other)}"
        apart = max(apart, difference / size if size else 0.0)
    return ""


def _by_update(trial: Trial) -> dict[int, Number]:
    """The losses of a run by the number of their update."""
    stride = max(1, trial.stride)
    read = trial.losses if stride == 1 else trial.losses[:-1]  # the last reading need not lie on the grid
    return {number * stride: loss for number, loss in enumerate(read)}


def learns(trial: Trial, control: Trial, step: int) -> tuple[Judged, str]:
    """Whether a run that passed `step` goes on to learn, by its losses."""
    losses = _finite(trial.losses)
    stride = max(1, trial.stride)
    after = _finite(trial.losses[step // stride :])
    before = _finite(control.losses[: max(1, step // max(1, control.stride))])
    passed = f"it passes step {step} and {max(0, trial.steps - step - 1)} more"
    if not losses:
        return "verified", f"{passed}; no loss was read"
    if len(after) >= 5 and len(set(after)) == 1:
        return "refused", f"{passed}, but the loss stands still at {show(after[-1])}: nothing is learned"
    start, end = _quarters(losses)
    told = f"the loss goes from {show(start)} to {show(end)}"
    if end > _highest(losses, before):
        return "failed", f"{passed}, but {told}"
    if len(after) < 3:
        return "verified", f"{passed}, where the run ends"
    return "verified", f"{passed}; {told}"


def _quarters(losses: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and the last quarter."""
    quarter = max(1, len(losses) // 4)
    return statistics.median(losses[:quarter]), statistics.median(losses[-quarter:])


def _highest(losses: Sequence[float], before: Sequence[float]) -> float:
    """What the loss of a run that learns may end at: where it began and a tenth, twice its spread, or what the run had risen by
    before it failed, where that was no growth without bounds: adversaries make losses that rise. A loss that goes below zero may be a
    reward, which says little by its size; one that does not has to end near what it opened with, and its spread counts no more than
    that."""
    quarter = max(1, len(losses) // 4)
    start = base = statistics.median(losses[:quarter])
    spread = 2.0 * statistics.pstdev(losses[: max(2, quarter)])
    if min(losses) >= 0.0:
        opening = statistics.median(losses[:OPENING])
        base, spread = min(start, opening), min(spread, opening)
    allowed = max(0.1 * abs(start), spread, 1e-6)
    if len(before) >= 8:
        first, last = _quarters(before)
        rise = last - first
        if 0.0 < rise <= abs(first):
            allowed = max(allowed, rise)
    return base + allowed


def moves(trial: Trial, control: Trial, *, other_loss: bool = False) -> tuple[Judged, str]:
    """Whether a run learns where the control stood still: it ends below where the control stood, and below where it began itself.
    Where the first losses are far apart, or `other_loss` says so, the two have other scales, and only the second counts."""
    ours, other = _finite(trial.losses), _finite(control.losses)
    if not ours or not other:
        return "inconclusive", f"no {control.symptom} is seen with it in {trial.steps} steps; no loss was read"
    reached = statistics.median(ours[-max(3, len(ours) // 4) :])
    # it may have learned before it stopped, and another training may have ended just before
    stuck = max(statistics.median(other[-LATEST:]), statistics.median(other[-2:]))
    comparable = not other_loss and abs(ours[0] - other[0]) <= abs(other[0]) / 2
    base = min(ours[0], stuck) if comparable else ours[0]
    told = f"the loss goes from {show(ours[0])} to {show(reached)}, without the change to {show(stuck)}"
    if base - reached < FALL * max(abs(ours[0]), abs(base)):
        return "failed", f"{told}: it does not learn either"
    return "verified", f"{trial.steps} steps without {control.symptom}; {told}"


def _without_floor(trial: Trial, control: Trial) -> str:
    """Why a loss that falls means nothing, in words: it runs below zero, to many times what the control's ever were. A loss that has
    lost its floor always falls, and says nothing of what was learned."""
    ours, other = _finite(trial.losses), _finite(control.losses)
    if not ours or not other:
        return ""
    end, most = _quarters(ours)[1], max(1.0, *map(abs, other))
    return f"the loss falls to {show(end)}, without a floor: it tells nothing of what is learned" if end < -FLOORLESS * most else ""


def _finite(losses: Sequence[Number]) -> list[float]:
    return [float(loss) for loss in losses if not isinstance(loss, str) and is_finite(loss)]


# -- order -------------------------------------------------------------------------------------------------------------------

_ORDER: dict[Judged, int] = {"verified": 0, "inconclusive": 1, "not_tested": 2, "refused": 3, "failed": 4}


def ordered(remedies: Iterable[Remedy], cause: str = "") -> tuple[Remedy, ...]:
    """Verified ones first, and of these safe ones with a patch, those that are made for `cause`, those of `cause`, that with the least
    loss before others; then what nobody could try; then refused ones, which people would try next, and last those that do not help."""
    def key(remedy: Remedy) -> tuple[int, int, bool, int, float]:
        applicability = ("safe", "unsafe", "display-only").index(remedy.applicability)
        aside = 0 if remedy.verdict != "verified" or not cause or remedy.causes[:1] == (cause,) else 2 - (cause in remedy.causes)
        return _ORDER[remedy.verdict], applicability, remedy.fix is None, aside, _came_to(remedy)

    return tuple(sorted(remedies, key=key))


def _first(hypotheses: Sequence[Hypothesis]) -> str:
    """The cause that is as good as known: clipping goes on with many a fault that has a cure of its own."""
    best = next(iter(hypotheses), None)
    return best.cause if best is not None and (best.verdict == "confirmed" or best.probability >= 0.5) else ""


def _came_to(remedy: Remedy) -> float:
    """The loss a verified unsafe remedy ended with; others keep their order."""
    if remedy.verdict != "verified" or remedy.applicability != "unsafe" or remedy.trial is None:
        return 0.0
    losses = _finite(remedy.trial.losses)
    return statistics.median(losses[-max(1, len(losses) // 4) :]) if losses else 0.0


def _with(remedy: Remedy, verdict: Judged, reason: str) -> Remedy:
    return msgspec.structs.replace(remedy, verdict=verdict, reason=reason)
