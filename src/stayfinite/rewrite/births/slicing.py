"""Where a second run is not possible: from a bad name back to its assignments in the source, as far as live values say which.

The last assignment of a name whose value is bad is a birth if everything it reads is finite now. That is weaker than having
seen it run: a name may have meant something else then. The answer says so.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stayfinite.records.location import Location
from stayfinite.records.survey import Birth
from stayfinite.rewrite.births.sight import is_bad
from stayfinite.rewrite.births.statements import Statement, root, statements_of

_FAR = 12
"""Assignments that are gone back through."""


def slice_back(
    known_as: Sequence[str], filename: str, before: int, names: Mapping[str, Any], relative: Callable[[str], str], limit: float
) -> Birth | None:
    """The line of `filename` above line `before` that made the bad value of the first of `known_as` that is a name there."""
    name = next((one for one in known_as if one in names and is_bad(names[one], limit)), None)
    seen: set[str] = set()
    while name is not None and name not in seen and len(seen) < _FAR:
        seen.add(name)
        last = _last(filename, name, before)
        if last is None:
            return None
        bad = [one for one in _read(last) if one != name and one in names and is_bad(names[one], limit)]
        if not bad:
            node = last.node
            text = linecache.getline(filename, node.lineno).strip()
            said = f"the last assignment of `{name}`, which is bad; what it reads is finite now (from the source, it was not run again)"
            at = Location(file=relative(filename), line=node.lineno, column=node.col_offset, end_line=node.end_lineno or -1,
                          end_column=node.end_col_offset or -1, code=text)
            return Birth(location=at, how=said, searched_in="source")
        name, before = bad[0], last.node.lineno
    return None


def _last(filename: str, name: str, before: int) -> Statement | None:
    """The last statement above line `before` that binds `name` or changes it in place."""
    found = None
    for line, statement in sorted(statements_of(filename).items()):
        if line >= before:
            break
        if any(root(target) == name for target in statement.targets):
            found = statement
    return found



def _read(statement: Statement) -> list[str]:
    return [name for chain in statement.reads if (name := root(chain))]
