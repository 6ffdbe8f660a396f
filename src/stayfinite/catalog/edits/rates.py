"""The number in the source that is the learning rate."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from stayfinite.catalog.edits.seeking import node_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number
from stayfinite.records.location import Location


def number_at(place: Location, sources: Mapping[str, str]) -> tuple[Source, ast.expr, float] | None:
    """The source of `place`, the number that stands there, and its value; ``None`` if none stands there, or it is 0."""
    source = Project({place.file: sources[place.file]}).get(place.file) if place.file in sources else None
    node = node_at(source, place) if source is not None else None
    value = number(node)
    return (source, node, value) if source is not None and node is not None and value else None


def written(value: float) -> str:
    """`value` as people write rates: ``0.012``, ``1.2e-05``."""
    text = f"{value:.6g}"
    return text if "e" in text or "." in text else f"{text}.0"
