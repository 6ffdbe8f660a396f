"""Runs an exported script, without importing the framework once more where the system can fork."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch

OUT, ERR = "out.txt", "err.txt"
"""What a script wrote, in the folder it lies in."""


def one_thread() -> int:
    """Keep PyTorch to one thread in this process; returns how many it had.

    A child that is forked from a process whose pool of threads was started waits for these threads for ever.
    """
    threads: int = torch.get_num_threads()
    torch.set_num_threads(1)
    return threads


def ended(file: Path, timeout: float, threads: int) -> int | None:
    """Run the script `file`, its output going to files beside it. **Returns** its exit code, ``None`` if it did not end in time.

    Where there is `os.fork` the framework that this process has imported is not imported once more: a run takes a fraction.
    """
    with (file.parent / OUT).open("wb") as out, (file.parent / ERR).open("wb") as err:
        if hasattr(os, "fork"):
            return _waited(_forked(file, out.fileno(), err.fileno(), threads), timeout)
        try:
            return subprocess.run(
                [sys.executable, str(file)], stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=timeout, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return None


def _forked(file: Path, out: int, err: int, threads: int) -> int:
    """The number of a process that runs the script `file` with so many threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since Python 3.12: "this process is multi-threaded"
        child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(number, "wb"), line_buffering=True) for number in (1, 2))
        torch.set_num_threads(threads)
        sys.argv = [str(file)]
        code = 0
        runpy.run_path(str(file), run_name="__main__")
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _waited(child: int, timeout: float) -> int | None:
    """The exit code of process `child`; ``None`` if it had to be killed, with all it had started."""
    until = time.monotonic() + timeout
    try:
        while time.monotonic() < until:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        return None
    finally:
        with contextlib.suppress(OSError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(child, 0)
