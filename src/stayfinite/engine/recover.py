"""What to do about a step that went bad so that the training can go on: an escalating, bounded policy.

    a bad step       left out; if the next ones are healthy, that was enough. Where a change is known with which the step passes,
                     the run goes on with it
    early            the script begins again with the patch of a cure, if one was verified by running it from its start
    several          back to a state from before it began, with a lower learning rate and clipped gradients, on fresh data
    again            further back, lower
    at last          an honest stop, which says what was tried

A state that is not finite by itself is mended first. This module decides and counts; a framework performs.
"""

from __future__ import annotations

import collections
import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Literal

from stayfinite.engine.ports import Action, Past, Trouble

IN_A_ROW, AT_ONCE = 10, 5
"""Bad updates one after the other from which the state is suspected, and not the data; fewer are enough where hardly an
update has been healthy since the run began, or none since it went back."""
OF_LATEST, MANY = 20, 18
"""So many bad ones among the latest updates mean the same. Where three batches in four are bad and the rest teaches, it goes on."""
OFTEN = 4
"""So many bad ones among the latest updates are no rare ones any more, that cost little to leave out."""
PROBATION = 20
"""Healthy updates after which a failure counts as overcome."""
WARM_UP = 10
"""Updates over which the rate rises after a rewind: from a tenth of where it ends."""
BEGIN = 0.1
FIRST, LATER, MILD = 0.5, 0.2, 0.7
"""Where the rate ends after a rewind, as a share of what it was. Just above its limit, half of it is enough; where it comes back,
a fifth; where the loss never left where it was, it may not be the rate at all."""
HIGHER = 2.0
"""Each half `PROBATION` of healthy updates after a failure was overcome, the rate is raised so many times, up to half of the one that
failed: the estimate of what is bearable is careful."""
WORSE = 0.2
"""By which share the loss may be above what it was before the rate was raised."""
LEAST, SMALLEST = 1e-12, 1e-3
"""The smallest share of its own that a rate comes down to, in all and by one rewind."""
REWINDS, MOST_REWINDS = 5, 15
"""For one failure, and in one run."""
FRUITLESS = 2
"""Rewinds after which not one update was healthy: then it is not the state that fails."""
PATIENCE = 50
"""Bad updates in a row that are left out where it is the data that are bad: a sensor may be silent for a while."""
MOST_REMEDIES = 12
"""Changes that one run goes on with, or tries to."""
MOST_AGAIN = 3
"""Times that one script begins again; each of its cures was verified."""
MENDS = 3
"""Times in one failure that a state is mended in place before it is taken from a snapshot as a whole."""
QUANTILE = 0.9
"""Of the gradient norms before the failure: what is rarer than one in ten is clipped."""
LEFT, NOISE = 0.5, 2.0
"""A loss has left where it was when its running median is more than this share above the best one, and more than so many times
the usual distance of neighbours."""
FAR = 4.0
"""It is far away at so many times that; as `divergence` has it, five times the best."""
FEW_JUMPS, MANY_JUMPS = 8, 24
"""Distances of which the median is the usual one; of fewer, many may belong to an explosion, and of very few all."""


