"""The same step, repeated with the same numbers, did not fail again; or a single number of the weights is what no step makes.

What happens
------------
Inputs, state and random generators of the repetition were equal to the last bit, and the outcome was not. What
differs is outside of the program's numbers: a hardware fault, an overclocked or failing device, a race between
streams, memory that is reused while it is still read, a kernel with unordered atomic additions. A bit that fell over
in a weight stays there: the highest bit of its exponent makes it 2^128 times as large, and every repetition fails.

How to recognise it
-------------------
Control replays of the held step disagree with it or with each other although their inputs agree. Or they agree, and
exactly one element of one weight is a million times and more beyond all others, after a loss that was calm.

What to do
----------
Run the doctor command and look for device errors in the system log. Move the job to another device. If it stays,
switch on deterministic algorithms and blocking launches, and look at non-blocking copies and custom kernels.

Example
-------
::

    batch = batch.to("cpu", non_blocking=True)                    # read before the copy has ended
    batch = batch.to("cpu")

References
----------
pytorch/torchtitan#951, microsoft/dion#76, deepseek-ai/DeepEP#589, meta-pytorch/torchrec#4218,
invoke-ai/InvokeAI#6624, MakazhanAlpamys/Soup#342
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.scales import lone_element, lone_mended, told_alone
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction

TITLE = "A transient fault"
PRIOR = prior(threads=7)
APPLIES_TO = Scope(replayed=True)
EXAMPLES = ("transient-fault", "flaky-augment")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """What the control replays said, and whether one number of the weights is what no update makes."""
    alone = lone_element(case, "parameter")
    if alone is not None:
        return [Evidence(told_alone(alone), 12.0, "replay")]
    replay = case.replay
    if replay.not_tested is not None or not replay.same_inputs or replay.attempts == 0:
        return []
    times = "once" if replay.attempts == 1 else f"{replay.attempts} times"
    if not replay.agreed:
        return [Evidence(f"repeated {times} with equal inputs, state and generators, the step came out differently",
                         11.0, "replay")]
    return [Evidence(f"repeated {times}, the step failed in the same way", -6.0 if replay.attempts == 1 else -9.0,
                     "replay")]


def predict(case: Case) -> list[Prediction]:
    """What does not happen again cannot be tried. What it left in the weights can: with that one number drawn anew the step
    passes."""
    return lone_mended(case, "parameter", "parameters")
