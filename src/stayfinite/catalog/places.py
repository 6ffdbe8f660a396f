"""Where to change something: choices among the lines that made what failed.

A cause knows what it is about (a rate, the loader, the weights of a loss) and asks for the nearest line of that sort. The
lines come from the text of the source (`Case.makings`); where there are none, the cause falls back on what was seen to run.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from stayfinite.catalog.clues import finite, inputs
from stayfinite.records.incident import Case, OptimizerInfo
from stayfinite.records.location import Location
from stayfinite.records.survey import Making, Role, Subject, optimizer_name


def made(
    case: Case, of: Subject, *roles: Role, name: str | None = None, far: int = 99, fits: Callable[[Making], bool] | None = None
) -> Location | None:
    """The nearest line with one of `roles` that makes the subject `of`, the roles in the order of preference among equally
    near ones. `name`: of this one only; `far`: at most so many steps back."""
    able = [
        one for one in case.makings
        if one.of == of and one.by in roles and one.far <= far
        and (name is None or _plain(one.name) == _plain(name)) and (fits is None or fits(one))
    ]
    best = min(able, key=lambda one: (one.far, roles.index(one.by)), default=None)
    return best.location if best is not None else None


def layer(case: Case, kind: str, at: Location, *, last: bool = False) -> Location:
    """The line that builds the activation `kind` which ran at `at`, if it is a module: `at` only calls it then, and names it
    nowhere. Of equally near ones the first, or the `last`."""
    plain = kind.replace("_", "").lower()
    if not at.file or plain in re.sub(r"\W|_", "", at.code).lower():
        return at
    able = [one for one in case.makings if one.of == "operand" and one.by == "layer"
            and re.search(rf"(^|\W){plain}\(", one.location.expression[:40].lower())]
    able.sort(key=lambda one: (one.far, -one.location.line if last else one.location.line))
    return able[0].location if able else at


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
    roles: tuple[Role, ...] = ("table", "made")
    for role in roles:
        for known in _spellings(name):
            found = made(case, "batch", role, name=known) or made(case, "operand", role, name=known)
            if found is not None:
                return found
    return None


def _spellings(name: str) -> tuple[str, ...]:
    """`name`, and the name it begins with."""
    root = re.match(r"\w+", name)
    return tuple(dict.fromkeys((name, root.group() if root is not None else name)))


def _plain(name: str) -> str:
    """`name` without what may be spelled in several ways: spaces and quotes."""
    return re.sub(r"[\s\"']", "", name)


def labels(case: Case, name: str) -> Location | None:
    """The line that computes the labels or indices `name`, or writes some of them; one of the user's functions that numbers
    things is no line that calls it. A name that nothing has is that of an operator's argument: the first thing the line was
    given is meant."""
    calls = {one.location for one in case.makings if one.by == "call"}
    for fits in (lambda one: one.location not in calls, None):
        for known in (*_spellings(name), *(one.name for one in case.makings[:1] if one.of == "operand")):
            found = (made(case, "operand", "write", "made", "table", name=known, fits=fits)
                     or made(case, "batch", "write", "made", "table", name=known, fits=fits))
            if found is not None:
                return found
    return None


def fastest(case: Case) -> OptimizerInfo | None:
    """The optimizer with the highest rate; of several the first, and ``None`` if there is none."""
    return max(case.configuration.optimizers, key=highest_rate, default=None)


def highest_rate(info: OptimizerInfo) -> float:
    """The highest rate of its groups; 0 where none is a number."""
    return max((finite(one) or 0.0 for one in info.rates), default=0.0)


def rate(case: Case) -> Location | None:
    """The number that is the rate of the optimizer with the highest one, or of an update by hand."""
    found = fastest(case)
    name = optimizer_name(case.configuration.optimizers.index(found)) if found is not None else "by hand"
    return made(case, "rate", "constant", "default", name=name)


def saved_in_half(case: Case) -> Location | None:
    """The line that converts a state to float16 as it is saved, if what is bad can come of it: an infinity, and no NaN."""
    bad = [stats for stats in (*inputs(case), *case.parameters) if stats.nonfinite]
    if bad and not any(stats.posinf or stats.neginf for stats in bad):
        return None
    return made(case, "saved", "cast", fits=lambda one: "bfloat16" not in one.location.expression)
