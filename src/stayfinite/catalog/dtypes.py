"""Floating-point formats: how large, how small, how fine. All numbers follow from precision and exponent range."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class DtypeFacts:
    """A binary floating-point format. **Fields**: `bits` of storage; `precision`, significand bits with the hidden one;
    `max_exponent`, of the largest finite number; `largest` finite; `smallest_normal`; `smallest` positive (subnormal);
    `epsilon`, from 1 to the next number.
    """

    name: str
    bits: int
    precision: int
    max_exponent: int

    @property
    def largest(self) -> float:
        """(2 - 2^(1-p)) * 2^emax, IEEE 754."""
        return (2.0 - 2.0 ** (1 - self.precision)) * 2.0**self.max_exponent

    @property
    def smallest_normal(self) -> float:
        """2^emin with emin = 1 - emax, IEEE 754."""
        return 2.0 ** (1 - self.max_exponent)

    @property
    def smallest(self) -> float:
        """2^(emin - p + 1): below half of it everything rounds to 0."""
        return 2.0 ** (2 - self.max_exponent - self.precision)

    @property
    def epsilon(self) -> float:
        """2^(1-p)."""
        return 2.0 ** (1 - self.precision)


DTYPES: MappingProxyType[str, DtypeFacts] = MappingProxyType(
    {
        facts.name: facts
        for facts in (
            DtypeFacts("float16", 16, 11, 15),
            DtypeFacts("bfloat16", 16, 8, 127),
            DtypeFacts("float32", 32, 24, 127),
            DtypeFacts("float64", 64, 53, 1023),
        )
    }
)
"""IEEE 754 binary16, binary32, binary64, and bfloat16 (binary32 cut to 8 significand bits)."""

_REAL_PART = {"complex32": "float16", "complex64": "float32", "complex128": "float64", "float": "float32",
              "double": "float64", "half": "float16"}


def dtype_facts(dtype: str) -> DtypeFacts | None:
    """Facts of `dtype` (``"float32"``, ``"complex64"`` by its parts); ``None`` for integers and formats not listed."""
    return DTYPES.get(_REAL_PART.get(dtype, dtype))
