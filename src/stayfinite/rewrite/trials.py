"""The user's script once more, from its start, with one change: does it still fail, and does it learn?

    trial = run_trial(TrialRequest(program, "log_softmax for log of softmax", sources={path: text}, steps=80))

It runs in a process of its own, watched like the first time: whatever is a symptom there is one here, and ends the trial.
Nothing is repeated, investigated or written: what the script writes goes into a folder that is thrown away (`scratch`), what it
prints goes nowhere, connections and other programs are refused; workers that load its data are its own business. A trial
without a change is the control: it comes to the same losses and fails at the same step, if the script draws the same numbers
each time; generators it does not seed begin as they did in the run (`beginning`).

One server process imports the framework and forks for every trial, because an import costs ten times what a short trial does.
It has run nothing when it forks. Where it does not answer, a trial begins in a fresh interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from stayfinite.records.diagnosis import Trial
from stayfinite.records.encoding import encode
from stayfinite.records.intervention import Intervention
from stayfinite.records.numbers import Number, to_float, to_number
from stayfinite.rewrite.beginning import Beginning, noted
from stayfinite.rewrite.births.second_run import Program, search_path

MODULE = "stayfinite.cli.trial"
KEPT = 2000
"""Losses a trial tells at most; a longer run is thinned evenly."""
STARTING = 30.0
"""Seconds a server may take to import the framework: 3 s where its files are in memory, ten times that from a slow disk."""
GRACE = 3.0
"""Seconds after its time that a trial may take to end by itself."""


class TrialRequest(msgspec.Struct, frozen=True):
    """What is tried.

    **Fields**

    - `change`: in words; empty for the control.
    - `sources`: absolute path of a user's file to the text that runs in its place.
    - `interventions`: performed in every step.
    - `steps`: it ends after that many updates; 0: when the script does. `seconds`: it ends after that long.
    - `watch_for`: id of the symptom that must not be seen, where that does not stop a run by itself: a finite one.
    - `failed_at`: the step that failed in the run, if that is to be passed; -1: it is not known.
    - `every`: updates between looks at parameters and buffers, as in the run; `prevent`: policies that are switched on in it.
    """

    program: Program
    change: str
    sources: dict[str, str] = {}
    interventions: tuple[Intervention, ...] = ()
    steps: int = 0
    seconds: float = 30.0
    watch_for: str = ""
    failed_at: int = -1
    every: int = 50
    prevent: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True):
    """How a trial ended, as its process says: `how` is ``"steps"`` (all that were asked for), ``"end"`` (of the script),
    ``"time"``, ``"symptom"``, ``"error"`` or ``"refused"``. `symptom`, `step`: the one that ended it, or the first finite one;
    `loss`: the value it was seen in, if that was a loss.
    """

    how: Literal["steps", "end", "time", "symptom", "error", "refused"]
    steps: int = 0
    symptom: str = ""
    step: int = -1
    note: str = ""
    loss: Number | None = None


class Asked(msgspec.Struct, frozen=True):
    """What a process is told: the trial, and how the run began."""

    request: TrialRequest
    beginning: Beginning


def run_trial(request: TrialRequest) -> Trial:
    """Try `request`. Never raises: what went wrong is in `Trial.note`."""
    started = time.monotonic()
    if not request.program.script and request.program.module is None:
        return Trial(request.change, "not_run", note="there is no script that could be run again")
    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        return Trial(request.change, "not_run", note="the script trains in several processes that wait for each other")
    for path, text in request.sources.items():
        try:
            compile(text, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            return Trial(request.change, "broken", note=f"the changed source of {os.path.basename(path)} does not parse: {error}")
    try:
        with tempfile.TemporaryDirectory(prefix="sf-", ignore_cleanup_errors=True) as folder:  # short: sockets lie in it
            asked, journal = Path(folder, "request.json"), Path(folder, "journal")
            asked.write_bytes(encode(Asked(request, _beginning(request.program))))
            journal.touch()
            died = _start(request, asked, journal)
            trial = told(request, journal.read_text(encoding="utf-8", errors="replace"), died)
    except OSError as error:
        return Trial(request.change, "not_run", note=f"a trial could not be started: {error}")
    return msgspec.structs.replace(trial, seconds=time.monotonic() - started)


def told(request: TrialRequest, journal: str, died: str = "") -> Trial:
    """The trial that a `journal` tells of: a line ``step loss`` per reading, then how it ended as JSON. `died`: what is known of
    a process that could not say that itself."""
    losses: dict[int, float] = {}
    ended: Ended | None = None
    for line in journal.splitlines():
        if line.startswith("{"):
            with contextlib.suppress(msgspec.DecodeError):
                ended = msgspec.json.decode(line, type=Ended)
            continue
        step, _, value = line.partition(" ")
        with contextlib.suppress(ValueError):
            losses.setdefault(int(step), float(value))
    if ended is None:
        taken = max(losses, default=-1) + 1
        how: Literal["time", "error"] = "time" if not died else "error"
        ended = Ended(how, taken, note=died or f"the {request.seconds:.0f} s were over after {taken} updates")
    if ended.loss is not None:
        losses[ended.step] = to_float(ended.loss)  # a step may have several, and another one is its first
    kept, stride = _thinned(losses)
    return Trial(
        request.change, _status(request, ended), ended.steps, ended.symptom, ended.step, kept, note=ended.note, stride=stride
    )


def _status(request: TrialRequest, ended: Ended) -> Literal["finite", "failed", "ended", "broken", "not_run"]:
    passed = ended.steps > request.failed_at
    if ended.how == "symptom":
        return "failed"
    if ended.how == "refused":
        return "not_run"
    if ended.how == "error":
        return "broken"
    if ended.how == "time":
        return "finite" if passed and request.failed_at >= 0 else "ended"
    return "finite" if passed else "ended"


def _thinned(losses: dict[int, float]) -> tuple[tuple[Number, ...], int]:
    """At most `KEPT` of them, evenly, and the last; a step without a reading (a micro-batch that was dropped) repeats none."""
    steps = sorted(losses)
    stride = max(1, -(-len(steps) // KEPT))
    chosen = steps[::stride]
    if steps and chosen[-1] != steps[-1]:
        chosen.append(steps[-1])
    return tuple(to_number(losses[step]) for step in chosen), stride


# -- processes ---------------------------------------------------------------------------------------------------------------


def _start(request: TrialRequest, asked: Path, journal: Path) -> str:
    """Have the trial run, and wait for its end. **Returns** how its process died, if it did not end by itself."""
    with contextlib.suppress(OSError, _NoAnswer):
        return _server(request.program).ask(asked, journal, request.seconds)
    close()
    journal.write_text("")
    return _fresh(request, asked, journal)


def _fresh(request: TrialRequest, asked: Path, journal: Path) -> str:
    process = subprocess.Popen(
        [*_interpreter(), str(asked), str(journal)], cwd=asked.parent, env=_environment(request.program),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )
    try:
        code = process.wait(STARTING + request.seconds + GRACE)
    except subprocess.TimeoutExpired:
        return ""
    finally:
        sweep(process.pid)
        process.wait()
    return how_died(code)


def how_died(code: int) -> str:
    """A process that ended with `code`, in words; empty if it ended well."""
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with code {code}" if code else ""


def sweep(group: int) -> None:
    """End what is left of a trial: each runs in a process group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _interpreter() -> list[str]:
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-m", MODULE]


