"""From the Python stack to a place in the user's source.

A `Spot` is taken for every operator, so it is only a code object and an instruction offset; it becomes a `Location`
with exact columns when somebody asks. What counts as the user's own code is the caller's decision (`is_user_file`).
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import sysconfig
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

import torch

from stayfinite.records.location import UNKNOWN_LOCATION, Location

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(torch.__file__)))
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_STANDARD = sysconfig.get_paths()["stdlib"]

_USER, _LIBRARY, _PLUMBING, _ENGINE, _RECOMPUTE = range(5)

_PLUMBING_PLACES = (
    "torch/_ops.py",
    "torch/functional.py",
    "torch/_compile.py",
    "torch/_dynamo/",
    "torch/_tensor.py",
    "torch/_jit_internal.py",
    "torch/autograd/",
    "torch/overrides.py",
    "torch/utils/_python_dispatch.py",
    "torch/utils/_contextlib.py",
    "torch/utils/_pytree.py",
    "torch/utils/_device.py",
    "torch/nn/modules/module.py",
    "torch/nn/modules/container.py",
    "torch/optim/optimizer.py",
    "torch/library.py",
    "torch/_library/",
    "torch/_higher_order_ops/",
    "torch/amp/autocast_mode.py",
)
"""Parts of torch that only pass a call on: naming them would tell nobody anything."""

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")
_LOSS_WORDS = {"loss", "losses", "criterion", "criteria", "objective", "nll", "penalty"}


def speaks_of_loss(name: str) -> bool:
    """True if the name of a function or class says that it computes a loss: ``compute_loss``, ``DiceLoss``,
    ``cost``."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return bool(_LOSS_WORDS.intersection(words)) or words[-1:] in (["cost"], ["costs"])


def function_name(code: CodeType) -> str:
    """The innermost function of `code` that has a name, with its class: ``"Net.forward"``; a lambda or a comprehension
    speaks for the function that holds it."""
    parts = [part for part in code.co_qualname.split(".<locals>.") if not part.startswith("<")]
    return parts[-1] if parts else code.co_name


class Spot(NamedTuple):
    """Where on the stack an operator was called.

    **Fields**

    - `code`, `offset`: the innermost user frame and its instruction; ``None`` where no user frame is on the stack.
    - `library`: the innermost frame of a library inside it, with its line, or ``None``.
    - `engine`: the autograd engine ran between the user frame and the operator: the frame is the one that called
      ``backward``, not the one that computes.
    - `recompute`: inside the recomputation of a checkpointed segment.
    - `speaks_of_loss`: the user function, or a library function inside it, has a loss in its name.
    """

    code: CodeType | None
    offset: int
    library: tuple[CodeType, int] | None
    engine: bool
    recompute: bool
    speaks_of_loss: bool

    @property
    def line_key(self) -> tuple[int, int]:
        """Equal for operators called from the same line of the same function."""
        return (id(self.code), self.line)

    @property
    def line(self) -> int:
        """1-based line of the user frame; 0 if there is none."""
        return _position(self.code, self.offset)[0] if self.code is not None else 0


def _position(code: CodeType, offset: int) -> tuple[int, int, int, int]:
    for place, found in enumerate(code.co_positions()):
        if place == offset // 2:
            line, end_line, column, end_column = found
            if line is None:
                break
            return line, end_line or line, -1 if column is None else column, -1 if end_column is None else end_column
    return code.co_firstlineno, code.co_firstlineno, -1, -1


