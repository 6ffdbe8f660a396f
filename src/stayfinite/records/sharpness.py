"""How sharply a loss was curved where a step was taken, and how long the step was for that."""

from __future__ import annotations

import msgspec


class Sharpness(msgspec.Struct, frozen=True):
    """The stability of one optimizer's updates at one step.

    **Fields**

    - `step`: number of the update it was measured at, by the counting of its optimizer.
    - `product`: the learning rate times the largest eigenvalue of the Hessian of the loss. Where an optimizer divides by running
      squares (Adam), each direction counts with the rate it is stepped by; where gradients were clipped, with the share that was
      left of them.
    - `limit`: the largest product at which the updates of that optimizer are stable on a quadratic loss: 2(1 + b) with momentum b,
      2(1 + b)/(1 + 2b) with Nesterov's, 2(1 + b)/(1 - b) where the gradient enters the average with 1 - b (Adam's first beta).
      Source: Cohen et al. 2021, arXiv:2103.00065, section 2, and 2022, arXiv:2207.14484, section 2.
    - `optimizer`: its class name.
    """

    step: int
    product: float
    limit: float
    optimizer: str

    @property
    def ratio(self) -> float:
        """The product in limits: above 1 each update overshoots by more than the one before."""
        return self.product / self.limit