def _beginning(program: Program) -> Beginning:
    known = noted()
    return msgspec.structs.replace(known, environment=_environment(program, known.environment))


def _environment(program: Program, before: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment `before` the run changed it (``None``: as it is now), made fit for a trial."""
    # trackers know how to be off, and what fetches data to take what it has fetched before: there is no network
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "1") | {"WANDB_MODE": "disabled"}
    return {**(before or os.environ), **offline, "PYTHONPATH": search_path(program.working_directory)}


_AT_ONCE = ("PYTHON", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "LD_", "CUDA", "CUBLAS", "TORCH", "PYTORCH_", "ATEN_")
"""Beginnings of variables that are read when the interpreter or the framework starts, and not again."""


def _at_once(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_AT_ONCE)}


_SHARED = ("numpy", "scipy", "sklearn", "pandas", "torchvision")
"""Packages that a server imports too where this process has: they take a second or more, and start nothing by themselves."""


def _loaded() -> list[str]:
    """What of them this process has, down to their parts (``sklearn.datasets``)."""
    names = [name for name in list(sys.modules) if name.partition(".")[0] in _SHARED]
    return sorted(name for name in names if name.count(".") < 2 and "._" not in name)


class _NoAnswer(Exception):
    """The server ended, or says nothing."""


class _Server:
    """A process that forks for each trial. It ends when this one does, or nobody asked for a minute."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.owner = os.getpid()
        self._folder = tempfile.mkdtemp(prefix="sf-")
        self._process = subprocess.Popen(
            [*_interpreter(), "--serve", *_loaded()], cwd=self._folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0, start_new_session=True,
        )
        self._ready = False

    def serves(self, environment: dict[str, str]) -> bool:
        """True if it runs, is ours, and began with `environment` as far as that matters."""
        ours = self.owner == os.getpid() and self._process.poll() is None
        return ours and _at_once(self._environment) == _at_once(environment)

    def ask(self, asked: Path, journal: Path, seconds: float) -> str:
        """Have one trial run, and wait for its end.

        **Raises** _NoAnswer, or OSError, if there is no server to do it.
        """
        if not self._ready:
            if self._line(STARTING) != "ready":
                raise _NoAnswer
            self._ready = True
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds} {asked}\0{journal}\n".encode())
        answer = self._line(seconds + 2 * GRACE)
        if not answer.startswith("ended "):
            raise _NoAnswer
        return "" if answer == "ended timeout" else how_died(int(answer.split()[1]))

    def _line(self, seconds: float) -> str:
        assert self._process.stdout is not None
        until, got = time.monotonic() + seconds, b""
        while not got.endswith(b"\n"):
            if not select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                raise _NoAnswer
            more = self._process.stdout.read(4096)
            if not more:
                raise _NoAnswer
            got += more
        return got.decode().strip()

    def close(self) -> None:
        if os.getpid() != self.owner:
            return  # a child of the user's has a copy of this object, and none of the process
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        sweep(self._process.pid)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


_running: _Server | None = None


def _server(program: Program) -> _Server:
    """The server of this process, started now if there is none for the environment as it is."""
    global _running
    if not hasattr(os, "fork"):
        raise _NoAnswer
    environment = _environment(program)
    if _running is not None and not _running.serves(environment):
        close()
    if _running is None:
        _running = _Server(environment)
        atexit.register(close)
    return _running


def close() -> None:
    """End the server, if there is one. The next trial starts another."""
    global _running
    server, _running = _running, None
    if server is not None:
        atexit.unregister(close)
        server.close()


@contextlib.contextmanager
def trials() -> Iterator[None]:
    """Several trials in a row: the server that they share ends with the block."""
    try:
        yield
    finally:
        close()