class Frames:
    """Reads the stack. **Arguments**: `is_user_file(filename)` decides what is the user's own code;
    `relative(filename)` gives the spelling of a path in records."""

    def __init__(self, is_user_file: Callable[[str], bool], relative: Callable[[str], str]) -> None:
        self._is_user_file = is_user_file
        self._relative = relative
        # Keyed by identity: hashing a code object hashes its whole content. The value keeps the key's object alive.
        self._known: dict[int, tuple[int, bool, CodeType]] = {}
        self._locations: dict[tuple[int, int, tuple[int, int] | None], Location] = {}

    def _classify(self, code: CodeType) -> tuple[int, bool, CodeType]:
        filename = code.co_filename
        if filename.startswith(_OURS + os.sep):
            kind = _PLUMBING
        elif filename.startswith(os.path.join(_PACKAGES, "torch") + os.sep):
            place = os.path.relpath(filename, _PACKAGES).replace(os.sep, "/")
            if code.co_name == "_engine_run_backward":
                kind = _ENGINE
            elif place == "torch/utils/checkpoint.py":
                kind = _RECOMPUTE
            else:
                kind = _PLUMBING if place.startswith(_PLUMBING_PLACES) else _LIBRARY
        elif self._is_user_file(filename):
            kind = _USER
        elif filename.startswith(("<frozen", _STANDARD + os.sep + "contextlib", _STANDARD + os.sep + "functools")):
            kind = _PLUMBING
        else:
            kind = _LIBRARY
        entry = (kind, kind in (_USER, _LIBRARY) and speaks_of_loss(function_name(code)), code)
        self._known[id(code)] = entry
        return entry

    def spot(self, frame: FrameType | None, in_backward: bool) -> Spot:
        """The spot of an operator called below `frame`. `in_backward`: an autograd node is being evaluated, so the walk
        must go on to see who called the user's code: the engine, or a recomputation."""
        known = self._known
        user: FrameType | None = None
        library: tuple[CodeType, int] | None = None
        engine = recompute = loss = False
        while frame is not None:
            code = frame.f_code
            entry = known.get(id(code))
            if entry is None:
                entry = self._classify(code)
            kind = entry[0]
            if kind == _USER:
                if user is None:
                    user, loss = frame, loss or entry[1]
                if not in_backward or engine:
                    break
            elif kind == _LIBRARY:
                if user is None and not engine:
                    library = library or (code, frame.f_lineno)
                    loss = loss or entry[1]
            elif kind == _ENGINE:
                engine = user is None
                if user is not None:
                    break
            elif kind == _RECOMPUTE and in_backward and not engine:
                recompute = True
            frame = frame.f_back
        if user is None:
            return Spot(None, 0, library, engine or in_backward, recompute, loss)
        return Spot(user.f_code, user.f_lasti, library, engine, recompute, loss)

    def library_frames(self, frame: FrameType | None) -> list[FrameType]:
        """The library frames between `frame` and the innermost user frame, innermost first."""
        found = []
        while frame is not None:
            kind = (self._known.get(id(frame.f_code)) or self._classify(frame.f_code))[0]
            if kind in (_USER, _ENGINE):
                break
            if kind == _LIBRARY:
                found.append(frame)
            frame = frame.f_back
        return found

    def raising(self, trail: TracebackType | None) -> tuple[Spot | None, list[FrameType]]:
        """Where an exception with traceback `trail` left the user's code, and the library frames inside, innermost
        first."""
        user: tuple[CodeType, int] | None = None
        inside: list[TracebackType] = []
        loss = False
        while trail is not None:
            code = trail.tb_frame.f_code
            kind, lossy, _ = self._known.get(id(code)) or self._classify(code)
            if kind == _USER:
                user, inside, loss = (code, trail.tb_lasti), [], lossy
            elif kind == _LIBRARY:
                inside.append(trail)
                loss = loss or lossy
            trail = trail.tb_next
        if user is None:
            return None, []
        library = (inside[-1].tb_frame.f_code, inside[-1].tb_lineno) if inside else None
        return Spot(*user, library, False, False, loss), [step.tb_frame for step in reversed(inside)]

    def location(self, spot: Spot | None) -> Location:
        """`spot` as a record, with the text it stands for."""
        if spot is None or spot.code is None:
            library = self._library(spot.library) if spot is not None else None
            return UNKNOWN_LOCATION if library is None else Location(file="", line=0, library=library)
        at = (id(spot.code), spot.offset, (id(spot.library[0]), spot.library[1]) if spot.library else None)
        if at not in self._locations:
            line, end_line, column, end_column = _position(spot.code, spot.offset)
            filename = spot.code.co_filename
            self._locations[at] = Location(
                file=self._relative(filename),
                line=line,
                column=column,
                end_line=end_line,
                end_column=end_column,
                function=spot.code.co_qualname,
                code=linecache.getline(filename, line).strip(),
                expression=source_text(filename, line, end_line, column, end_column),
                library=self._library(spot.library),
            )
        return self._locations[at]

    def _library(self, place: tuple[CodeType, int] | None) -> str | None:
        if place is None:
            return None
        code, line = place
        _, found, inside = code.co_filename.rpartition(f"site-packages{os.sep}")
        if not found:
            inside = next(
                (
                    os.path.relpath(code.co_filename, top)
                    for top in (_PACKAGES, *filter(None, sys.path))
                    if code.co_filename.startswith(top + os.sep)
                ),
                os.path.basename(code.co_filename),
            )
        return f"{inside.replace(os.sep, '/')}:{line} in {code.co_name}"


def source_text(filename: str, line: int, end_line: int, column: int, end_column: int) -> str:
    """The source between two positions (columns in UTF-8 bytes), line ends and indentation folded into single
    blanks."""
    if column < 0 or end_column < 0:
        return ""
    lines = [linecache.getline(filename, number).encode() for number in range(line, end_line + 1)]
    if not lines or not lines[0]:
        return ""
    lines[-1] = lines[-1][:end_column]
    lines[0] = lines[0][column:]
    return " ".join(part for part in (text.decode(errors="replace").strip() for text in lines) if part)
