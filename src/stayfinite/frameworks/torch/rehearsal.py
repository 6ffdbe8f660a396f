"""What forced repetitions of healthy steps said: the proof that a repetition means something."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stayfinite import shield
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.frameworks.torch.inquiry import Inquiry
from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.passes import Scene, fingerprint
from stayfinite.frameworks.torch.sensors import Sensors
from stayfinite.records.finding import Warning
from stayfinite.rewrite import runtime
from stayfinite.rewrite.runtime import Attempt


@dataclass
class ReplayLog:
    """What forced repetitions of healthy steps said. `replayed` counts repetitions, `agreed` the bit-equal ones."""

    replayed: int = 0
    agreed: int = 0
    differed: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)

    surveyed: int = 0
    survey_notes: list[dict[str, Any]] = field(default_factory=list)
    """What forced surveys changed, could not look into, or would have told."""

    def note_survey(self, step: int, outcome: Outcome | None, wrong: int, told: list[str], refused: str | None) -> None:
        """Count one forced survey of a healthy step; `wrong`: tensors that were not put back."""
        self.surveyed += outcome is not None and outcome.survey is not None
        unseen = list(outcome.survey.unseen) if outcome is not None and outcome.survey is not None else []
        if outcome is not None and outcome.survey is None:
            unseen.append("no survey came of it")
        if wrong or told or refused or unseen:
            self.survey_notes.append({"step": step, "wrong": wrong, "told": told, "refused": refused, "unseen": unseen})

    def as_plain(self) -> dict[str, Any]:
        """For the log of the self-tests."""
        entered = [block for block in runtime.blocks.values() if block.id in runtime.entered]
        return {
            "blocks": [f"{os.path.basename(block.file)}:{block.line}" for block in entered],
            "replayed": self.replayed,
            "agreed": self.agreed,
            "differed": self.differed,
            "not_replayed": self.refused,
            "surveyed": self.surveyed,
            "survey_notes": self.survey_notes,
        }

    def refuse(self, reason: str) -> None:
        """A healthy step could not be repeated."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def note(self, step: int, live: str, outcome: Outcome, differing: int) -> None:
        """Count one repetition of a healthy step."""
        if outcome.unrepeatable is not None:
            self.refuse(outcome.unrepeatable)
            return
        self.replayed += 1
        what = []
        if outcome.exception is not None:
            what.append(f"the repetition raised {outcome.exception.type}: {outcome.exception.message}")
        if outcome.fingerprint != live:
            what.append(f"losses and gradient norms {outcome.fingerprint} instead of {live}")
        if differing:
            what.append(f"{differing} tensors of the resulting state")
        if what:
            self.differed.append({"step": step, "what": "; ".join(what)})
        else:
            self.agreed += 1


def rehearse(scene: Scene, inquiry: Inquiry, log: ReplayLog, sensors: Sensors, live: Live) -> Iterator[Attempt]:
    """Repeat a healthy step twice and compare bit for bit: the proof that repetitions mean something."""
    live_print = fingerprint(scene.window.losses, [norm for one in scene.window.passes for norm in one.norms], ())
    for _ in range(2):
        if inquiry.unrepeatable is not None:
            log.refuse(inquiry.unrepeatable)
            continue
        outcome = yield from inquiry.repeat(ReplayRequest("control"), sensors, live)
        log.note(live.updates.last, live_print, outcome, inquiry.differing_from_post() if outcome.unrepeatable is None else 0)
    inquiry.finish()


def unwrapped(steps: int, log: ReplayLog) -> list[Warning]:
    """What a report should say of `steps` updates that were taken outside any loop that was wrapped."""
    if not steps:
        return []
    if shield.is_off("transaction"):
        return [Warning(
            "not-wrapped",
            f"{steps} updates were taken after what repeats steps had broken: they are held when they go bad, and cannot be "
            "replayed",
        )]
    if not log.replayed:
        log.refuse("the update is taken outside a loop that could be wrapped")
    return [Warning(
        "not-wrapped",
        f"{steps} updates were taken outside a loop that could be wrapped: they are held when they go bad, and cannot be "
        "replayed",
    )]
