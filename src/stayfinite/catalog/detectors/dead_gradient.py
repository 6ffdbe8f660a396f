"""The gradient is exactly zero, update after update.

What it watches
---------------
The L2 norm over all gradients of every step, before any clipping (series ``gradient_norm``).

When it fires
-------------
At the third reading in a row that is exactly 0. It fires once, and again only after a gradient came back.

Where the limit comes from
--------------------------
Sums of floating-point products are exactly zero only where every term is: one lively unit in one sample keeps the norm
above 0, however small. Single zeros do happen (a hinge loss on a batch without mistakes, a batch whose labels are all
ignored), so three in a row are asked for, and a repetition of the step must show where the gradient ends, at a loss that
is not 0.

What to do
----------
Nothing is learned any more, whatever the loss says. The report names the operation behind which the gradient is zero.
"""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, first_of
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("gradient_norm",)
STOPS = False

IN_A_ROW = 3
SOURCE = "a sum of products is exactly 0 only where every term is; three updates in a row are no chance"

FIRES: tuple[tuple[Number, ...], ...] = (
    (0.0, 0.0, 0.0),
    (1.2, 0.9, 3.1, 240.0, 0.0, 0.0, 0.0, 0.0),  # one bad update, and every unit is dead
)
SILENT: tuple[tuple[Number, ...], ...] = (
    (),
    (0.8, 0.7, 0.9, 0.6),
    (0.8, 0.0, 0.0, 0.4, 0.0, 0.0, 0.3),  # a perceptron that makes no mistake on most batches
    (1e-3, 1e-9, 1e-21, 1e-30, 1e-38),  # converged: small is not zero
)


class Running:
    """The detector between two readings."""

    __slots__ = ("_zeros",)

    def __init__(self) -> None:
        self._zeros = 0

    def update(self, step: int, value: float) -> Detection | None:
        """Judge one reading."""
        if value != 0.0:
            self._zeros = 0
            return None
        self._zeros += 1
        return Detection(step, value, "more than 0", SOURCE) if self._zeros == IN_A_ROW else None


def detect(window: Window) -> Detection | None:
    """The first dead gradient in `window`; ``None`` if there is none."""
    return first_of(Running(), window)
