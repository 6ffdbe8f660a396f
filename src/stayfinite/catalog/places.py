"""Where to change something: choices among the lines that made what failed.

A cause knows what it is about (a rate, the loader, the weights of a loss) and asks for the nearest line of that sort. The
lines come from the text of the source (`Case.makings`); where there are none, the cause falls back on what was seen to run.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from stayfinite.records.incident import Case
from stayfinite.records.location import Location
from stayfinite.records.survey import Making, Role, Subject


def made(
    case: Case, of: Subject, *roles: Role, name: str | None = None, far: int = 99, fits: Callable[[Making], bool] | None = None
) -> Location | None:
    """The nearest line with one of `roles` that makes the subject `of`, the roles in the order of preference among equally
    near ones. `name`: of this one only; `far`: at most so many steps back."""
    able = [
        one for one in case.makings
        if one.of == of and one.by in roles and one.far <= far and (name is None or one.name == name) and (fits is None or fits(one))
    ]
    best = min(able, key=lambda one: (one.far, roles.index(one.by)), default=None)
    return best.location if best is not None else None


def single_row(case: Case) -> bool:
    """True if the batch holds one sample, as the last one of a data set may."""
    if case.batch_size == 1:
        return True
    firsts = {stats.shape[0] for stats in case.trace.model_inputs if stats.shape}
    return firsts == {1}


def loader(case: Case) -> Location | None:
    """The line that cuts the data into batches."""
    return made(case, "loop", "loader") or made(case, "batch", "loader") or made(case, "operand", "loader")


def data(case: Case, name: str) -> Location | None:
    """The line that makes the data of which the tensor `name` of the batch is a part: the last one before they are cut into
    batches; else, where batches are made one at a time, the line that makes this one."""
    root = re.match(r"\w+", name)
    for known in dict.fromkeys((name, root.group() if root is not None else name)):
        for of in ("batch", "operand"):
            found = made(case, of, "table", name=known)
            if found is not None:
                return found
    return made(case, "batch", "made", name=name)


def labels(case: Case, name: str) -> Location | None:
    """The line that computes the labels or indices `name`, or writes some of them."""
    root = re.match(r"\w+", name)
    for known in dict.fromkeys((name, root.group() if root is not None else name)):
        found = made(case, "operand", "write", "made", "table", name=known) or made(case, "batch", "write", "made", "table", name=known)
        if found is not None:
            return found
    return None


def rate(case: Case) -> Location | None:
    """The number that is the rate of the first optimizer, or of an update by hand."""
    kind = case.configuration.optimizers[0].kind if case.configuration.optimizers else "by hand"
    return made(case, "rate", "constant", "default", name=kind)


def saved_in_half(case: Case) -> Location | None:
    """The line that converts a state to a half-precision format as it is saved."""
    return made(case, "saved", "cast")
