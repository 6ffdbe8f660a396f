"""How the tests put one step under the microscope, and read the line they expect from a comment in their own source."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from stayfinite.engine.localize import Localized, localize
from stayfinite.frameworks.torch.tracing.tracer import Tracer
from stayfinite.records.incident import Origin, Symptom
from stayfinite.records.trace import Trace

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch")
MARK = "# <- origin"


class Traced:
    """A traced step. **Fields**: `trace`, `error` that ended it (or ``None``), `result` of the step, `batch_size`."""

    def __init__(self, trace: Trace, error: BaseException | None, result: Any, batch_size: int | None) -> None:
        self.trace, self.error, self.result, self.batch_size = trace, error, result, batch_size

    def origin(self, detector: str = "nonfinite-loss", names: tuple[str, ...] = ()) -> Localized:
        """The origin of the symptom `detector`."""
        symptom = Symptom(detector=detector, step=0, series="x", value="nan", names=names)
        return localize(self.trace, symptom)


def trace_step(
    step: Callable[[], Any],
    roots: Sequence[torch.nn.Module] = (),
    batch: Mapping[str, object] | None = None,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    names: Mapping[int, str] | None = None,
    late: Mapping[str, object] | None = None,
) -> Traced:
    """Run `step` once under a tracer. Backward calls are announced to it as the session does. `late`: filled by the
    step with names it binds itself."""
    tracer = Tracer(
        roots,
        batch or {},
        optimizers,
        lambda file: file.startswith(FOLDER),
        os.path.basename,
        names,
    )
    error: BaseException | None = None
    result = None
    plain = torch.autograd.backward

    def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        tracer.note_loss(tensors)
        return plain(tensors, *args, **kwargs)

    torch.autograd.backward = backward
    try:
        with tracer:
            try:
                result = step()
            except Exception as raised:
                error = raised
                tracer.note_exception(raised)
            tracer.batch.update(late or {})
    finally:
        torch.autograd.backward = plain
    return Traced(tracer.finish(), error, result, tracer.batch_size)


def marked_line(function: Any, mark: str = MARK) -> int:
    """The line of the comment `mark` in the source of `function` (or class)."""
    lines, first = inspect.getsourcelines(function)
    found = [first + place for place, line in enumerate(lines) if line.rstrip().endswith(mark)]
    assert len(found) == 1, f"{function.__qualname__} has {len(found)} lines marked {mark}"
    return found[0]


def some(rows: int = 8, columns: int = 4) -> torch.Tensor:
    """Numbers between 0.1 and 1.1."""
    return torch.rand(rows, columns) + 0.1


def train(
    net: nn.Module, x: torch.Tensor, loss: Callable[..., Any], optimizer: torch.optim.Optimizer | None = None
) -> Traced:
    """One ordinary step of `net` on `x` with the loss `loss(output)`."""
    optimizer = optimizer or torch.optim.SGD(net.parameters(), 0.1)

    def step() -> float:
        optimizer.zero_grad()
        value = loss(net(x))
        value.backward()
        optimizer.step()
        return value.item()

    return trace_step(step, [net], {"x": x}, [optimizer])


def place(
    traced: Traced, where: Any, phase: str, op: str, detector: str = "nonfinite-loss", mark: str = MARK
) -> Origin:
    """Assert that the origin lies on the marked line of `where`, with that phase and kind; gives it back for more."""
    found = traced.origin(detector)
    assert found.origin is not None, found.reason
    origin = found.origin
    assert origin.location.line == marked_line(where, mark), origin
    assert (origin.phase, origin.op) == (phase, op)
    return origin


def check(
    traced: Traced,
    where: Any,
    phase: str,
    op: str,
    *,
    module: str | None = None,
    samples: tuple[int, ...] = (),
    detector: str = "nonfinite-loss",
    mark: str = MARK,
) -> Origin:
    """The same, and its file, module and samples."""
    origin = place(traced, where, phase, op, detector, mark)
    assert origin.location.file == os.path.basename(inspect.getsourcefile(where) or "")
    assert origin.module == module
    assert origin.samples == samples
    return origin
