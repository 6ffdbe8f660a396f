"""Cases written by hand of faults in the data whose maker is known: spreads and sums of 0, narrow integers, codes."""

from __future__ import annotations

from typing import Any

from catalog.writing import Written, case, inf_of, origin, stats

from stayfinite.records.incident import Case
from stayfinite.records.location import Location
from stayfinite.records.survey import Birth
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, Scalar, Trace

SCALED = Location(file="prepare.py", line=14, function="scale", code="return (x - x.mean(0)) / spread")
SQUARED = Location(file="prepare.py", line=18, function="power", code="power = clip * clip")


def _divided(by: str, divisor: str, value: float = 0.0, **rest: Any) -> Birth:
    made = (stats("x", (400, 5), culprit=0.0), stats(divisor, (5,), min=0.0, zero=int(value == 0.0), culprit=value))
    return Birth(SCALED, "`x / s` gave 400 NaN of 2000 numbers", "setup", op="div", inputs=made, operand_by=by, **rest)


def _born(birth: Birth | None, samples: tuple[int, ...] = (), columns: tuple[str, ...] = (), at: int = 3) -> Case:
    x: TensorStats = stats("x", (32, 5), nan=32, culprit="nan", culprit_index=(0, 2))
    leaf = Trace(leaves=(Leaf("batch", "x", x, 2, samples),))
    place = origin("input", "data", [x], samples=samples, columns=columns, birth=birth)
    return case(place, at, trace=leaf, batch=(x, stats("y", (32,))))


def _coded(value: float, count: int, typical: float, samples: tuple[int, ...] = ()) -> Case:
    x = stats("x", (32, 3), max=value, absmax_index=(4, 1), absmax_count=count, typical_row=typical)
    place = origin("pow", "forward", [stats("x", (32, 3), max=value, culprit=value)], inf_of((32, 3)), samples=samples,
                   scalars=(Scalar("exponent", 2.0),))
    return case(place, 300, batch=(x, stats("y", (32,))))


def data() -> list[Written]:
    """Each with the causes it must not be taken for."""
    alike = ("zero-variance-feature", "degenerate-normalization", "integer-overflow", "nonfinite-input", "extreme-input")

    def others(name: str) -> tuple[str, ...]:
        return tuple(one for one in alike if one != name)

    wraps = Birth(SCALED, "`np.sqrt(power.mean())` gave NaN from finite values", "data set", op="sqrt",
                  inputs=(stats("power.mean()", (), culprit=-414.0),), wrapped="`clip * clip` left the range of int16", wrapped_at=SQUARED)
    read = Birth(SCALED, "`pd.read_csv(path)` gave 3 NaN of 600 numbers: they stand in what it reads", "setup")
    return [
        Written("a constant column and its deviation", _born(_divided("std", "spread"), columns=("2",)), "zero-variance-feature",
                others("zero-variance-feature")),
        Written("a constant column and its range", _born(_divided("ptp", "high - low")), "zero-variance-feature",
                others("zero-variance-feature")),
        Written("a crop of one pixel", _born(_divided("std", "part.std()"), samples=(7,)), "degenerate-normalization",
                others("degenerate-normalization")),
        Written("a document without words", _born(_divided("sum", "counts.sum()"), samples=(3, 9)), "degenerate-normalization",
                others("degenerate-normalization")),
        Written("the root of a wrapped mean", _born(wraps, samples=(19,)), "integer-overflow", others("integer-overflow")),
        Written("a blank cell that was read", _born(read, samples=(11,)), "nonfinite-input", others("nonfinite-input")),
        Written("a division by a reading of 0", _born(_divided("", "dark", 0.0), samples=(11,)), "nonfinite-input",
                others("nonfinite-input")),
        Written("a bad cell of which nothing is known", _born(None, samples=(11,)), "nonfinite-input", others("nonfinite-input")),
        Written("a fill value in many cells", _coded(9.96921e36, 18, 2.0, (3, 4)), "extreme-input",
                ("corrupt-sample", "unscaled-input", *others("extreme-input"))),
        Written("a code of a meter", _coded(1e20, 4, 21.0), "extreme-input", ("corrupt-sample", "unscaled-input")),
        Written("a glitch that is there once", _coded(4.7e21, 1, 1.3, (4,)), "corrupt-sample", ("extreme-input", "nonfinite-input")),
    ]
