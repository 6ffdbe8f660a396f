"""What every test runs under: our own failures are raised, and slow tests may be divided into shares.

``STAYFINITE_SHARE=2/3`` keeps, of the tests marked `slow`, the second of three shares; all others always run. A test's
share follows from a checksum of its name, so it stays where it is while others come and go.
"""

from __future__ import annotations

import os
import re
import zlib

import pytest
from hypothesis import HealthCheck, settings

# a machine that does other work beside is no reason to fail
settings.register_profile("loaded", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded")
os.environ.setdefault("STAYFINITE_STRICT", "1")
# a trial takes seconds, and hundreds of tests meet an incident: those that are about trials ask for them
os.environ.setdefault("STAYFINITE_NO_TRIALS", "1")


def share_of(name: str, shares: int) -> int:
    """In which of `shares` shares, counted from 1, the test called `name` is."""
    return zlib.crc32(name.encode()) % shares + 1


def wanted_share(text: str) -> tuple[int, int]:
    """``"2/3"`` as ``(2, 3)``. Raises `pytest.UsageError` for anything that is not a share."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise pytest.UsageError(f"STAYFINITE_SHARE={text!r}: expected k/n with 1 <= k <= n, like 2/3")
    return int(match[1]), int(match[2])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the slow tests of the other shares."""
    share, shares = wanted_share(os.environ.get("STAYFINITE_SHARE", "1/1"))
    others = {
        item for item in items if item.get_closest_marker("slow") and share_of(item.nodeid, shares) != share
    }
    if others:
        config.hook.pytest_deselected(items=list(others))
        items[:] = [item for item in items if item not in others]
