"""A repetition must leave no trace: nothing printed, nothing logged, nothing written, nothing sent.

Output is muted at the file descriptors and at `sys.stdout`/`sys.stderr`, `logging` is disabled, known trackers are switched
to doing nothing, and an audit hook refuses opening files for writing, sockets and child processes: a step that does one of
these is not repeated, and the report names what it wanted.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from stayfinite.errors import LeaveAttempt

_WRITING = frozenset("wax+")
_TRACKERS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    # module -> (owner within it, methods that send or write)
    "torch.utils.tensorboard.writer": (("SummaryWriter", ("add_scalar", "add_scalars", "add_histogram", "add_image",
                                                          "add_images", "add_text", "add_figure", "add_graph", "flush")),),
    "wandb": (("", ("log",)),),
    "mlflow": (("", ("log_metric", "log_metrics", "log_param", "log_params", "log_artifact")),),
}


class _Guard:
    """The process-wide audit hook: installed once, on the first repetition, and idle outside repetitions.

    It hears the thread that repeats and no other: a tracker's own writing thread goes on. While it is active it opens
    nothing itself, because it is called in the middle of other people's calls, with their locks held.
    """

    def __init__(self) -> None:
        self.installed = False
        self.thread = 0
        """Identifier of the thread that repeats, 0 for none."""
        self.scratch: str | None = None
        """Where compilers of the framework keep what they build; ``None`` where no temporary file can be made."""
        self.refused: str | None = None

    def install(self) -> None:
        if self.installed:
            return
        self.installed = True
        with contextlib.suppress(OSError):
            self.scratch = os.path.join(tempfile.gettempdir(), "torchinductor")
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.thread or self.thread != threading.get_ident():
            return
        wanted = None
        if event == "open":
            path, mode, flags = arguments
            if not isinstance(path, (str, bytes)) or self._is_harmless(os.fsdecode(path)):
                return
            writes = bool(_WRITING & set(mode)) if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR))
            if writes:
                wanted = f"it opens {os.fsdecode(path)!r} for writing"
        elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.truncate"):
            if not self._is_harmless(str(arguments[0])):
                wanted = f"it calls {event} on {str(arguments[0])!r}"
        elif event in ("subprocess.Popen", "os.system", "os.fork", "os.posix_spawn", "os.exec"):
            wanted = "it starts another process"
        elif event in ("socket.connect", "socket.bind", "socket.sendto"):
            wanted = "it opens a network connection"
        if wanted is not None:
            self.refused = wanted
            raise LeaveAttempt(wanted)

    def _is_harmless(self, path: str) -> bool:
        built = self.scratch is not None and path.startswith(self.scratch)
        return path == os.devnull or built or path.endswith(".pyc") or "__pycache__" in path


_guard = _Guard()


class _Nowhere(io.TextIOBase):
    """Takes text and keeps none."""

    def write(self, text: str) -> int:
        return len(text)

    def writable(self) -> bool:
        return True


class Quiet:
    """The result of `quiet()`: `refused` says what the step wanted to do that a repetition must not."""

    @property
    def refused(self) -> str | None:
        return _guard.refused


@contextlib.contextmanager
def quiet() -> Iterator[Quiet]:
    """Everything run inside leaves no trace outside the process."""
    _guard.install()
    streams = sys.stdout, sys.stderr
    for stream in streams:
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.ExitStack() as stack:
        stack.enter_context(muted_descriptors())
        stack.enter_context(_muted_trackers())
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, level)
        sys.stdout, sys.stderr = _Nowhere(), _Nowhere()
        _guard.refused = None
        _guard.thread = threading.get_ident()
        try:
            yield Quiet()
        finally:
            _guard.thread = 0
            for stream in streams:
                with contextlib.suppress(Exception):
                    stream.flush()  # text a handle of the user's own put into the same buffer goes nowhere
            sys.stdout, sys.stderr = streams


@contextlib.contextmanager
def muted_descriptors() -> Iterator[None]:
    """What is written to the file descriptors of standard output and error goes nowhere."""
    saved: list[tuple[int, int]] = []
    nowhere = None
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                saved.append((descriptor, os.dup(descriptor)))
                os.dup2(nowhere, descriptor)
        yield
    finally:
        for descriptor, kept in saved:
            os.dup2(kept, descriptor)
            os.close(kept)
        if nowhere is not None:
            os.close(nowhere)


@contextlib.contextmanager
def _muted_trackers() -> Iterator[None]:
    replaced: list[tuple[Any, str, Any]] = []
    for module_name, owners in _TRACKERS.items():
        module = sys.modules.get(module_name)
        for owner_name, methods in owners if module is not None else ():
            owner = getattr(module, owner_name, None) if owner_name else module
            for method in methods:
                original = getattr(owner, method, None)
                if original is not None:
                    replaced.append((owner, method, original))
                    setattr(owner, method, _do_nothing)
    try:
        yield
    finally:
        for owner, method, original in replaced:
            setattr(owner, method, original)


def _do_nothing(*_args: Any, **_kwargs: Any) -> None:
    return None
