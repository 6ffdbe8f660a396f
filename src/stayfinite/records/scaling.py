"""How a loss was scaled for a format with little range, and what was done with it that scaling does not allow."""

from __future__ import annotations

from typing import Literal

import msgspec

from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import Number

MisuseKind = Literal["clipped-scaled", "stepped-scaled", "unscaled-loss", "not-divided"]


class Misuse(msgspec.Struct, frozen=True):
    """One thing that was done to scaled gradients, or left undone.

    - `clipped-scaled`: gradients were clipped while they were still multiplied with the scale.
    - `stepped-scaled`: an optimizer was stepped by itself, with gradients that still carried the scale.
    - `unscaled-loss`: a loss was differentiated as it was, and its gradients were divided by the scale all the same.
    - `not-divided`: the script multiplied the loss with a number of its own, and stepped without dividing by it.

    `factor`: what the gradients were too large by (too small, for `unscaled-loss`) at the latest of `times`; `location`: the
    call that did it.
    """

    kind: MisuseKind
    times: int
    factor: Number
    location: Location = UNKNOWN_LOCATION


class LossScaling(msgspec.Struct, frozen=True):
    """A gradient scaler as it was used up to the failing update (or none: `scale` is ``None``).

    **Fields**

    - `initial`, `scale`: the factor it began with, and the one in use; `growth_factor`, `backoff_factor`,
      `growth_interval`: how it changes.
    - `asked`, `skipped`: updates of the failing optimizer that were asked for through a scaler, and those it skipped;
      `in_a_row`: skipped without one taken between, the latest included; `began`: the factor at the first of these.
    - `scalers`: how many scalers stepped this optimizer; a new one begins its calibration from the start.
    - `location`: where the scaler was constructed.
    """

    scale: Number | None = None
    initial: Number | None = None
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000
    asked: int = 0
    skipped: int = 0
    in_a_row: int = 0
    began: Number | None = None
    scalers: int = 1
    location: Location = UNKNOWN_LOCATION
    misuses: tuple[Misuse, ...] = ()

    def misuse(self, kind: MisuseKind) -> Misuse | None:
        """The misuse of that kind, or ``None``."""
        return next((one for one in self.misuses if one.kind == kind), None)
