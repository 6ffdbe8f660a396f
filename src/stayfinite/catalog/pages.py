"""The catalogue as a book: every module is one page. Finds modules by folder, reads a page out of a docstring.

`stayfinite explain`, the documentation and the tests read pages through this module and nowhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import MappingProxyType, ModuleType
from typing import Literal

import msgspec

Shelf = Literal["causes", "detectors", "remedies"]

HEADINGS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "causes": ("What happens", "How to recognise it", "What to do", "Example", "References"),
        "detectors": ("What it watches", "When it fires", "Where the limit comes from", "What to do"),
        "remedies": ("What it changes", "When it helps", "What it may cost", "Example"),
    }
)
"""The headings that every page of a shelf has, in this order, underlined with hyphens."""


class Page(msgspec.Struct, frozen=True):
    """A published page: `summary` is its first paragraph, `sections` its headings and their text (reStructuredText)."""

    id: str
    shelf: Shelf
    title: str
    summary: str
    sections: tuple[tuple[str, str], ...]


def ids(shelf: Shelf) -> tuple[str, ...]:
    """Ids of all items of a shelf, sorted. Imports none of them."""
    folder = importlib.import_module(f"stayfinite.catalog.{shelf}")
    return tuple(sorted(item.name.replace("_", "-") for item in pkgutil.iter_modules(folder.__path__)))


def load(shelf: Shelf, name: str) -> ModuleType:
    """The module of one item. **Raises** `KeyError` if the shelf has no such id."""
    if name not in ids(shelf):
        raise KeyError(name)
    return importlib.import_module(f"stayfinite.catalog.{shelf}.{name.replace('-', '_')}")


def find(name: str) -> Page | None:
    """The page called `name` on any shelf; ``None`` if there is none."""
    shelves: tuple[Shelf, ...] = ("causes", "detectors", "remedies")
    return next((page(shelf, name) for shelf in shelves if name in ids(shelf)), None)


def page(shelf: Shelf, name: str) -> Page:
    """One page. **Raises** `KeyError` for an unknown id, `ValueError` if its docstring lacks a heading."""
    module = load(shelf, name)
    lines = (module.__doc__ or "").strip("\n").split("\n")
    marks = [
        i for i in range(len(lines) - 1)
        if lines[i] and set(lines[i + 1]) == {"-"} and len(lines[i + 1]) == len(lines[i])
    ]
    found = tuple(lines[i] for i in marks)
    if found != HEADINGS[shelf]:
        raise ValueError(f"the page of {name} has the headings {found}, not {HEADINGS[shelf]}")
    ends = [*marks[1:], len(lines)]
    sections = tuple(
        (lines[start], "\n".join(lines[start + 2 : end]).strip("\n")) for start, end in zip(marks, ends, strict=True)
    )
    summary = "\n".join(lines[: marks[0]]).strip()
    title = getattr(module, "TITLE", None) or summary.rstrip(".")
    return Page(id=name, shelf=shelf, title=title, summary=summary, sections=sections)
