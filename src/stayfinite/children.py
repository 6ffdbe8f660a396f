"""Training in child processes: they are watched too, and the parent's report holds what they found.

A forked child inherits the watch. A spawned child joins when it unpickles what `multiprocessing` prepares for it, before it
imports the user's script. Both put their incidents into a folder that the parent reads at its end. A Python program
that the user's code starts by `subprocess` cannot be joined; the report says so and is never clean.
"""

from __future__ import annotations

import functools
import multiprocessing.spawn
import multiprocessing.util
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stayfinite import shield
from stayfinite.frameworks.torch.options import Options
from stayfinite.records.encoding import encode
from stayfinite.records.finding import NOT_WATCHED, Warning
from stayfinite.records.incident import Incident
from stayfinite.records.manifest import Manifest
from stayfinite.rewrite.loader import Rewriter, RewritingFinder, execute, read_source
from stayfinite.rewrite.project import is_user_file


@dataclass(frozen=True)
class Family:
    """What a child needs to join: the parent's folder for results, and how the run is watched."""

    outbox: str
    manifest: Manifest
    options: Options
    rewrite: bool
    quiet: bool


@dataclass
class Children:
    """The parent's side. `found` are incidents of children, `told` warnings about processes that could not be joined."""

    family: Family
    found: list[Incident] = field(default_factory=list)
    told: list[Warning] = field(default_factory=list)
    _restore: list[Callable[[], None]] = field(default_factory=list)

    def watch(self, joined: Callable[[Family], None]) -> None:
        """Let children join from now on; `joined` is called in a forked child."""
        prepare = multiprocessing.spawn.get_preparation_data

        @functools.wraps(prepare)
        def preparation(name: str) -> dict[str, Any]:
            data: dict[str, Any] = prepare(name)
            with shield.shielded("child processes"):
                data["stayfinite"] = _Join(self.family)  # `multiprocessing` passes over keys it does not know
            return data

        multiprocessing.spawn.get_preparation_data = preparation
        self._restore.append(lambda: setattr(multiprocessing.spawn, "get_preparation_data", prepare))
        multiprocessing.util.register_after_fork(self, lambda own: joined(own.family))
        start = subprocess.Popen.__init__

        @functools.wraps(start)
        def popen(process: Any, args: Any, *rest: Any, **named: Any) -> None:
            with shield.shielded("child processes"):
                self._note_program(args)
            start(process, args, *rest, **named)

        setattr(subprocess.Popen, "__init__", popen)  # noqa: B010  (an assignment would have to repeat its overloads)
        self._restore.append(lambda: setattr(subprocess.Popen, "__init__", start))

    def _note_program(self, args: Any) -> None:
        words = args.split() if isinstance(args, str) else [os.fspath(word) for word in args]
        program = os.path.basename(str(words[0])) if words else ""
        trains = program.startswith(("python", "torchrun", "accelerate", "deepspeed"))
        if trains and _started_by_user() and "stayfinite" not in " ".join(map(str, words)):
            shown = " ".join(map(str, words))[:200]
            self.told.append(Warning(NOT_WATCHED, f"the script started another program, which was not watched: {shown}"))

    def gather(self) -> None:
        """Stop letting children join and read what they left."""
        import msgspec

        for undo in self._restore:
            undo()
        self._restore.clear()
        for left in sorted(Path(self.family.outbox).glob("*.jsonl")):
            for line in left.read_bytes().splitlines():
                with shield.shielded("child processes"):
                    self.found.append(msgspec.json.decode(line, type=Incident))
        shutil.rmtree(self.family.outbox, ignore_errors=True)


def family_of(manifest: Manifest, options: Options, *, rewrite: bool, quiet: bool) -> Family:
    """What the children of a run that begins now need."""
    return Family(tempfile.mkdtemp(prefix="stayfinite-"), manifest, options, rewrite, quiet)


def when_child_ends(then: Callable[[], None]) -> None:
    """Call `then` when this child process ends; children of `multiprocessing` run no `atexit` functions."""
    multiprocessing.util.Finalize(None, then, exitpriority=100)


def send(family: Family, incident: Incident) -> None:
    """Called in a child: put `incident` where the parent will find it."""
    with open(os.path.join(family.outbox, f"{os.getpid()}.jsonl"), "ab") as file:
        file.write(encode(incident) + b"\n")


def _started_by_user() -> bool:
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if is_user_file(name):
            return True
        if "site-packages" in name or "dist-packages" in name:
            return False  # a library's own business, such as a compiler's workers
        frame = frame.f_back
    return False


class _Join:
    """Pickles as the call that makes a spawned child join."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def __reduce__(self) -> tuple[Callable[[Family], None], tuple[Family]]:
        return _join_spawned, (self._family,)


def _join_spawned(family: Family) -> None:
    """Runs in a spawned child before it imports the user's script."""
    with shield.shielded("child processes"):
        from stayfinite.watching import Watching

        rewriter = Rewriter(family.manifest.folder, lambda failed, error: shield.note_failure(f"wrapping {failed}", error))
        if family.rewrite:
            sys.meta_path.insert(0, RewritingFinder(rewriter))
            # the child runs the script again under another name: with its loops wrapped, like the parent's
            shim = types.SimpleNamespace(run_path=functools.partial(_run_path, rewriter), run_module=runpy.run_module)
            multiprocessing.spawn.runpy = shim  # type: ignore[attr-defined]
        Watching(family.manifest, family.options, quiet=family.quiet, family=family).attach()


def _run_path(rewriter: Rewriter, path: str, run_name: str) -> dict[str, Any]:
    module = types.ModuleType(run_name)
    module.__dict__.update({"__file__": path, "__builtins__": __builtins__})
    execute(rewriter.compile(read_source(path), path), module)
    return module.__dict__
