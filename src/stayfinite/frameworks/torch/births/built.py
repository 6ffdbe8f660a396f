"""Modules that were built after the first optimizer was made: an optimizer keeps the parameters it was given.

Which line of the user's built such a module is asked at its first parameter, once per module. Lines that built modules
before as well (a factory, the constructor of a network) do not tell why this one came too late: the line that called them
does.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Container, Sequence
from types import CodeType, FrameType
from typing import Any

from torch import Tensor, nn

from stayfinite.frameworks.torch.describe import frame_location, user_frames
from stayfinite.records.location import UNKNOWN_LOCATION, Location

_DEEP = 60
"""Frames that are looked at, from the inside out."""


class Built:
    """`relative` spells a file as it stands in records; `trained()` is true once there is an optimizer."""

    def __init__(self, relative: Callable[[str], str], trained: Callable[[], bool]) -> None:
        self._relative = relative
        self._trained = trained
        self._known: set[tuple[CodeType, int]] = set()
        self._late: weakref.WeakKeyDictionary[nn.Module, Location] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def listen(self, wrap: Callable[..., None]) -> None:
        """Hook what a module calls with each parameter that it is given."""
        wrap(nn.Module, "register_parameter", None, self._registered)

    def _registered(self, _result: object, module: nn.Module, *_args: Any, **_kwargs: Any) -> None:
        late = self._trained()
        if module in self._seen and (not late or module in self._late):
            return
        self._seen.add(module)  # one that was built in time may be given another parameter later
        for frame in user_frames(sys._getframe(1), _DEEP):
            place = (frame.f_code, frame.f_lineno)
            if not late:
                self._known.add(place)
            elif place not in self._known and not _constructs(frame):
                self._late[module] = frame_location(frame, self._relative)
                return

    def late(self, roots: Sequence[nn.Module], owned: Container[int]) -> Location:
        """Where the first module of `roots` was built that came after an optimizer and has parameters which none has; `owned`:
        `id` of those that one has."""
        for root in roots:
            for module in root.modules():
                place = self._late.get(module)
                if place is not None and any(_is_stranger(p, owned) for p in module.parameters(recurse=False)):
                    return place
        return UNKNOWN_LOCATION


def _is_stranger(parameter: Tensor, owned: Container[int]) -> bool:
    return parameter.requires_grad and id(parameter) not in owned


def _constructs(frame: FrameType) -> bool:
    """True for the constructor of a module: whoever called it wanted the module."""
    return frame.f_code.co_name == "__init__" and isinstance(frame.f_locals.get("self"), nn.Module)
