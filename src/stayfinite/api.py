"""What Python code calls: `watch` and `open_recording`."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from stayfinite.errors import UsageError
from stayfinite.frameworks.torch.options import Options
from stayfinite.records.manifest import NOTEBOOK
from stayfinite.records.recording import Recording
from stayfinite.rewrite import explicit
from stayfinite.rewrite.project import is_cell, is_user_file
from stayfinite.rewrite.runtime import Attempt
from stayfinite.watching import Watching, manifest_of

if TYPE_CHECKING:
    from stayfinite.reporters.document import Report

_Step = TypeVar("_Step", bound=Callable[..., Any])


def watch(
    *subjects: object,
    on_incident: str = "stop",
    budget: float = 60.0,
    every: int = 50,
    report: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    prevent: Iterable[str] = (),
) -> Guard:
    """Watch the training of this process from now on.

    **Arguments**

    - `subjects`: models and optimizers, in any order. They are found in the loop anyway; naming them checks that they
      are what you think.
    - `on_incident`: ``"stop"`` raises `TrainingHalted` once the bad step is held; ``"skip"`` leaves the step out;
      ``"recover"`` also goes back to an earlier state with a lower rate where that is not enough, and stops if nothing helps.
    - `budget`: seconds for replays. `every`: steps between looks at parameters and buffers.
    - `report`: the folder of the recording; by default one is made on the first incident.
    - `quiet`: tell nothing on the terminal.
    - `prevent`: ids of policies that change updates before anything fails: ``"clip-outliers"``, ``"clip-by-weight"``,
      ``"clip-update"``, ``"skip-spikes"``. None is on by itself.

    **Returns** a `Guard`. Give it the step, as a function or as a block that can run again:

        guard = stayfinite.watch(model, optimizer)

        @guard.step
        def train_step(x, y): ...

        for x, y in loader:
            for attempt in guard.step():
                with attempt:
                    ...

    Without either, a bad step is held but cannot be replayed; but for the loops of notebook cells that run after this
    one, which are wrapped as those of a script are.

    **Raises** UsageError for a wrong argument, or if this process is watched already.
    """
    if on_incident not in ("stop", "skip", "recover"):
        raise UsageError(f'on_incident is {on_incident!r}; it must be "stop", "skip" or "recover"')
    for name, value in (("budget", budget), ("every", every)):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value < (1 if name == "every" else 0):
            raise UsageError(f"{name} is {value!r}; it must be a number of {'steps' if name == 'every' else 'seconds'}")
    _check_subjects(subjects)
    prevent = (prevent,) if isinstance(prevent, str) else tuple(prevent)
    if prevent:
        from stayfinite.catalog.prevention import unknown

        if unknown(prevent):
            raise UsageError(f"prevent: {unknown(prevent)}")
    caller = _user_frame()
    script = caller.f_code.co_filename if caller is not None else sys.argv[0]
    in_cell = is_cell(script)
    folder = os.getcwd() if in_cell else os.path.dirname(os.path.realpath(script)) or os.getcwd()
    script = NOTEBOOK if in_cell else script
    # a stored step is run again by running its script
    options = Options(
        on_incident=on_incident, budget=float(budget), every=int(every), folder=folder, keep_case=not in_cell, wraps=in_cell,
        prevent=prevent,
    )
    manifest = manifest_of(os.path.basename(script), tuple(sys.argv[1:]), folder=folder)
    return Guard(Watching(manifest, options, folder=Path(report) if report is not None else None, quiet=quiet))


def _check_subjects(subjects: tuple[object, ...]) -> None:
    torch = sys.modules.get("torch")
    for subject in subjects:
        if torch is None or not isinstance(subject, (torch.nn.Module, torch.optim.Optimizer)):
            raise UsageError(
                f"watch() was given a {type(subject).__name__}; give it models (torch.nn.Module) and optimizers "
                "(torch.optim.Optimizer), or nothing"
            )


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and not is_user_file(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


class Guard:
    """A watched training. Also a context manager: leaving it, or `close()`, ends the watch and puts torch back."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._report: Report | None = None
        watching.attach()

    @overload
    def step(self) -> Iterable[Attempt]: ...

    @overload
    def step(self, function: _Step) -> _Step: ...

    def step(self, function: _Step | None = None) -> _Step | Iterable[Attempt]:
        """As a decorator: `function` is one training step. Called without arguments: the attempts of a block.

        **Raises** UsageError if the block holds a `break`, `continue` or `return` that leaves it: write the test after
        the block.
        """
        if function is None:
            return explicit.attempts(sys._getframe(1))
        if not callable(function):
            raise UsageError(f"guard.step was given a {type(function).__name__}; decorate the function that is one step")

        @functools.wraps(function)
        def step(*args: Any, **kwargs: Any) -> Any:
            return explicit.call(function, args, kwargs)

        return step  # type: ignore[return-value]

    @property
    def report(self) -> Report:
        """What is known so far, as in ``report.json``."""
        if self._report is not None:
            return self._report
        from stayfinite.reporters.report import build_report

        return build_report(self._watching.recorder.recording())

    def close(self) -> Report:
        """End the watch, write the recording's closing if there is one, and return the report."""
        if self._report is None:
            self._report = self._watching.finish(0)
        return self._report

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_recording(folder: str | os.PathLike[str]) -> Recording:
    """The recording in `folder`.

    **Raises** RecordingError if it is none.
    """
    from stayfinite.recording.reader import read_recording

    return read_recording(Path(folder))
