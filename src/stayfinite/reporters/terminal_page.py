"""A page of text for a terminal: wrapping, hanging indents, grids, excerpts, and signs the terminal can show.

Everything is laid out by display cells, so wide characters do not shift what stands under them. Text from outside is
only ever put into `rich.text.Text`, never read as markup.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from stayfinite.records.numbers import Number, is_finite, show
from stayfinite.reporters.signs import Signs
from stayfinite.reporters.words import printable

PROSE = 100
"""Running text is not set wider than this, however wide the terminal is."""


class Page:
    """Lines in the making, `width` cells wide."""

    def __init__(self, width: int, signs: Signs, *, color: bool) -> None:
        self.width = width
        self.signs = signs
        self.color = color
        self._console = Console(
            file=io.StringIO(), width=width, force_terminal=color, color_system="standard" if color else None,
            no_color=not color, markup=False, highlight=False, emoji=False, legacy_windows=False, _environ={},
        )
        self._lines: list[Text] = []

    def blank(self) -> None:
        """An empty line, unless the page begins here or there is one already."""
        if self._lines and self._lines[-1].plain:
            self._lines.append(Text())

    def heading(self, text: str) -> None:
        """The title of a section."""
        self.blank()
        self.put(Text(text, style="bold"), indent=2)

    def put(self, text: Text, *, indent: int = 0, hang: int = 0, widest: int = PROSE) -> None:
        """`text`, wrapped; its first line at `indent`, the following ones `hang` further to the right."""
        room = max(16, min(self.width, widest) - indent - hang)
        rest = text
        if hang:
            first = self.wrapped(text, room + hang)[0]
            self._lines.append(Text.assemble(" " * indent, first))
            rest = text[len(first.plain) :]
            rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
            if not rest.plain:
                return
        self._lines += [Text.assemble(" " * (indent + hang), line) for line in self.wrapped(rest, room)]

    def grid(self, rows: Sequence[Sequence[Text]], *, indent: int = 2, right: frozenset[int] = frozenset()) -> None:
        """`rows` in columns two blanks apart; columns in `right` are aligned to the right, the last one wraps.

        Where too little room is left for the last column, rows are set one after the other instead.
        """
        if not rows:
            return
        columns = len(rows[0])
        widths = [max(row[i].cell_len for row in rows) for i in range(columns - 1)]
        if indent + sum(widths) + 2 * len(widths) > self.width // 2 and not self.fits(rows, indent=indent):
            for row in rows:
                self.put(Text("  ").join(cell for cell in row if cell.plain), indent=indent, hang=2)
            return
        for row in rows:
            line = Text()
            for i, cell in enumerate(row[:-1]):
                padding = " " * (widths[i] - cell.cell_len + (0 if i in right else 2))
                line = Text.assemble(line, *((padding, cell, "  ") if i in right else (cell, padding)))
            self.put(Text.assemble(line, row[-1]), indent=indent, hang=line.cell_len, widest=max(PROSE, self.width))

    def fits(self, rows: Sequence[Sequence[Text]], *, indent: int = 2) -> bool:
        """True if `rows` need no wrapping as a grid."""
        widths = [max(row[i].cell_len for row in rows) for i in range(len(rows[0]))]
        return indent + sum(widths) + 2 * (len(widths) - 1) <= self.width

    def line(self, text: Text) -> None:
        """`text` as one line, as it is."""
        self._lines.append(text)

    def write(self, out: TextIO) -> None:
        """The page, to `out`; a character its encoding cannot carry is written as its escape sequence."""
        with self._console.capture() as capture:
            for line in self._lines:
                line.rstrip()
                self._console.print(line, soft_wrap=True)
        text = capture.get()
        encoding = getattr(out, "encoding", None) or "utf-8"
        out.write(text.encode(encoding, "backslashreplace").decode(encoding))
        out.flush()

    def wrapped(self, text: Text, room: int) -> list[Text]:
        """`text` in lines of at most `room` cells, broken between words where possible."""
        lines = list(text.wrap(self._console, max(1, room)))
        for line in lines:
            line.rstrip()
        return lines or [Text()]


def safe(text: str, style: str = "") -> Text:
    """Text from outside, harmless, in one style."""
    return Text(printable(text), style=style)


def ends(page: Page, values: Sequence[Number]) -> Text:
    """The first reading, the last finite one before the end, and the last one."""
    before = next((i for i in reversed(range(len(values) - 1)) if is_finite(values[i])), len(values) - 2)
    text = Text(f"{show(values[0])} {page.signs.dots} " if before > 0 else "")
    last = [Text(show(value), style="" if is_finite(value) else "bold red") for value in (values[before], values[-1])]
    return Text.assemble(text, Text(f" {page.signs.arrow} ").join(last))
