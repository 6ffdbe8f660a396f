"""Run scripts as ``python script.py`` or ``stayfinite ...`` would, without paying for ``import torch`` each time.

One server process has imported torch, with one thread, and runs nothing in it. For each case it forks a child that
takes over arguments, folder, environment and the three streams, becomes ``__main__`` and ends as an interpreter ends:
exit handlers, open files flushed, the exit code of ``SystemExit``, a traceback without a frame of ours. A case that
needs an interpreter of its own (spawned children, a compiler's subprocesses, hash seeds) is run with ``fresh=True``; so
is every case where the system has no pidfd.

    run_bare(["train.py", "--lr", "1"], folder)            python train.py --lr 1
    run_cli(["run", "train.py"], folder, {"NAME": "1"})    stayfinite run train.py
    run_case(["python", "-m", "job"], folder)              both of the above, by the first word

What differs from a real interpreter: torch is imported already; hash seeds and variables that are read when torch or
the interpreter starts (``OMP_NUM_THREADS``, ``PYTHONHASHSEED``) are those of the server; modules and objects of the
script are not taken apart at the end, so a ``__del__`` that only interpreter exit would call is not called.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NoReturn

SOURCES = Path(__file__).resolve().parent.parent / "src"

PRELOADED = ("numpy", "torch", "torch.utils.data", "torch._dynamo", "torch.optim.swa_utils", "torch.utils.checkpoint")
"""Imported once by the server. `torch._dynamo` because the first optimizer of a process imports it (over a second)."""

SINGLE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Sums are grouped by thread, so bits can be compared only at one thread count; and a forked child has no pool."""

_ANY_FILE: Any = io.IOBase.__base__

CAN_FORK = hasattr(os, "fork") and hasattr(os, "pidfd_open")


@dataclass(frozen=True)
class Completed:
    """How a case ended. `exit_code` is negative for a signal, as in `subprocess`; `seconds` is wall time."""

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool = False
    seconds: float = 0.0


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a case: ours without STAYFINITE_*, no trials, one thread, our sources importable, no bytecode written."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STAYFINITE_", "PYTEST_"))}
    kept["STAYFINITE_NO_TRIALS"] = "1"  # hundreds of cases meet an incident: those that are about trials say "0"
    path = os.pathsep.join(p for p in (str(SOURCES), kept.get("PYTHONPATH", "")) if p)
    fixed = {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", **SINGLE_THREAD}
    return {**kept, **fixed, **(extra or {})}


def run_bare(
    argv: Sequence[str],
    cwd: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    *,
    stdin: str | None = None,
    timeout: float = 60.0,
    fresh: bool = False,
) -> Completed:
    """`python ARGV...` in `cwd`."""
    return run_case(["python", *argv], cwd, env, stdin=stdin, timeout=timeout, fresh=fresh)


def run_cli(
    argv: Sequence[str],
    cwd: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    *,
    stdin: str | None = None,
    timeout: float = 60.0,
    fresh: bool = False,
) -> Completed:
    """`stayfinite ARGV...` in `cwd`."""
    return run_case(["stayfinite", *argv], cwd, env, stdin=stdin, timeout=timeout, fresh=fresh)


def run_case(
    argv: Sequence[str],
    cwd: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    *,
    stdin: str | None = None,
    timeout: float = 60.0,
    fresh: bool = False,
) -> Completed:
    """Run `argv`, whose first word is ``python`` or ``stayfinite``, and wait for its end.

    **Arguments**: `env` is added to `environment()`; `stdin` is what the case reads (nothing by default); after
    `timeout` seconds the case and its children are killed; `fresh` asks for an interpreter of its own.

    **Raises** `ValueError` for another first word, `RuntimeError` if the server cannot run.
    """
    if not argv or argv[0] not in ("python", "stayfinite"):
        raise ValueError(f"a case begins with python or stayfinite, got {list(argv)!r}")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="case-") as folder:
        streams = [os.path.join(folder, name) for name in ("stdin", "stdout", "stderr")]
        Path(streams[0]).write_text(stdin or "", encoding="utf-8")
        request: dict[str, Any] = {"argv": list(argv), "cwd": os.fspath(cwd), "env": environment(env)}
        request |= {"streams": streams, "timeout": timeout}
        answer = _run_fresh(request) if fresh or not CAN_FORK else _server().ask(request)
        out, err = (Path(s).read_text(encoding="utf-8", errors="backslashreplace") for s in streams[1:])
    return Completed(answer["exit_code"], out, err, answer["timed_out"], time.perf_counter() - started)


def _run_fresh(request: dict[str, Any]) -> dict[str, Any]:
    head = [sys.executable] if request["argv"][0] == "python" else [sys.executable, "-m", "stayfinite"]
    with contextlib.ExitStack() as files:
        modes = zip(request["streams"], ("rb", "wb", "wb"), strict=True)
        opened = [files.enter_context(open(path, mode)) for path, mode in modes]
        process = subprocess.Popen(
            [*head, *request["argv"][1:]],
            cwd=request["cwd"],
            env=request["env"],
            stdin=opened[0],
            stdout=opened[1],
            stderr=opened[2],
            start_new_session=True,
        )
        timed_out = False
        try:
            process.wait(request["timeout"])
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            _sweep(process.pid)
            process.wait()
    return {"exit_code": process.returncode, "timed_out": timed_out}


