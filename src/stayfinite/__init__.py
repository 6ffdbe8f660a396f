"""stayfinite: the tool to reach for when training a network and the loss turns nan.

Public names are resolved on first use (PEP 562), so ``import stayfinite`` loads no framework, no numpy, no rich.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from stayfinite.api import open_recording as open_recording
    from stayfinite.api import watch as watch
    from stayfinite.errors import RecordingError as RecordingError
    from stayfinite.errors import ReplayError as ReplayError
    from stayfinite.errors import StayfiniteError as StayfiniteError
    from stayfinite.errors import TrainingHalted as TrainingHalted
    from stayfinite.errors import UsageError as UsageError

_HOMES = {
    "watch": "stayfinite.api",
    "open_recording": "stayfinite.api",
    "RecordingError": "stayfinite.errors",
    "ReplayError": "stayfinite.errors",
    "StayfiniteError": "stayfinite.errors",
    "TrainingHalted": "stayfinite.errors",
    "UsageError": "stayfinite.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'stayfinite' has no attribute {name!r}") from None
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