class Policy:
    """The decisions of one run. Implements `engine.ports.Recovering`."""

    def __init__(self, begun_again: int = 0) -> None:
        """`begun_again`: how often the script has."""
        self._begun_again = begun_again
        self.goal = 1.0
        self.clip: float | None = None
        self.left_out = self.mended = self.rewound = self.remedied = 0
        self._open = False
        """A failure is being dealt with."""
        self._most = 1.0
        """The rate is raised to this again, as long as the loss stays where it is."""
        self._latest: collections.deque[bool] = collections.deque(maxlen=OF_LATEST)
        self._losses: collections.deque[float] = collections.deque(maxlen=3)
        """Of the latest healthy updates since the last rewind; above `_far` the loss is leaving again."""
        self._far = math.inf
        self._since: collections.deque[float] = collections.deque(maxlen=PROBATION // 2)
        """Of the updates since the rate was raised last; `_level`: their median then."""
        self._level = math.inf
        self._row = self._row_began = 0
        """Bad updates since the last healthy one, and the first of them."""
        self._healthy = self._since_rewind = 0
        self._rewinds = self._mends = self._fruitless = 0
        self._base: int | None = None
        """Where the first rewind of this failure went: what was kept since is not known to be good."""
        self._used: set[int] = set()
        self._tried: list[str] = []
        """Changes that the run went on with: what was withdrawn is not tried again."""
        self._applied = 0
        """Changes since the latest failure was overcome."""
        self._void: list[tuple[int, int]] = []
        """Updates that were rewound: after the first one, to the last."""

    @property
    def rate(self) -> float:
        """The share of the script's own learning rate that the coming update is made with."""
        if self._since_rewind >= WARM_UP or not self.rewound:
            return self.goal
        return self.goal * (BEGIN + (1.0 - BEGIN) * self._since_rewind / WARM_UP)

    @property
    def open(self) -> bool:
        """True while healthy updates matter: a failure is being dealt with, or the rate is being raised."""
        return self._open or self.goal < self._most

    @property
    def pressing(self) -> bool:
        """True if a bad step is not the only one lately: the update before was bad as well, or one in five."""
        return self._open and (self._row > 0 or sum(self._latest) >= OFTEN)

    @property
    def at_loss(self) -> bool:
        """True if the latest updates were all bad, so that nothing is being learned."""
        return self._row >= AT_ONCE

    @property
    def may_begin_again(self) -> bool:
        """True unless the script has begun again too often."""
        return self._begun_again < MOST_AGAIN

    def passed(self, step: int, loss: float) -> Literal["", "overcome", "leaving"]:
        """Update `step`, made with `loss`, was taken and is healthy. **Returns** whether a failure is overcome by it, or the loss is
        leaving again, which is a reason to go back."""
        if not self.open:
            return ""
        self._latest.append(False)
        self._row = 0
        self._healthy += 1
        self._since_rewind += 1
        self._losses.append(loss)
        self._since.append(loss)
        if len(self._losses) == 3 and min(self._losses) > self._far:
            return "leaving"
        if self._healthy < (PROBATION if self._open else PROBATION // 2):
            return ""
        if not self._open:
            self._healthy = 0
            self._raise()
            return ""
        self._open, self._healthy, self._level = False, 0, statistics.median(self._since)
        answered, self._applied = bool(self._rewinds or self._mends or self._applied), 0
        return "overcome" if answered else ""

    def _raise(self) -> None:
        """Raise the rate, if the loss was no worse for it the last time; else go back to the one before, for good."""
        level = statistics.median(self._since)
        if level <= self._level + WORSE * abs(self._level):
            self.goal = min(self._most, self.goal * HIGHER)
            self._level = level
        else:
            self._most = self.goal = max(self.goal / HIGHER, LEAST)

    def decide(self, trouble: Trouble, past: Past) -> Action:
        """A step was held, or the loss leaves where it was: what is done next."""
        if not self._open:
            self._begin()
        self._latest.append(True)
        if not self._row:
            self._row_began = trouble.step
        self._row += 1
        self._healthy = 0
        if trouble.cure and self._begins_again(trouble, past):
            return self._begin_again()
        if trouble.state and not self._mends:
            return self._mend()
        remedy = next((one for one in (*trouble.remedies, *trouble.untried) if one not in self._tried), None)
        if remedy is not None and self.remedied < MOST_REMEDIES:
            return self._apply(remedy, trouble, past)
        if trouble.state and self._mends < MENDS:
            return self._mend()
        if trouble.data and not trouble.state:
            if self._row > PATIENCE:
                return Action("stop", f"{PATIENCE} batches in a row are bad themselves; {self._what_was_done()}")
            return self._leave_out("it is the batch that is bad")
        losses = self._kept(past.losses)
        if not trouble.grows:  # the loss of a bad step says nothing of the state
            losses = [(step, value) for step, value in losses if step < self._row_began]
        if not trouble.state and not trouble.grows and not is_far(losses) and not self._is_lasting(past):
            return self._leave_out("the next ones may be healthy")
        return self._go_back(trouble, past, losses)

    def cure(self, trouble: Trouble, past: Past) -> Action | None:
        """A failure whose numbers stay finite costs no update: the script begins again with a verified cure, for it has learned nothing,
        or goes on with the next change that was seen to end it, if any."""
        if trouble.cure and self.may_begin_again:
            return self._begin_again()
        remedy = next((one for one in trouble.remedies if one not in self._tried), None)
        if remedy is None or self.remedied >= MOST_REMEDIES:
            return None
        if not self._open:
            self._begin()
            self._row_began = trouble.step
        self._healthy = 0
        return self._apply(remedy, trouble, past)

    def _begins_again(self, trouble: Trouble, past: Past) -> bool:
        """True if beginning again with a verified cure is better than what else there is: hardly anything is lost, or the failure is
        not over when one update is left out or one state mended."""
        if not self.may_begin_again:
            return False
        early = trouble.step < PROBATION or trouble.raised
        lasting = self._row > 1 or sum(self._latest) >= OFTEN or trouble.grows or is_far(self._kept(past.losses))
        changed = bool(trouble.remedies or trouble.untried) and not trouble.data
        return early or lasting or changed

    def _begin_again(self) -> Action:
        self._begun_again += 1
        return Action("begin-again", "a run from the start has shown that it helps")

    def _mend(self) -> Action:
        self._mends += 1
        self.mended += 1
        return Action("mend", "the state itself is not finite")

    def _apply(self, remedy: str, trouble: Trouble, past: Past) -> Action:
        """Go on with a change; from a state before the loss left where it was, if it has."""
        self._tried.append(remedy)
        self.remedied += 1
        self._applied += 1
        losses = self._kept(past.losses)
        back_to = -1
        untried = remedy in trouble.untried
        if trouble.grows or is_far(losses) or untried:
            left = min(where_it_left(losses), self._row_began - 1)
            back_to = next((one for one in reversed(past.snapshots) if one <= left), next(iter(past.snapshots), -1))
            self._void.append((back_to, trouble.step))
        self._row = 0
        self._latest.clear()
        self._losses.clear()
        told = "only the run can tell whether it helps" if untried else "the step that failed passes with it"
        return Action("remedy", told, back_to, remedy)

    def _leave_out(self, why: str) -> Action:
        self.left_out += 1
        return Action("leave-out", why)

    def _is_lasting(self, past: Past) -> bool:
        """True if it is no affair of a few batches."""
        never = not any(one < self._row_began for one in past.snapshots) or (self._rewinds > 0 and not self._since_rewind)
        never = never or self._row_began <= AT_ONCE
        return self._row >= (AT_ONCE if never else IN_A_ROW) or sum(self._latest) >= MANY

    def _begin(self) -> None:
        self._open = True
        self._rewinds = self._mends = self._fruitless = self._row = 0
        self._base = None
        self._latest.clear()
        self._used.clear()

    def _go_back(self, trouble: Trouble, past: Past, losses: list[tuple[int, float]]) -> Action:
        if self._rewinds and not self._since_rewind and not trouble.grows:
            self._fruitless += 1
        left = where_it_left(losses)
        grows = trouble.grows or is_far(losses)
        if not trouble.grows:
            left = min(left, self._row_began - 1)  # the state before the first of them is the one there is
        earlier = [one for one in past.snapshots if one <= left]
        if self._fruitless >= FRUITLESS or (not earlier and not trouble.grows and not trouble.state):
            return Action("stop", f"no step succeeds from an earlier state either; {self._what_was_done()}")
        if self._rewinds >= REWINDS or self.rewound >= MOST_REWINDS:
            return Action("stop", f"it came back each time; {self._what_was_done()}")
        if not past.snapshots:
            return Action("stop", f"no earlier state is remembered; {self._what_was_done()}")
        if self._base is not None:
            earlier = [one for one in earlier if one <= self._base]
        used = () if grows and self._base is not None else self._used  # from a good state it is the rate that has to change
        back_to = next((one for one in reversed(earlier) if one not in used), past.snapshots[0])
        self._used.add(back_to)
        self._base = back_to if self._base is None else self._base
        if grows:
            share = min(LATER if self._rewinds else FIRST, bearable(losses, left))
        else:
            share = MILD if self._rewinds else FIRST
        self._most = min(self._most, self.goal * FIRST) if grows else self.goal * share
        self.goal = max(LEAST, self.goal * share)
        self.clip = typical([value for step, value in self._kept(past.norms) if step < max(left, back_to + 1)]) or self.clip
        self._void.append((back_to, trouble.step))
        before = [value for step, value in losses if step <= back_to][-3:]
        self._far = far_from(statistics.median_low(before), usual_jump([v for s, v in losses if s <= left])) if before else math.inf
        self._rewinds += 1
        self.rewound += 1
        self._row = self._since_rewind = 0
        self._latest.clear()
        self._losses.clear()
        why = "the loss leaves what it was" if grows else "step after step is bad" if not trouble.state else "it came back"
        return Action("rewind", why, back_to=back_to)

    def _kept(self, readings: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        """The readings that are finite and were not rewound."""
        return [
            (step, value) for step, value in readings
            if math.isfinite(value) and not any(first < step <= last for first, last in self._void)
        ]

    def _what_was_done(self) -> str:
        done = [f"{self._rewinds} rewind{'s' * (self._rewinds > 1)} with the rate down to {self.goal:.3g} of its own"]
        done = done if self._rewinds else []
        done += [f"the state mended {self._mends} times"] if self._mends else []
        done += [f"{len(self._tried)} changes with which the failing step passed"] if self._tried else []
        done += [f"{self.left_out} updates left out"] if self.left_out else []
        return "tried: " + ", ".join(done) if done else "nothing could be tried"


def where_it_left(losses: Sequence[tuple[int, float]]) -> int:
    """The last update at which the loss was where it had been: its running median at most `LEFT` of its best above that, or
    `NOISE` times the usual distance between neighbours where that is more. 0 where there is no loss."""
    if not losses:
        return 0
    level = _levels([value for _, value in losses])
    best = min(level)
    allowed = best + max(LEFT * abs(best), NOISE * usual_jump([value for _, value in losses]))
    return next(step for (step, _), value in zip(reversed(losses), reversed(level), strict=True) if value <= allowed)


def is_far(losses: Sequence[tuple[int, float]]) -> bool:
    """True if the latest loss is so far above the best ones that it does not come back by itself."""
    values = [value for _, value in losses]
    return len(values) > 1 and values[-1] > far_from(min(_levels(values)), usual_jump(values))


def far_from(level: float, jump: float) -> float:
    """What is far away from `level`, where neighbours are `jump` apart."""
    return level + FAR * max(abs(level), NOISE * jump)


def usual_jump(values: Sequence[float]) -> float:
    """The usual distance of neighbours; 0 where there are too few to tell."""
    jumps = sorted(abs(one - other) for one, other in itertools.pairwise(values))
    if len(jumps) < FEW_JUMPS:
        return 0.0
    return jumps[len(jumps) // 2] if len(jumps) >= MANY_JUMPS else jumps[len(jumps) // 4]


def bearable(losses: Sequence[tuple[int, float]], left: int) -> float:
    """The share of its rate at which a loss that grows since update `left` would fall. On a parabola of curvature c a step at rate
    r multiplies the loss by (rc - 1)^2, so one that grows by g has rc = 1 + sqrt(g), and falls fastest at rc = 1. The first growth
    counts: later ones are those of weights that are ruined already, and in a deep network they multiply."""
    rising = [value for step, value in losses if step >= left]
    growth = next((after / before for before, after in itertools.pairwise(rising) if 0.0 < before < after), 1.0)
    return max(1.0 / (1.0 + math.sqrt(growth)), SMALLEST)


def _levels(values: Sequence[float]) -> list[float]:
    """Running medians of three; the last one is no lower than its value, which nothing has followed yet."""
    level = [statistics.median_low(values[max(0, at - 1) : at + 2]) for at in range(len(values))]
    level[-1] = max(values[-1], level[-1])
    return level


def typical(norms: Sequence[float]) -> float | None:
    """The limit that gradients are clipped at, from the norms of healthy updates; ``None`` if there were none."""
    known = sorted(value for value in norms if value > 0.0)
    return known[min(len(known) - 1, int(QUANTILE * len(known)))] if known else None
