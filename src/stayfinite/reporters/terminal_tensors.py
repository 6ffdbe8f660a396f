"""The operands and the result of an operation as a table; as two lines each where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from stayfinite.records.numbers import is_finite, show
from stayfinite.records.tensor import TensorStats
from stayfinite.reporters.terminal_page import Page, safe
from stayfinite.reporters.words import culprit, nonfinite, shape

_COUNTS = (("nan", "nan"), ("+inf", "posinf"), ("-inf", "neginf"), ("zeros", "zero"))


def tensor_table(page: Page, inputs: Sequence[TensorStats], output: TensorStats | None) -> None:
    """`inputs` and `output`: shape, dtype, counts, range and the element that did it; columns of zeros are left out."""
    tensors = [*inputs, *([output] if output is not None else [])]
    counts = [(title, field) for title, field in _COUNTS if any(getattr(stats, field) for stats in tensors)]
    titles = ["", "shape", "dtype", *(title for title, _ in counts), "min", "max", "element"]
    rows = [[Text(title, style="dim") for title in titles]]
    for stats in tensors:
        name = f"{page.signs.arrow} {stats.name or 'result'}" if stats is output else stats.name
        cells = [safe(name, "bold" if stats is output else ""), Text(shape(stats.shape)), safe(stats.dtype)]
        cells += [_count(getattr(stats, field), field) for _, field in counts]
        cells += [_bound(stats, stats.min), _bound(stats, stats.max), safe(culprit(stats) or "", "bold")]
        rows.append(cells)
    if not any(row[-1].plain for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    if page.fits(rows, indent=4):
        page.grid(rows, indent=4, right=frozenset(range(3, len(titles) - 1)))
        return
    for stats, cells in zip(tensors, rows[1:], strict=True):
        page.put(cells[0] + safe(f"  {shape(stats.shape)} {stats.dtype}", "dim"), indent=4, hang=2)
        said = nonfinite(stats)
        if stats.nonfinite and is_finite(stats.min):
            said += f", the rest {show(stats.min)} to {show(stats.max)}"
        if stats.zero:
            said += f", {stats.zero} zero{'s' if stats.zero > 1 else ''}"
        page.put(safe(said), indent=6)
        if element := culprit(stats):
            page.put(safe(element, "bold"), indent=6)


def _count(count: int, field: str) -> Text:
    return Text(str(count), style="dim" if not count else "" if field == "zero" else "red")


def _bound(stats: TensorStats, bound: float | str) -> Text:
    return Text("" if stats.size and not is_finite(bound) else show(bound))  # type: ignore[arg-type]
