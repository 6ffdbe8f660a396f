"""The smallest step that still fails: each candidate is written as an exported script, and run."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stayfinite.errors import ReplayError
from stayfinite.frameworks.torch.stored.running import ERR, OUT, ended, one_thread

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.stored.smaller import Smallest, Step

MOST_RUNS = 40
"""Runs of the script at most: halving a batch of 1,024 down to one sample takes 20."""

Write = Callable[["Step", Path], None]
"""Writes a step as a script to a file, its tensors beside it."""

_BAD = re.compile(r"^(gradients|parameters|buffers|moments)\b.* with NaN or infinity: (\d+) of", re.MULTILINE)
_LOSS = re.compile(r"^loss: (.*)$", re.MULTILINE)
_NONFINITE = re.compile(r"\b(nan|inf)\b")
_RAISED = re.compile(r"^(?:\w+\.)*(\w+)(?::|$)")


class Runs:
    """Runs candidates one after the other, as long as there is time. `count` and `seconds`: how many, and what they took."""

    def __init__(self, write: Write, budget: float) -> None:
        self.count = 0
        self.seconds = 0.0
        self._write = write
        self._until = time.monotonic() + budget
        self._wanted: tuple[Any, ...] | None = None
        self._threads = one_thread()

    def begin(self, step: Step) -> None:
        """Run the whole step: how it fails is how the others have to fail.

        **Raises**: `ReplayError` if it does not fail.
        """
        self._wanted = self._run(step, 600.0)
        if self._wanted is None or self._wanted[0] != 1:
            raise ReplayError("the exported step does not fail by itself, so it has no smallest form; export it without --smallest")

    def fails(self, step: Step) -> bool | None:
        """Whether it fails as the whole step did; ``None`` if there is no time to see."""
        left = self._until - time.monotonic()
        if left <= 0 or self.count >= MOST_RUNS:
            return None
        sign = self._run(step, max(10.0, left))
        return sign is not None and sign == self._wanted

    def _run(self, step: Step, timeout: float) -> tuple[Any, ...] | None:
        """The signs of how `step` ended; ``None`` if it did not end."""
        begun = time.monotonic()
        self.count += 1
        with tempfile.TemporaryDirectory(prefix="stayfinite-smallest-") as place:
            file = Path(place, "step.py")
            self._write(step, file)
            code = ended(file, timeout, self._threads)
            self.seconds += time.monotonic() - begun
            out, err = (Path(place, name).read_text("utf-8", errors="replace") for name in (OUT, ERR))
        return None if code is None else _signs(code, out, err)


def _signs(code: int, out: str, err: str) -> tuple[Any, ...]:
    """What two failures of one kind have in common: the exit code, what is not finite in the end, and what was raised."""
    losses = list(_LOSS.finditer(out))  # the last one is ours, whatever the script printed on its way
    loss = losses[-1] if losses else None
    bad = tuple(what for what, count in _BAD.findall(out[loss.end() :]) if int(count)) if loss else ()
    lines = err.rstrip().splitlines() if "Traceback (most recent call last)" in err else []
    raised = _RAISED.match(lines[-1]) if lines else None
    return code, loss is not None and bool(_NONFINITE.search(loss.group(1))), bad, raised.group(1) if raised else None


def told(found: Smallest, size: int | None, passes: int, runs: Runs) -> str:
    """A sentence about `found`, made of a step with `passes` passes over batches of `size` samples."""
    parts = []
    if found.passes is not None:
        parts.append(f"{len(found.passes)} of {passes} passes")
    if found.rows is not None:
        which = ", ".join(map(str, found.rows[:10])) + (", ..." if len(found.rows) > 10 else "")
        parts.append(f"{len(found.rows)} of {size} samples ({which})")
    spent = f"{runs.count} runs of the step, {runs.seconds:.0f} s"
    if parts:
        return f"it still fails with {' and '.join(parts)}: {spent}" + (f"; {found.why_not}" if found.rows is None else "")
    return f"nothing could be left out: {found.why_not}; {spent}"
