"""Keeps the latest readings and asks the finite detectors about each."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from importlib import import_module

from stayfinite.catalog.detection import RunningDetector
from stayfinite.catalog.restarts import Restarts
from stayfinite.records.incident import Symptom
from stayfinite.records.numbers import to_number
from stayfinite.records.series import Window

DEPTH = 256
"""Readings kept per series: enough to see a ramp of a few hundred steps, 4 kB per series."""
ALWAYS = ("divergence", "dead-gradient", "stalled-update", "gradient-explosion", "plateau")
"""Finite detectors that run always; spikes recover, so they are looked for only where somebody asked. Only a divergence is
told at once: the others are suspicions, and a repetition of a step has to show a mechanism."""

FOR_EACH = frozenset({"dead-gradient", "gradient-explosion"})
"""Of these, the ones that judge the series of each optimizer (``gradient_norm[1]``). Losses of optimizers that take turns are
those of adversaries or of parts: they need not fall."""


_OF_ONE_TRAINING = frozenset({"divergence", "plateau"})
"""Detectors that compare a loss with what it was since its training began."""
_RATE = "learning_rate"


class Monitor:
    """The readings of one run: a ring per series. A reading costs one append, and one judgement where it is watched.

    `detectors`: ids of the finite detectors to run.
    """

    def __init__(self, detectors: Iterable[str] = ALWAYS) -> None:
        self._rings: dict[str, collections.deque[tuple[int, float]]] = {}
        self._watching: dict[str, list[tuple[str, RunningDetector]]] = {}
        self._found: list[Symptom] = []
        self._restarts: dict[str, Restarts] = {}
        for name in dict.fromkeys(detectors):
            module = import_module(f"stayfinite.catalog.detectors.{name.replace('-', '_')}")
            for series in module.WATCHES:
                self._watching.setdefault(series, []).append((name, module.Running()))

    def read(self, series: str, step: int, value: float) -> bool:
        """Add one reading. **Returns** True if a detector fired at it."""
        ring = self._rings.get(series)
        if ring is None:
            ring = self._rings[series] = collections.deque(maxlen=DEPTH)
        ring.append((step, value))
        if series.startswith(_RATE) and self._of_rate(series).update(value):
            self._begin_cycle()
        watching = self._watching.get(series)
        if watching is None:
            of_first = self._watching.get(series.partition("[")[0], ())
            watching = self._watching[series] = [(name, type(one)()) for name, one in of_first if name in FOR_EACH]
        fired = False
        for name, running in watching:
            found = running.update(step, value)
            if found is not None:
                fired = True
                self._found.append(
                    Symptom(name, found.step, series, found.value, limit=found.limit, limit_source=found.limit_source)
                )
        return fired

    def take(self) -> list[Symptom]:
        """Finite symptoms since the last call."""
        if not self._found:
            return []
        found, self._found = self._found, []
        return found

    def begin_anew(self) -> None:
        """An optimizer was made. A divergence is told without further proof, and the best loss of what was trained before
        (another task, another part of the model) is no measure for what begins. Nor has a loss that begins again failed to
        fall."""
        for watching in self._watching.values():
            watching[:] = [(name, type(running)() if name in _OF_ONE_TRAINING else running) for name, running in watching]

    def _of_rate(self, series: str) -> Restarts:
        known = self._restarts.get(series)
        if known is None:
            known = self._restarts[series] = Restarts()
        return known

    def _begin_cycle(self) -> None:
        """A schedule jumped back to a rate it had before: what compares a loss with its best has to wait."""
        for watching in self._watching.values():
            for _, running in watching:
                begin = getattr(running, "begin_cycle", None)
                if begin is not None:
                    begin()

    def windows(self) -> tuple[Window, ...]:
        """All series as records, in the order they were first read."""
        return tuple(_window(series, ring) for series, ring in self._rings.items())


def finite_detectors() -> tuple[str, ...]:
    """Ids of all detectors of finite symptoms: what `--stop-on` accepts."""
    import pkgutil

    from stayfinite.catalog import detectors

    names = [module.name for module in pkgutil.iter_modules(detectors.__path__)]
    modules = ((name, import_module(f"{detectors.__name__}.{name}")) for name in names)
    return tuple(name.replace("_", "-") for name, module in modules if not module.STOPS)


def _window(series: str, ring: Iterable[tuple[int, float]]) -> Window:
    pairs = list(ring)
    return Window(
        series=series,
        steps=tuple(step for step, _ in pairs),
        values=tuple(to_number(value) for _, value in pairs),
    )
