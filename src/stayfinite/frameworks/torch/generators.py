"""The process-wide random generators: torch on each initialised device, `random`, and NumPy's if it is loaded."""

from __future__ import annotations

import _random
import ctypes
import random
import sys
from collections.abc import Callable
from typing import Any

import torch

from stayfinite.rewrite.undo import Undo


class _ProcessGenerator:
    """A process-wide Mersenne twister, read in full only when its words have moved.

    A full read makes 625 Python integers or takes NumPy 35 microseconds, and most training steps draw from neither;
    a look at the raw words takes less than one. Where they cannot be looked at, every read is a full one.
    """

    def __init__(self) -> None:
        self._words: object = None
        self.state: Any = None
        """As last read."""

    def read(self, words: object, full: Callable[[], Any]) -> Any:
        """What `full` gives now; `words` is equal to what it was at the last read only if the state is."""
        if words is None or words != self._words:
            self._words, self.state = words, full()
        return self.state


_IN_PLACE = sys.implementation.name == "cpython"
"""The identity of an object is its address."""


_NUMPY_WORDS = 625 * 4


_python_generator, _numpy_generator = _ProcessGenerator(), _ProcessGenerator()


def _python_words() -> object:
    """Words and position of `random`'s own generator, and the half of a Gaussian pair that may be waiting."""
    generator = getattr(random.getstate, "__self__", None)
    if not _IN_PLACE or not isinstance(generator, random.Random):
        return None
    return _content(generator, _random.Random), getattr(generator, "gauss_next", None)


def _numpy_words(numpy_random: Any) -> object:
    """Words and position of NumPy's legacy generator, and the half of a Gaussian pair, kept in the object itself."""
    generator = getattr(numpy_random.mtrand, "_rand", None)
    source = getattr(generator, "_bit_generator", None)
    if source is None or not _IN_PLACE or type(source).__name__ != "MT19937":
        return None
    words = ctypes.string_at(source.ctypes.state_address, _NUMPY_WORDS)
    return id(source), words, _content(generator, type(generator))


def _content(value: object, layout: type) -> bytes:
    """The bytes that C code of type `layout` keeps in `value` itself."""
    return ctypes.string_at(id(value) + object.__basicsize__, layout.__basicsize__ - object.__basicsize__)


def generator_states() -> Undo:
    """Capture the process-wide generators: torch (each initialised device), `random`, and NumPy's if it is loaded."""
    state = torch.get_rng_state()
    python = _python_generator.read(_python_words(), random.getstate)
    numpy = sys.modules.get("numpy.random")
    legacy = _numpy_generator.read(_numpy_words(numpy), numpy.get_state) if numpy is not None else None
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def undo() -> None:
        torch.set_rng_state(state)
        random.setstate(python)
        if numpy is not None and legacy is not None:
            numpy.set_state(legacy)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)

    return undo
