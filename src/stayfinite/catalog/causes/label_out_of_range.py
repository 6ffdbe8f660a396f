"""A label or an index is outside of what the table or the scores have room for.

What happens
------------
With 10 classes labels run from 0 to 9. A label of 10, or ids that begin at 1, reads past the end: an exception on the
CPU, an assertion or a NaN on an accelerator. The same holds for token ids beyond the vocabulary.

How to recognise it
-------------------
The step ends with an index error inside a cross-entropy or an embedding, or the largest label is not below the number
of classes.

What to do
----------
Make the last layer as wide as the largest label plus one, or shift the labels to begin at 0. Give padding the index
that the loss ignores (-100 by default).

Example
-------
::

    loss = F.cross_entropy(scores, labels)                        # labels 1..10, scores for 10 classes
    loss = F.cross_entropy(scores, labels - 1)

References
----------
tensorflow/tensorflow#8484, keras-team/keras#11786, yyccR/yolov5_in_tf2_keras#5
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import finite, inputs, origin_location, raised
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.operator_predictions import indices_in_range
from stayfinite.catalog.places import labels
from stayfinite.catalog.predictions import filled, without_samples
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats

_OUTSIDE = r"out of bounds|out of range|not in the valid range|n_classes|[Cc]lass values must be|device-side assert"

_BY_ROW = frozenset({"embedding", "index", "scatter"})

TITLE = "Label or index out of range"
PRIOR = prior(threads=3)
APPLIES_TO = Scope(
    kinds=frozenset({"nll_loss", "cross_entropy", "embedding", "index", "scatter"}), messages=_OUTSIDE
)
EXAMPLES = ("label-out-of-range", "survival-intervals", "unknown-word")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that makes the labels or indices; else where they were first used."""
    given = next((stats for stats in inputs(case) if dtype_facts(stats.dtype) is None), None)
    return (labels(case, given.name) if given is not None else None) or origin_location(case)


def evidence(case: Case) -> list[Evidence]:
    """The labels against the number of classes or rows, and what an exception says."""
    found = []
    if case.exception is not None and raised(case, _OUTSIDE):
        sure = not raised(case, "device-side assert")
        said = f"{case.exception.type}: {case.exception.message[:80]}"
        found.append(Evidence(said, 8.0 if sure else 4.0, "exception"))
    given = inputs(case)
    indices = next((stats for stats in given if dtype_facts(stats.dtype) is None), None)
    table = next((stats for stats in given if dtype_facts(stats.dtype) is not None and stats.shape), None)
    if indices is None or table is None or case.origin is None:
        return found or [Evidence("no label is known to be out of range", -6.0, "labels")]
    by_row = case.origin.op in _BY_ROW
    room = _room(case.origin.op, table)
    high, low = finite(indices.max), finite(indices.min)
    if high is not None and high >= room:
        found.append(Evidence(f"`{indices.name}` goes up to {show(high)}, there is room for 0 to {room - 1}", 8.0,
                              "labels"))
    elif low is not None and low < 0.0 and not by_row and raised(case, _OUTSIDE):
        found.append(Evidence(f"`{indices.name}` goes down to {show(low)}", 4.0, "labels"))
    elif not found:
        found.append(Evidence(f"all of `{indices.name}` lies within 0 to {room - 1}", -8.0, "labels"))
    return found


def _room(op: str, table: TensorStats) -> int:
    """How many classes or rows there are."""
    return table.shape[0] if op in _BY_ROW or len(table.shape) < 2 else table.shape[1]


def predict(case: Case) -> list[Prediction]:
    """Without the samples whose label or index is out of range the step passes, and with those in range that are not."""
    given = inputs(case)
    indices = next((stats for stats in given if dtype_facts(stats.dtype) is None), None)
    table = next((stats for stats in given if dtype_facts(stats.dtype) is not None and stats.shape), None)
    if indices is None or table is None or case.origin is None:
        return [*without_samples(case), *indices_in_range(case)]
    room = _room(case.origin.op, table)
    names = [stats.name for stats in case.batch if dtype_facts(stats.dtype) is None and (finite(stats.max) or 0.0) >= room]
    return [*without_samples(case), *filled(case, tuple(names), float(room)), *indices_in_range(case)]
