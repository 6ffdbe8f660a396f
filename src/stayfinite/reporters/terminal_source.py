"""A source excerpt on a terminal: line numbers, the guilty expression underlined, and a label beside the underline."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from stayfinite.reporters.document import Excerpt
from stayfinite.reporters.terminal_page import Page
from stayfinite.reporters.words import printable_character

_TAB = 4


def draw(page: Page, excerpt: Excerpt, guilty: range, label: Text, style: str) -> None:
    """Put `excerpt` on `page`. `guilty` are the line numbers to point at; `label` says what happened there.

    Where the underlined stretch would not be visible, all lines are moved to the left together.
    """
    digits = len(str(excerpt.first_line + len(excerpt.lines) - 1))
    room = max(16, page.width - digits - 6)
    shown = [_Line(excerpt.first_line + i, text) for i, text in enumerate(excerpt.lines)]
    spans = {
        line.number: (line.starts[mark.start], line.starts[mark.end])
        for line in shown for mark in excerpt.marks if mark.line == line.number
    }
    skip = _skip(shown, spans, room)
    margin = Text(f"{' ' * (digits + 4)}{page.signs.bar} ", style="dim")
    last = max(spans, default=max((line.number for line in shown if line.number in guilty), default=0))
    for line in shown:
        bad = line.number in guilty
        number = (f" {page.signs.pointer if bad else ' '} {line.number:>{digits}}", style if bad else "dim")
        source = _cropped(line.text, skip, room, page, dim=not bad)
        page.line(Text.assemble(number, (f" {page.signs.bar} ", "dim"), source))
        if line.number in spans:
            start, end = (min(room, max(0, cell - skip)) for cell in spans[line.number])
            under = Text.assemble(" " * start, ("^" * max(1, end - start), style))
            if line.number == last and under.cell_len + 1 + label.cell_len <= room:
                under, label = Text.assemble(under, " ", label), Text()
            page.line(Text.assemble(margin, under))
        if line.number == last and label.plain:
            for wrapped in page.wrapped(label, room):
                page.line(Text.assemble(margin, wrapped))


class _Line:
    """A source line as shown: tabs expanded, unsafe characters visible. `starts[i]` is the cell of character i."""

    def __init__(self, number: int, source: str) -> None:
        self.number = number
        self.starts: list[int] = []
        pieces: list[str] = []
        at = 0
        for character in source:
            self.starts.append(at)
            piece = " " * (_TAB - at % _TAB) if character == "\t" else printable_character(character)
            pieces.append(piece)
            at += cell_len(piece)
        self.starts.append(at)
        self.text = "".join(pieces)

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip(" "))


def _skip(lines: list[_Line], spans: dict[int, tuple[int, int]], room: int) -> int:
    """How many cells to leave out on the left, for all lines, so that what is underlined can be seen."""
    if all(end <= room for _, end in spans.values()):
        return 0
    indent = min((line.indent for line in lines if line.text.strip()), default=0)
    first, last = min(start for start, _ in spans.values()), max(end for _, end in spans.values())
    if last - indent <= room:
        return indent
    return max(min(indent, first), min(first - 8, last - room + 2))


def _cropped(text: str, skip: int, room: int, page: Page, *, dim: bool) -> Text:
    dots = page.signs.dots
    if skip and text[:skip].strip():
        at, index = 0, 0
        while index < len(text) and at < skip + len(dots):
            at += cell_len(text[index])
            index += 1
        text = dots + " " * (at - skip - len(dots)) + text[index:] if index < len(text) else dots
    elif skip:
        text = text[skip:]
    line = Text(text, style="dim" if dim else "")
    if line.cell_len > room:
        line.truncate(room - len(dots))
        line.append(dots)
    return line
