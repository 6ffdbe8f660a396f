"""`stayfinite explain ID`: the page of a cause, a detector or a remedy."""

from __future__ import annotations

import difflib
import re
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stayfinite.catalog.pages import Page, Shelf

SHELVES: tuple[Shelf, ...] = ("causes", "detectors", "remedies")
WIDEST = 100
"""Text is not set wider than this, however wide the terminal is."""


@click.command("explain")
@click.argument("id", required=False)
@click.option("--no-color", is_flag=True, help="No colours.")
def command(id: str | None, no_color: bool) -> None:
    """The page of a cause, a detector or a remedy: what it is, how it is recognised, what to do.

    Without ID, the list of all of them.
    """
    from stayfinite.catalog import pages
    from stayfinite.reporters.terminal import wants_color

    known = {shelf: pages.ids(shelf) for shelf in SHELVES}
    if id is None:
        click.echo(_contents(known))
        return
    page = pages.find(id.strip().lower().replace("_", "-"))
    if page is None:
        raise click.UsageError(_unknown(id, [name for names in known.values() for name in names]))
    if sys.stdout.isatty():
        _show(as_markdown(page), color=not no_color and wants_color(sys.stdout))
    else:
        click.echo(as_text(page))


def as_text(page: Page) -> str:
    """The page as plain text."""
    sections = [f"{heading}\n{'-' * len(heading)}\n{_without_colons(text)}" for heading, text in page.sections]
    head = [f"{page.id}: {page.title}"]
    if page.summary.rstrip(".") != page.title:
        head.append(page.summary)
    return "\n\n".join([*head, *sections])


def as_markdown(page: Page) -> str:
    """The page as Markdown, in which the indented blocks of the page are code."""
    parts = [f"# {page.id}: {page.title}"]
    if page.summary.rstrip(".") != page.title:
        parts.append(page.summary)
    return "\n\n".join([*parts, *(f"## {heading}\n\n{_without_colons(text)}" for heading, text in page.sections)])


def _without_colons(text: str) -> str:
    """`text` without the ``::`` that announce an indented block in the source of a page."""
    alone = re.sub(r"^::\n\n?", "", text, flags=re.MULTILINE)
    return re.sub(r"::$", ":", alone, flags=re.MULTILINE)


def _show(markdown: str, *, color: bool) -> None:
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    theme = Theme({"markdown.h1": "bold", "markdown.h2": "bold", "markdown.code": "cyan"})
    console = Console(no_color=not color, highlight=False, theme=theme)
    console.print(Markdown(markdown, code_theme="ansi_dark"), width=min(console.width, WIDEST))


def _contents(known: dict[Shelf, tuple[str, ...]]) -> str:
    from stayfinite.catalog import pages

    lines = []
    for shelf, names in known.items():
        width = max(map(len, names), default=0)
        lines += [f"{shelf}:", *(f"  {name:<{width}}  {pages.page(shelf, name).title}" for name in names), ""]
    return "\n".join(lines).rstrip()


def _unknown(id: str, known: list[str]) -> str:
    close = difflib.get_close_matches(id.strip().lower().replace("_", "-"), known, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"nothing here is called {id!r}.{guess}\nKnown are: {', '.join(sorted(known))}"
