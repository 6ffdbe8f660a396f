"""Whole processes: how long they take, how much CPU and how much memory."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKLOADS = HERE / "workloads"


@dataclass(frozen=True)
class Ended:
    """A process that ended. `seconds`: wall clock; `cpu`: user and system seconds; `peak`: largest resident set in MiB;
    `told`: the monotonic clock when it last wrote to stderr."""

    exit_code: int
    seconds: float
    cpu: float
    peak: float
    stdout: str
    stderr: str
    told: float


def run(command: list[str], *, threads: int = 1) -> Ended:
    """Run `command` in an empty folder, with one thread for arithmetic, and wait for it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent / "src"), "OMP_NUM_THREADS": str(threads)}
        begun = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        assert process.stdout is not None and process.stderr is not None
        read: dict[str, bytes] = {"out": b"", "err": b""}
        told = begun
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ, "out")
            waiting.register(process.stderr, selectors.EVENT_READ, "err")
            while waiting.get_map():
                for key, _ in waiting.select():
                    chunk = os.read(key.fd, 65536)
                    if not chunk:
                        waiting.unregister(key.fileobj)
                        continue
                    read[key.data] += chunk
                    if key.data == "err":
                        told = time.monotonic()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        process.stderr.close()
    kilobytes = used.ru_maxrss / 1024 if sys.platform == "darwin" else used.ru_maxrss
    return Ended(
        process.returncode, seconds, used.ru_utime + used.ru_stime, kilobytes / 1024,
        read["out"].decode(errors="replace"), read["err"].decode(errors="replace"), told,
    )


def bare(script: str, *arguments: str) -> list[str]:
    """``python SCRIPT``, a script of `workloads/`."""
    return [sys.executable, str(WORKLOADS / script), *arguments]


def watched(script: str, *arguments: str) -> list[str]:
    """``stayfinite run SCRIPT``."""
    return [sys.executable, "-m", "stayfinite", "run", str(WORKLOADS / script), *arguments]
