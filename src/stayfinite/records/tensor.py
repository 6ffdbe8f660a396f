"""Statistics of one tensor, taken while it was alive."""

from __future__ import annotations

import msgspec

from stayfinite.records.location import Location
from stayfinite.records.numbers import Number


class TensorStats(msgspec.Struct, frozen=True):
    """What is worth knowing of a tensor once it is gone.

    **Fields**

    - `name`: the operand's source text (``"p"``), a parameter's dotted name, or the operator's argument name.
    - `shape`, `dtype`: as the framework spells them, without its prefix (``"float32"``).
    - `nan`, `posinf`, `neginf`, `zero`: how many elements.
    - `min`, `max`: over the finite elements; ``"nan"`` if there is none.
    - `absmax_index`: index of the finite element of largest magnitude; `typical_row`: the median, over the rows (first
      dimension), of a row's largest finite magnitude; `absmax_count`: how many elements have exactly that largest magnitude.
      Known for the tensors of a batch; empty, ``None`` and 0 elsewhere.
    - `culprit_index`, `culprit`: the index of the first element that made the output non-finite, and its value here
      (``None`` where shapes do not line up).
    - `made_by`: canonical kinds of the operators of the step that made an operand, the last one first, following first
      operands; copies and casts are left out, and a view without elements is a ``"move"``; at most four. `made_at`: the
      line of the last one. Empty and ``None`` for what was there before the step.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nan: int = 0
    posinf: int = 0
    neginf: int = 0
    zero: int = 0
    min: Number = "nan"
    max: Number = "nan"
    culprit_index: tuple[int, ...] = ()
    culprit: Number | None = None
    absmax_index: tuple[int, ...] = ()
    typical_row: Number | None = None
    made_by: tuple[str, ...] = ()
    made_at: Location | None = None
    absmax_count: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        total = 1
        for extent in self.shape:
            total *= extent
        return total

    @property
    def nonfinite(self) -> int:
        """How many elements are NaN or infinite."""
        return self.nan + self.posinf + self.neginf
