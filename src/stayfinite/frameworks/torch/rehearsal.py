"""What forced repetitions of healthy steps said: the proof that a repetition means something."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stayfinite.engine.ports import Outcome


@dataclass
class ReplayLog:
    """What forced repetitions of healthy steps said. `replayed` counts repetitions, `agreed` the bit-equal ones."""

    replayed: int = 0
    agreed: int = 0
    differed: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)

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
