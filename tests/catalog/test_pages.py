"""The catalogue as a book: fixed headings, found by folder, imported only when read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stayfinite.catalog import pages

SHELVES: tuple[pages.Shelf, ...] = ("causes", "detectors", "remedies")
EVERY = [(shelf, name) for shelf in SHELVES for name in pages.ids(shelf)]


@pytest.mark.parametrize(("shelf", "name"), EVERY)
def test_every_page_has_its_headings(shelf: pages.Shelf, name: str) -> None:
    page = pages.page(shelf, name)
    assert tuple(heading for heading, _ in page.sections) == pages.HEADINGS[shelf]
    assert all(text.strip() for _, text in page.sections)
    assert page.summary.endswith(".") and "\n\n" not in page.summary
    assert page.title


@pytest.mark.parametrize(("shelf", "name"), EVERY)
def test_pages_are_found_by_name(shelf: pages.Shelf, name: str) -> None:
    found = pages.find(name)
    assert found is not None and (found.shelf, found.id) == (shelf, name)


@pytest.mark.parametrize("name", pages.ids("causes"))
def test_the_example_of_a_cause_is_code(name: str) -> None:
    example = dict(pages.page("causes", name).sections)["Example"]
    assert example.startswith("::\n\n    ")


def test_ids_are_file_names_with_hyphens() -> None:
    assert "log-of-zero" in pages.ids("causes")
    assert "nonfinite-loss" in pages.ids("detectors")
    assert all("_" not in name for _, name in EVERY)


def test_no_id_stands_on_two_shelves() -> None:
    names = [name for _, name in EVERY]
    assert len(set(names)) == len(names)


def test_an_unknown_id() -> None:
    assert pages.find("no-such-page") is None
    with pytest.raises(KeyError):
        pages.load("causes", "no-such-cause")
    with pytest.raises(KeyError):
        pages.load("causes", "nonfinite-loss")


def test_a_page_without_its_headings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages.load("causes", "log-of-zero"), "__doc__", "A summary.\n\nWhat happens\n------------\nx\n")
    with pytest.raises(ValueError, match="log-of-zero"):
        pages.page("causes", "log-of-zero")


def test_listing_imports_no_item() -> None:
    code = (
        "import sys; from stayfinite.catalog import pages; pages.ids('causes'); pages.ids('detectors');"
        "print([m for m in sys.modules if m.startswith(('stayfinite.catalog.causes.', 'stayfinite.catalog.detectors.')"
        ")])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_reading_the_catalogue_loads_no_framework() -> None:
    code = (
        "import sys; from stayfinite.catalog import pages;"
        "[pages.page(shelf, name) for shelf in ('causes', 'detectors') for name in pages.ids(shelf)];"
        "print(sorted({'torch', 'numpy', 'rich', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
