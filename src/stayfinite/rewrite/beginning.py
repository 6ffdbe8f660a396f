"""How a run began: its environment, and what its generators of numbers began with.

A script that seeds none of them draws other numbers each time. One that is tried again begins as the first run did, so it
draws the same: a trial is compared with the run that failed, and not with the luck of another. What the system itself is asked
for (`os.urandom`, NumPy's `default_rng()`) and the order of sets of strings (`PYTHONHASHSEED`) stay as they come.
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import msgspec


class Beginning(msgspec.Struct, frozen=True):
    """`python`: the state of `random` (version, words, the other half of a pair of normal numbers); `numpy`: words and position
    of NumPy's global generator. ``None``: not known."""

    environment: dict[str, str] | None = None
    python: tuple[int, tuple[int, ...], float | None] | None = None
    numpy: tuple[tuple[int, ...], int] | None = None
    torch: int | None = None


_noted = Beginning()


def note() -> None:
    """A run begins in this process, now."""
    global _noted
    version, words, half = random.getstate()
    _noted = Beginning(dict(os.environ), (version, tuple(words), half))


def note_numpy() -> None:
    """NumPy has just been imported, and has drawn a seed."""
    global _noted
    state: Any = sys.modules["numpy.random"].get_state(legacy=True)
    if state[0] == "MT19937":
        _noted = msgspec.structs.replace(_noted, numpy=(tuple(map(int, state[1])), int(state[2])))


def note_torch() -> None:
    """torch has just been imported, and its generator has a seed."""
    global _noted
    seed: Any = sys.modules["torch"].default_generator.initial_seed()
    _noted = msgspec.structs.replace(_noted, torch=int(seed))


NOTED = {"numpy.random": note_numpy, "torch": note_torch}
"""Module -> what to call once it has been imported."""


def noted() -> Beginning:
    """What is known of how the run in this process began."""
    return _noted


def begin_again(beginning: Beginning) -> None:
    """Begin as that run did, but for what `BEGUN` has."""
    if beginning.environment is not None:
        os.environ.clear()
        os.environ.update(beginning.environment)
    if beginning.python is not None:
        random.setstate(beginning.python)


def _begin_numpy(beginning: Beginning) -> None:
    if beginning.numpy is not None:
        words, position = beginning.numpy
        sys.modules["numpy.random"].set_state(("MT19937", words, position, 0, 0.0))


def _begin_torch(beginning: Beginning) -> None:
    if beginning.torch is not None:
        sys.modules["torch"].default_generator.manual_seed(beginning.torch)


BEGUN = {"numpy.random": _begin_numpy, "torch": _begin_torch}
"""Module -> what to call with the beginning of the run once it has been imported."""
