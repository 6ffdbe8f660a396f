"""What to try: the remedies of the leading causes, and those of their neighbours where none of these helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stayfinite import shield
from stayfinite.catalog import pages
from stayfinite.catalog.remedy import location
from stayfinite.records.diagnosis import Hypothesis, Remedy
from stayfinite.records.fix import Fix
from stayfinite.records.incident import Case
from stayfinite.records.location import Location

LEADING = 0.05
"""Probability from which a cause that is not confirmed has its remedies looked at."""
CAUSES = 3
"""Causes whose remedies are looked at, at most."""
MADE_FOR = 2
"""Ways of a remedy that is made for a cause which are tried before those of others."""


def candidates(case: Case, hypotheses: Sequence[Hypothesis], sources: Mapping[str, str]) -> list[Remedy]:
    """Remedies for the leading causes, those of the first cause first; of one cause those that are made for it, narrow ones before
    broad ones, and safe ones before unsafe ones; last what has no patch, and the masks. One that breaks is left out and counted by
    `shield`."""
    causes = _leading(hypotheses)
    found: list[tuple[tuple[int, ...], Remedy]] = []
    for module, offers in _offers(case, sources, causes):
        rank = next(number for number, cause in enumerate(causes) if cause in module.CURES)
        breadth = getattr(module, "BREADTH", 0)
        for number, offer in enumerate(offers):
            last = rank + CAUSES * (breadth > 2 or offer.fix is None)
            aside = number >= MADE_FOR or causes[rank] != module.CURES[0]
            place = last, int(aside), breadth, int(offer.applicability != "safe"), number
            found.append((place, offer))
    found.sort(key=lambda entry: entry[0])
    return _distinct(offer for _, offer in found)


def neighbours(case: Case, hypotheses: Sequence[Hypothesis], sources: Mapping[str, str]) -> list[Remedy]:
    """Remedies of causes that do not lead and are not refuted, with a patch of the very statement where the failure was born or
    where a leading cause would change something: what is tried where no remedy of the leading causes helps. Masks are left out."""
    leading = _leading(hypotheses)
    aside = {*leading, *(one.cause for one in hypotheses if one.verdict == "refuted")}
    wanted = [cause for cause in pages.ids("causes") if cause not in aside] if leading else []
    places = [location(case), *(pages.load("causes", cause).locate(case) for cause in leading if cause in pages.ids("causes"))]
    found: list[tuple[tuple[int, ...], Remedy]] = []
    for module, offers in _offers(case, sources, wanted):
        breadth = getattr(module, "BREADTH", 0)
        if breadth < 2 and aside.isdisjoint(module.CURES):
            patches = [one for one in offers if one.fix is not None and _touches(one.fix, places)]
            found += [((int(one.applicability != "safe"), breadth, number), one) for number, one in enumerate(patches)]
    found.sort(key=lambda entry: entry[0])
    return _distinct(offer for _, offer in found)


def _touches(fix: Fix, places: Iterable[Location]) -> bool:
    """Whether `fix` changes one of the lines of `places`."""
    return any(edit.file == at.file and edit.line <= at.line <= max(edit.line, edit.end_line) for edit in fix.edits for at in places)


def _leading(hypotheses: Sequence[Hypothesis]) -> list[str]:
    """The causes whose remedies are looked at, the confirmed ones first."""
    confirmed = [one for one in hypotheses if one.verdict == "confirmed"]
    others = [one for one in hypotheses if one.verdict not in ("confirmed", "refuted") and one.probability >= LEADING]
    return [one.cause for one in (*confirmed, *others)][:CAUSES]


def _offers(case: Case, sources: Mapping[str, str], causes: Sequence[str]) -> Iterator[tuple[Any, Sequence[Remedy]]]:
    """Every remedy of one of `causes`, with its proposals. One that breaks is left out and counted by `shield`."""
    for name in pages.ids("remedies"):
        module = pages.load("remedies", name)
        if set(causes).isdisjoint(module.CURES) or (_before_any_update(case) and getattr(module, "OF_UPDATES", False)):
            continue
        offers: Sequence[Remedy] = ()
        with shield.shielded(f"remedy {name}"):
            offers = module.propose(case, sources)
        yield module, offers


def _before_any_update(case: Case) -> bool:
    """True for what failed in the first step of the run before anything was updated: no rate and no clipping changes that."""
    return case.step_of_run == 0 and case.origin is not None and case.origin.phase in ("forward", "loss", "backward")


def _distinct(remedies: Iterable[Remedy]) -> list[Remedy]:
    """Without those whose patch another one has already."""
    return list({key_of(remedy): remedy for remedy in reversed(list(remedies))}.values())[::-1]


def key_of(remedy: Remedy) -> str:
    """Equal for remedies that change the same."""
    return remedy.fix.diff if remedy.fix is not None else f"{remedy.remedy}: {remedy.reason}"
