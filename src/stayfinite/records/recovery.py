"""What was done about a failing training while it ran, so that it could go on."""

from __future__ import annotations

from typing import Literal

import msgspec

MeasureKind = Literal["left-out", "mended", "rewound", "remedied", "begun-again", "overcome", "gave-up"]


class Measure(msgspec.Struct, frozen=True, tag="measure"):
    """One thing that was done, or came of it.

    - `kind`: ``left-out``: the update was not taken; ``mended``: what was not finite in parameters, buffers, moments or rates
      was replaced; ``rewound``: the state is that of an earlier step again, the data goes on; ``remedied``: a change with which the
      held step passes, or of which only the run can tell, is made from here on; ``begun-again``: the script begins again with the
      patch of a verified cure; ``overcome``: enough healthy steps followed; ``gave-up``: nothing helped.
    - `step`: the update at which it was done; `back_to`: the update before which the state now is, where it was rewound.
    - `incident`: id of the failure it answers. `told`: what was done, in words.
    - `rate`: the share of the script's own learning rate that updates end up with; `clip`: the limit of their gradient norm.
    """

    kind: MeasureKind
    step: int
    told: str
    incident: str = ""
    back_to: int | None = None
    rate: float = 1.0
    clip: float | None = None


class Toll(msgspec.Struct, frozen=True, tag="toll"):
    """How much was done in all, counted to the end of the run: updates left out, states mended, rewinds, remedies applied, times
    that the script began again. A run that began again has one for each time."""

    left_out: int = 0
    mended: int = 0
    rewound: int = 0
    remedied: int = 0
    rate: float = 1.0
    """The share of the script's own learning rate at the end."""
    begun_again: int = 0

    def after(self, earlier: Toll | None) -> Toll:
        """This one of a script that began again, with what was done before it did."""
        if earlier is None:
            return self
        return Toll(
            self.left_out + earlier.left_out, self.mended + earlier.mended, self.rewound + earlier.rewound,
            self.remedied + earlier.remedied, self.rate, self.begun_again + earlier.begun_again,
        )
