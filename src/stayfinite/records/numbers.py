"""Numbers that may be non-finite, in a form JSON can carry.

JSON has no NaN and no infinity, and writers that emit them anyway produce files other readers refuse. Everywhere in
our files a non-finite number is one of the strings ``"nan"``, ``"+inf"``, ``"-inf"``.
"""

from __future__ import annotations

import math
from typing import Literal, Union

Number = Union[float, Literal["nan", "+inf", "-inf"]]

_FROM_TEXT = {"nan": math.nan, "+inf": math.inf, "-inf": -math.inf}


def to_number(value: float) -> Number:
    """`value` as a JSON-safe number: finite values as they are, others as ``"nan"``, ``"+inf"`` or ``"-inf"``."""
    if math.isfinite(value):
        return float(value)
    if math.isnan(value):
        return "nan"
    return "+inf" if value > 0 else "-inf"


def to_float(number: Number) -> float:
    """The float that `number` stands for; the inverse of `to_number`."""
    return _FROM_TEXT[number] if isinstance(number, str) else float(number)


def is_finite(number: Number) -> bool:
    """True if `number` is an ordinary finite number."""
    return not isinstance(number, str) and math.isfinite(number)


def show(number: Number) -> str:
    """`number` as people read it: at most four significant digits, ``nan``, ``+inf`` or ``-inf``."""
    return number if isinstance(number, str) else f"{number:.4g}"
