"""Is the state after an incident, bit for bit, the state before the bad step? Judged by a bare run of the same script.

A case is a script that takes its batches from `keeping.batches()`, a module written beside it, and names what must be
held with `keeping.keep(model=model, ...)`. The bare run freezes all of that each time a batch is asked for, that is
between two passes of the loop and outside of anything stayfinite wraps; the watched run freezes it at its end.
"""

from __future__ import annotations

import json
import pickle
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forkserver import Completed, run_bare, run_cli

BAD = 3
"""The pass that goes wrong."""
STEPS = 6

KEEPING = '''
import atexit, os, pickle, struct
import torch

BAD, STEPS = {bad}, {steps}
MODE = os.environ.get("KEEPING", "bare")        # bare: a state for each pass; watched: the last one; without: leave BAD out
kept, states = {{}}, []


def frozen(value):
    if isinstance(value, torch.nn.Module):
        return frozen(value.state_dict(keep_vars=True))
    if isinstance(value, torch.Tensor):
        value = value.detach()
        if value.is_sparse:
            value = value.coalesce()
            return frozen([value.indices(), value.values()])
        flat = torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
        return str(value.dtype), tuple(value.shape), flat.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, torch.amp.GradScaler)):
        return frozen(value.state_dict())
    if isinstance(value, dict):
        return {{str(key): frozen(item) for key, item in value.items()}}
    if isinstance(value, (list, tuple, set)):
        return [frozen(item) for item in value]
    if isinstance(value, float):
        return struct.pack("<d", value)
    if value is None or isinstance(value, (int, str, bool)):
        return value
    if callable(value):
        return getattr(value, "__name__", "?")
    return frozen(vars(value))


def keep(**things):
    kept.update(things)
    atexit.register(lambda: pickle.dump((states, frozen(kept)), open("states.pickle", "wb")))


def mark():
    """A state of the bare run in the middle of a pass; it goes before that of the next pass."""
    if MODE == "bare":
        states.append(frozen(kept))


def batches(steps=STEPS):
    """Features, targets, and row weights of which one is zero in the bad pass: nothing here draws a random number."""
    for number in range(steps):
        if MODE == "bare":
            states.append(frozen(kept))
        if MODE == "without" and number == BAD:
            continue
        draw = torch.Generator().manual_seed(number)
        x, y, w = torch.randn(7, 4, generator=draw), torch.randn(7, 3, generator=draw), torch.ones(7, 1)
        if number == BAD:
            w[2] = 0
        yield number, x, y, w
'''

FAULTS = {
    "forward": "-((p := torch.sigmoid(out) * w).log()).mean()",  # log 0, and 0 * inf in its backward
    "backward": "((out - y) * w).square().sum(1).sqrt().mean()",  # sqrt'(0): the loss is finite
}
"""Losses that fail on a row of weight zero."""


@dataclass(frozen=True)
class Run:
    """A run of a case: how it ended, its frozen state at the end, and (bare) before each pass; `report` of a watched one."""

    done: Completed
    states: list[Any]
    final: Any
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def incident(self) -> dict[str, Any]:
        """The only incident."""
        incidents = self.report["incidents"]
        assert len(incidents) == 1, (incidents, self.done.stderr)
        return dict(incidents[0])


class Held:
    """A case in a folder of its own; each kind of run is made once, when asked for.

    **Arguments**: `script` is the body of the script, after ``import torch`` and the names of `keeping`.
    """

    def __init__(self, folder: Path, script: str, *, bad: int = BAD, steps: int = STEPS, raises: bool = False) -> None:
        self._folder = folder
        head = "import torch\nfrom torch import nn\nfrom keeping import BAD, MODE, batches, keep, mark\n\ntorch.manual_seed(0)\n"
        self.script = head + textwrap.dedent(script)
        self._keeping = KEEPING.format(bad=bad, steps=steps)
        self._raises = raises
        self.bad = bad

    def _run(self, mode: str, arguments: list[str], env: dict[str, str]) -> Run:
        folder = self._folder / (mode + "".join(arguments[:-1]))
        folder.mkdir()
        (folder / "train.py").write_text(self.script)
        (folder / "keeping.py").write_text(self._keeping)
        env = {"KEEPING": mode, "STAYFINITE_STRICT": "1", **env}
        if mode != "watched":
            done, report = run_bare(["train.py"], folder, env), {}
            assert done.exit_code == int(self._raises), done.stderr
        else:
            options = ["run", *arguments[:-1], "--json", "report.json", "--report", "report", "--no-color", "train.py"]
            done = run_cli(options, folder, env)
            assert (folder / "report.json").exists(), done.stderr
            report = json.loads((folder / "report.json").read_text())
        states, final = pickle.loads((folder / "states.pickle").read_bytes())
        return Run(done, states, final, report)

    def bare(self) -> Run:
        """As under ``python``, with the state before each pass."""
        return self._run("bare", [""], {})

    def without(self) -> Run:
        """As under ``python``, with the bad pass left out."""
        return self._run("without", [""], {})

    def watched(self, *arguments: str, **env: str) -> Run:
        """Under ``stayfinite run`` with `arguments`."""
        return self._run("watched", [*arguments, ""], env)


def differences(found: Any, wanted: Any, path: str = "") -> list[str]:
    """Paths at which two frozen states differ, at most eight."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        different = [f"{path}.{key} only in one" for key in found.keys() ^ wanted.keys()]
        for key in found.keys() & wanted.keys():
            different += differences(found[key], wanted[key], f"{path}.{key}")
        return sorted(different)[:8]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return [line for i, pair in enumerate(zip(found, wanted, strict=True)) for line in differences(*pair, f"{path}[{i}]")][:8]
    return [] if found == wanted else [path]