def _sweep(group: int) -> None:
    """End whatever is left of a case: each runs in a process group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


# ---- the side of the tests -------------------------------------------------------------------------------------------


class _Server:
    """A server process and the way to it. One connection per case, so threads may ask at the same time."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="forkserver-")
        self.address = os.path.join(self.folder, "socket")
        with socket.socket(socket.AF_UNIX) as listener, open(os.path.join(self.folder, "log"), "wb") as log:
            listener.bind(self.address)
            listener.listen(16)
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(listener.fileno())],
                env=environment(),
                stdin=subprocess.PIPE,  # its end tells the server that the tests are gone
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(self.address)
                connection.sendall(json.dumps(request).encode() + b"\n")
                line = connection.makefile("rb").readline()
        except OSError as error:
            raise RuntimeError(f"the fork server does not answer ({error}); its log:\n{self.log()}") from error
        if not line:
            raise RuntimeError(f"the fork server ended; its log:\n{self.log()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def log(self) -> str:
        return Path(self.folder, "log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


_running: _Server | None = None
_starting = threading.Lock()


def _server() -> _Server:
    global _running
    with _starting:
        if _running is None or _running.process.poll() is not None:
            _running = _Server()
            atexit.register(_running.close)
        return _running


# ---- the server ------------------------------------------------------------------------------------------------------


@dataclass
class _Child:
    pid: int
    connection: socket.socket
    deadline: float
    timed_out: bool = False


def _serve(listener: socket.socket) -> dict[str, Any] | None:
    """Fork a child per request. Returns the request in a child, and None in the server once the tests are gone."""
    events = selectors.DefaultSelector()
    events.register(listener, selectors.EVENT_READ, "request")
    events.register(0, selectors.EVENT_READ, "gone")
    children: dict[int, _Child] = {}
    while True:
        wait = min((c.deadline for c in children.values() if not c.timed_out), default=None)
        for key, _ in events.select(None if wait is None else max(0.0, wait - time.monotonic())):
            if key.data == "gone":
                for child in children.values():
                    _sweep(child.pid)
                return None
            if key.data == "request":
                connection, _address = listener.accept()
                line = connection.makefile("rb").readline()
                if not line:
                    connection.close()
                    continue
                request: dict[str, Any] = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    connection.close()
                    for child_fd, other in children.items():
                        os.close(child_fd)
                        other.connection.close()
                    events.close()
                    listener.close()
                    return request
                pidfd = os.pidfd_open(pid)
                children[pidfd] = _Child(pid, connection, time.monotonic() + request["timeout"])
                events.register(pidfd, selectors.EVENT_READ, "ended")
                continue
            child = children.pop(key.fd)
            events.unregister(key.fd)
            os.close(key.fd)
            _, status = os.waitpid(child.pid, 0)
            _sweep(child.pid)
            answer = {"exit_code": os.waitstatus_to_exitcode(status), "timed_out": child.timed_out}
            with contextlib.suppress(OSError), child.connection:
                child.connection.sendall(json.dumps(answer).encode() + b"\n")
        for child in children.values():
            if not child.timed_out and time.monotonic() >= child.deadline:
                child.timed_out = True
                _sweep(child.pid)


# ---- the child -------------------------------------------------------------------------------------------------------


def _become(request: dict[str, Any]) -> None:
    """Take over streams, folder, environment. The buffers of the server's own streams are empty: it never used them."""
    os.setsid()
    for fd, (path, flags) in enumerate(zip(request["streams"], (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        opened = os.open(path, flags | (os.O_CREAT | os.O_APPEND if fd else 0), 0o600)
        os.dup2(opened, fd, inheritable=True)
        os.close(opened)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    # the server's NumPy seed is copied by the fork; a script that forgot to seed must not look deterministic
    sys.modules["numpy"].random.seed()


def _run_child(request: dict[str, Any]) -> NoReturn:
    _become(request)
    program, *rest = request["argv"]
    try:
        if program == "stayfinite":
            _run_cli(rest)
        elif rest[:1] == ["-m"]:
            sys.path.insert(0, os.getcwd())
            sys.argv = ["-m", *rest[2:]]
            runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
        else:
            _run_script(rest)
    except SystemExit as leaving:
        _end(leaving.code)
    except BaseException as error:
        _end(_report(error))
    _end(None)


def _end(code: Any) -> NoReturn:
    """End as an interpreter does, but for taking torch's modules apart, which costs 0.8 s a case."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads of the script
    atexit._run_exitfuncs()
    for thing in gc.get_objects():
        if issubclass(type(thing), _ANY_FILE):  # not isinstance: it asks lazy objects of torch for their class
            with contextlib.suppress(OSError, ValueError):
                thing.flush()
    os._exit((code or 0) & 0xFF)


def _run_script(argv: list[str]) -> None:
    path = os.path.abspath(argv[0])
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        print(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        sys.exit(2)
    main = types.ModuleType("__main__")
    loader = SourceFileLoader("__main__", path)
    vars(main).update(__file__=path, __builtins__=builtins, __cached__=None, __loader__=loader, __annotations__={})
    sys.modules["__main__"] = main
    sys.argv = argv
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)


def _run_cli(argv: list[str]) -> None:
    sys.path.insert(0, os.getcwd())
    sys.argv = [str(SOURCES / "stayfinite" / "__main__.py"), *argv]
    sys.exit(importlib.import_module("stayfinite.cli").main(argv))


def _report(error: BaseException) -> int:
    """Print an exception as the interpreter does for one that nobody caught; the exit code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__):
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    if isinstance(error, KeyboardInterrupt):
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return 1


def _main() -> None:
    del sys.path[0]  # the folder of this file: a script must not find the tests
    listener = socket.socket(fileno=int(sys.argv[1]))
    for name in PRELOADED:
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    gc.freeze()  # children copy fewer pages, and `_end` looks only at what the script made
    request = _serve(listener)
    if request is not None:
        _run_child(request)


if __name__ == "__main__":
    _main()
