"""The same step, repeated with the same numbers, did not fail again.

What happens
------------
Inputs, state and random generators of the repetition were equal to the last bit, and the outcome was not. What
differs is outside of the program's numbers: a hardware fault, an overclocked or failing device, a race between
streams, memory that is reused while it is still read, a kernel with unordered atomic additions.

How to recognise it
-------------------
Control replays of the held step disagree with it or with each other although their inputs agree.

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
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case

TITLE = "Not reproduced: a transient fault"
PRIOR = prior(threads=7)
APPLIES_TO = Scope(replayed=True)
EXAMPLES = ("transient-fault", "flaky-augment")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate"]


def evidence(case: Case) -> list[Evidence]:
    """What the control replays said."""
    replay = case.replay
    if replay.not_tested is not None or not replay.same_inputs or replay.attempts == 0:
        return []
    times = "once" if replay.attempts == 1 else f"{replay.attempts} times"
    if not replay.agreed:
        return [Evidence(f"repeated {times} with equal inputs, state and generators, the step came out differently",
                         11.0, "replay")]
    return [Evidence(f"repeated {times}, the step failed in the same way", -6.0 if replay.attempts == 1 else -9.0,
                     "replay")]
