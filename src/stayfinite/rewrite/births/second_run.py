"""The same script once more, in a fresh process and under the microscope, to see who makes a value while it sets up.

    answer = find(program, Wanted(names=("readings",), shape=(2000, 8), dtype="float32", nonfinite=1), seconds=20.0)

`answer` is a `Birth`, or a sentence that says why there is none. The run is stopped before the first pass of a step block
(or after `Wanted.passes` of them); what it prints goes nowhere, files it opens for writing are nobody's, child processes and
connections are refused. What it costs is one import of everything and the set-up at a tenth of its speed, so `affordable`
says whether it is worth trying.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from stayfinite.records.encoding import encode
from stayfinite.records.numbers import Number
from stayfinite.records.survey import Birth

SLOWER = 4.0
"""How many times longer a set-up is taken to last under the microscope: scripts that parse text in Python took 3 to 12 times
as long, those that compute in arrays hardly longer."""
LONGEST = 45.0
"""Seconds a second run may take."""
MODULE = "stayfinite.cli.second_run"


class Program(msgspec.Struct, frozen=True):
    """What ran, as in `records.manifest.Manifest`."""

    script: str
    module: str | None
    argv: tuple[str, ...]
    working_directory: str
    folder: str


class Wanted(msgspec.Struct, frozen=True):
    """The value whose maker is looked for.

    **Fields**

    - `names`: the last names it is known by in the source (``"readings"``; ``"values"`` for ``self.values``), best first.
    - `shape`, `dtype`, `nonfinite`: how it looked in the first run; `nonfinite` is how many elements are bad.
    - `owner`: class of the object it is an attribute of, if it is one.
    - `limit`: finite values of at least this magnitude are bad as well (``"+inf"``: only non-finite ones are).
    - `passes`: how many passes of step blocks may run before it ends.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...] = ()
    dtype: str = ""
    nonfinite: int = 0
    owner: str = ""
    limit: Number = "+inf"
    passes: int = 0


class Request(msgspec.Struct, frozen=True):
    """What the second process is told."""

    program: Program
    wanted: Wanted
    seconds: float


class Answer(msgspec.Struct, frozen=True):
    """What it tells: a birth, or why there is none."""

    birth: Birth | None = None
    reason: str = ""


def affordable(setup: float, budget: float) -> float:
    """Seconds to give a second run of a script that took `setup` seconds to its first step; 0 if it is not worth trying."""
    given = min(LONGEST, budget)
    return given if budget > 5.0 and 3.0 + SLOWER * setup <= given else 0.0


def find(program: Program, wanted: Wanted, seconds: float) -> Birth | str:
    """Run `program` again and say who made `wanted`, or why that is not known."""
    if not program.script and program.module is None:
        return "there is no script that could be run again"
    with tempfile.TemporaryDirectory(prefix="stayfinite-") as folder:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        request.write_bytes(encode(Request(program, wanted, seconds)))
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        command = [sys.executable, *flags, "-m", MODULE, str(request), str(answer)]
        environment = {**os.environ, "PYTHONPATH": search_path(program.working_directory)}
        try:
            done = subprocess.run(
                command, cwd=program.working_directory or None, env=environment, timeout=seconds + 10.0, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return f"a second run of the script did not get to its first step within {seconds:.0f} s"
        except OSError as error:
            return f"a second run of the script could not be started: {error}"
        if not answer.is_file():
            return f"a second run of the script ended with code {done.returncode} before it could tell anything"
        try:
            told = msgspec.json.decode(answer.read_bytes(), type=Answer)
        except (msgspec.DecodeError, json.JSONDecodeError) as error:
            return f"what a second run of the script told cannot be read: {error}"
    return told.birth if told.birth is not None else told.reason


def search_path(working_directory: str) -> str:
    """`PYTHONPATH` with the folder this package lies in: it may have been found by other means. Absolute, so that it means
    the same wherever the second process begins."""
    own = str(Path(__file__).resolve().parents[3])
    before = [os.path.join(working_directory, part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return os.pathsep.join(before if own in before else [*before, own])
