"""Names of the columns of a tabular batch that hold the bad values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from stayfinite.rewrite.births.sight import array_of, bad_part, is_table

_SAYS_SO = re.compile(r"col|feat|field|input|predictor|variable", re.I)
_SAYS_OTHERWISE = re.compile(r"class|label|target|word|token|file|path", re.I)
MOST = 16
"""Columns that are named; if more are bad, the rows are the news and not the columns."""


def bad_columns(batch: Any, limit: float, places: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of a table of numbers `batch` (rows, columns) that hold bad values: by name where a table or a list of
    names of that width is among `places`, else by index. Empty for other shapes, and where all columns are bad."""
    values = array_of(batch)
    if values is None or values.ndim != 2 or values.dtype.kind != "f" or values.shape[1] < 2:
        return ()
    found = np.flatnonzero(bad_part(values, limit).any(axis=0))
    if not len(found) or len(found) > MOST or len(found) == values.shape[1]:
        return ()
    labels = _labels(values.shape[1], places)
    return tuple(labels[int(i)] if labels else str(int(i)) for i in found)


def _labels(width: int, places: Mapping[str, Any]) -> list[str]:
    """The names of `width` columns: of a list of names that says so, else of the one table or list of names of that width."""
    found: list[list[str]] = []
    for name, value in _reachable(places):
        if _is_names(value, width) and not _SAYS_OTHERWISE.search(name):
            named = [str(one) for one in value]
            if _SAYS_SO.search(name):
                return named
            found.append(named)
        elif is_table(value) and hasattr(value, "columns"):
            numeric = [str(one) for one in value.select_dtypes("number").columns]
            columns = [str(one) for one in value.columns]
            found += [named for named in (columns, numeric) if len(named) == width][:1]
    return found[0] if found and all(one == found[0] for one in found) else []


def _reachable(places: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found = [(name, value) for name, value in places.items() if not name.startswith("_")]
    for name, value in list(found):
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict) and not isinstance(value, type) and not is_table(value) and not callable(value):
            found += [(f"{name}.{key}", item) for key, item in list(attributes.items())[:64]]
    return found


def _is_names(value: Any, width: int) -> bool:
    plain = list(value) if isinstance(value, (list, tuple)) or type(value).__name__ == "Index" else []
    return len(plain) == width == len({one for one in plain if isinstance(one, str)})
