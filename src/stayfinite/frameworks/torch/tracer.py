"""The microscope (signature fixed; body being written).

    tracer = Tracer(roots, batch, optimizers, is_user_file, relative, parameter_names)
    with tracer:
        ...the user's step...          # tracer.note_loss(tensor) before each backward, tracer.note_exception(error) if it raised
    trace = tracer.finish()            # sinks are read when the block is left; the state may be restored before `finish`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import torch

from stayfinite.records.trace import Trace


class Tracer:
    def __init__(
        self,
        roots: Sequence[torch.nn.Module],
        batch: Mapping[str, object],
        optimizers: Sequence[torch.optim.Optimizer],
        is_user_file: Callable[[str], bool],
        relative: Callable[[str], str],
        parameter_names: Mapping[int, str] | None = None,
    ) -> None:
        self.batch_size: int | None = None

    def __enter__(self) -> Tracer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None) -> None:
        return None

    def note_loss(self, loss: object) -> None:
        """Call with what `torch.autograd.backward` was given, before it runs."""

    def note_exception(self, error: BaseException) -> None:
        """Call with the exception that ended the step, inside the block or after it."""

    def finish(self) -> Trace:
        return Trace()
