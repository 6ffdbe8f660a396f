"""A label sequence is longer than the input it has to be aligned with.

What happens
------------
CTC gives each input frame one label or a blank, and needs a blank between two equal labels. A target of L labels with
r equal neighbours needs L + r frames; with fewer there is no alignment at all. Its probability is 0, its loss an
infinity, its gradient NaN. Short recordings, narrow images and networks that pool away too many frames do it.

How to recognise it
-------------------
The origin is the CTC loss, its log-probabilities are finite, and for the samples that are infinite the input length is
below the target length plus the repeated labels. The same samples do it in each epoch.

What to do
----------
Leave such samples out when the data are read, or shrink the input less before the loss. `zero_infinity=True` sets their
loss and gradient to 0; count how many there are, for they are not learned from.

Example
-------
::

    loss = F.ctc_loss(log_probs, targets, frames, lengths)
    loss = F.ctc_loss(log_probs, targets, frames, lengths, zero_infinity=True)

References
----------
ypwhs/captcha_break#29, SeanNaren/warp-ctc#29, wenet-e2e/wenet#2299
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import inputs, origin_location, scalars
from stayfinite.catalog.operator_predictions import stable
from stayfinite.catalog.places import made
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location

TITLE = "Target too long for its input"
PRIOR = prior(threads=3)
APPLIES_TO = Scope(phases=COMPUTED, kinds=frozenset({"ctc_loss"}))
EXAMPLES = ("captcha-lines", "morse-transcripts")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The test that lets items into the data; else where the loss is taken."""
    return made(case, "operand", "filter") or origin_location(case)


def evidence(case: Case) -> list[Evidence]:
    """The lengths of the lines that have no loss."""
    if any(stats.nonfinite for stats in inputs(case)):
        return [Evidence("the log-probabilities were not finite: they were made before", -8.0, "operand-value")]
    told = scalars(case)
    if "infeasible" not in told:
        return [Evidence("the lengths are not known", 0.0, "lengths"), Evidence("the origin is a CTC loss", 3.0, "origin-kind")]
    if not told["infeasible"]:
        return [Evidence("every target fits into its input", -8.0, "lengths")]
    count = f"{told['infeasible']:.0f} of {told['samples']:.0f} targets do not fit into their inputs"
    if "input_length" in told:
        length, frames, repeats = told["target_length"], told["input_length"], told["repeats"]
        count += (f": sample {told['sample']:.0f} has {length:.0f} labels with {repeats:.0f} repeats, which need "
                  f"{length + repeats:.0f} frames, and has {frames:.0f}")
    return [Evidence(count, 9.0, "lengths"), Evidence("the origin is a CTC loss", 3.0, "origin-kind")]


def predict(case: Case) -> list[Prediction]:
    """With a loss of 0 for the targets that do not fit the step passes."""
    return stable(case, "zero-infinity")
