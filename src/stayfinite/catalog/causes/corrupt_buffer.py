"""A buffer of the model, such as a running variance, was already bad.

What happens
------------
Buffers are written in the forward pass, outside of what an optimizer or a gradient check sees. One bad batch (a
single value per channel, a NaN sample) poisons running statistics for good; training mode does not read them,
evaluation does.

How to recognise it
-------------------
A buffer is non-finite, or a running variance negative, before the step computed anything.

What to do
----------
Reset the statistics (`reset_running_stats`) and keep such batches away: drop a last batch of one sample, freeze
statistics while the data are suspect.

Example
-------
::

    loader = DataLoader(data, batch_size=32)                      # the last batch may hold one sample
    loader = DataLoader(data, batch_size=32, drop_last=True)

References
----------
pytorch/pytorch#1206, facebookresearch/SparseConvNet#190
"""

from __future__ import annotations

import re

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import bad_leaf, birth_location, finite, inputs, made_by, state_born
from stayfinite.catalog.places import made
from stayfinite.catalog.predictions import mended
from stayfinite.catalog.scales import lone_element, lone_mended, told_alone
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import show

NEAR = 2
"""Steps back within which a division is what made the buffer, and no line of those that made the data."""

TITLE = "Corrupt buffer"
PRIOR = prior(threads=2)
APPLIES_TO = Scope()
EXAMPLES = ("corrupt-buffer", "standardised-in-eval", "rebalanced-classes", "hub-equaliser")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """Where its value was made, or it was given another one after the model was built; else where it was first used."""
    born = birth_location(case) if made_by(case) else None
    return born or made(case, "operand", "divide", far=NEAR) or _assigned(case) or made(case, "operand", "divide") or birth_location(case)


def _assigned(case: Case) -> Location | None:
    """The line that puts something else into the buffer, outside of a constructor: ``self.offset = torch.tensor(means)``."""
    name = re.escape((case.origin.buffer or "").rpartition(".")[2]) if case.origin is not None else ""
    writes = re.compile(rf"\.{name}(\[.*\])?(\.data)?\s*(=(?!=)|\.(copy_|set_)\()")
    return next((one.location for one in case.makings if name and one.of == "operand" and one.far <= 1 and writes.search(one.location.code)
                 and not one.location.function.endswith("__init__")), None)


def evidence(case: Case) -> list[Evidence]:
    """Whether a buffer was bad before the step, and since when."""
    found = [_state(case)]
    if made_by(case) in ("checkpoint", "constructor"):
        found.append(Evidence(f"it was bad in the {made_by(case)} already", -6.0, "checkpoint"))
    elif case.symptom.step == 0 and case.configuration.checkpoint is not None and not case.configuration.loaded_finite:
        found.append(Evidence("it may have come with the state that was loaded", -3.0, "checkpoint"))
    if made(case, "weight", "divide") is not None and case.origin is not None and case.origin.buffer in ("weight", "pos_weight"):
        found.append(Evidence("it weights the classes of a loss, which was constructed with it: no step writes it", -5.0, "use"))
    return found


def _state(case: Case) -> Evidence:
    if state_born(case) == "buffer":
        name = case.origin.buffer if case.origin is not None else None
        return Evidence(f"{f'the buffer `{name}`' if name else 'a buffer'} was non-finite before the step", 9.0,
                        "origin-leaf")
    variance = next((s for s in inputs(case) if "var" in s.name and "running" in s.name), None)
    if variance is not None and (finite(variance.min) or 0.0) < 0.0:
        return Evidence(f"`{variance.name}` goes down to {show(variance.min)}: a variance is not negative", 8.0,
                        "origin-leaf")
    if case.origin is None and bad_leaf(case, "buffer") is not None:
        return Evidence("a buffer was non-finite before the step", 5.0, "origin-leaf")
    alone = lone_element(case, "buffer")
    if alone is not None:
        return Evidence(told_alone(alone), 12.0, "origin-leaf")
    return Evidence("no buffer on the path was bad before the step", -9.0, "origin-leaf")


def predict(case: Case) -> list[Prediction]:
    """With the bad elements of the buffer set to what a fresh one has, the step passes."""
    return lone_mended(case, "buffer", "buffers") or mended(case, "buffers")
