"""Is the state after an incident, bit for bit, the state before the bad step? Judged by a bare run of the same script.

A case is a script that takes its batches from `keeping.batches()`, a module written beside it, and names what must be
held with ``keeping.keep(model=model, ...)``. The bare run freezes all of that each time a batch is asked for, that is
between two passes of the loop and outside of anything stayfinite wraps; the watched run freezes it at its end.
"""

from __future__ import annotations

import json
import pickle
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forkserver import Completed, run_bare, run_cli

BAD, STEPS = 3, 6
"""The pass that goes wrong, and how many there are."""

MODEL = "model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))\n"

FAULTS = {
    "forward": "-((p := torch.sigmoid(out) * w).log()).mean()",  # log 0, and 0 * inf in its backward
    "backward": "((out - y) * w).square().sum(1).sqrt().mean()",  # sqrt'(0): the loss is finite
}
"""Losses that fail on a row of weight zero."""

SYMPTOMS = {"forward": "nonfinite-loss", "backward": "nonfinite-gradient"}

_HEAD = "import torch\nfrom torch import nn\nfrom keeping import BAD, MODE, batches, keep, mark\n\ntorch.manual_seed(0)\n"

_KEEPING = '''
import atexit, os, pickle, struct
import torch

BAD, STEPS = {bad}, {steps}
MODE = os.environ["KEEPING"]  # bare: a state before each pass; watched: the last state only; without: BAD is left out
kept, states = {{}}, []


def frozen(value):
    if isinstance(value, torch.nn.Module):
        return frozen(value.state_dict(keep_vars=True))
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
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
    """A state of the bare run in the middle of a pass; it stands before that of the next pass."""
    if MODE == "bare":
        states.append(frozen(kept))


def batches(steps=STEPS, leave_out=(BAD,)):
    """Number, features, targets, and row weights of which one is zero in the bad pass. Draws no number of the script's."""
    for number in range(steps):
        if MODE == "bare":
            states.append(frozen(kept))
        if MODE == "without" and number in leave_out:
            continue
        draw = torch.Generator().manual_seed(number)
        x, y, w = torch.randn(7, 4, generator=draw), torch.randn(7, 3, generator=draw), torch.ones(7, 1)
        if number == BAD:
            w[2] = 0
        yield number, x, y, w
'''


def plain(setup: str, loss: str, *, model: str = MODEL, before: str = "", after: str = "", more: str = "") -> str:
    """The usual loop. `setup` makes `optimizer`; `before` and `after` are statements round its step, `more` further things
    to keep."""
    return f"""{model}{textwrap.dedent(setup)}
keep(model=model, optimizer=optimizer, {more})
for i, x, y, w in batches():
    optimizer.zero_grad()
    out = model(x)
    loss = {loss}
    loss.backward()
    {before}
    optimizer.step()
    {after}
"""


@dataclass(frozen=True)
class Run:
    """A run of a case: how it ended, its frozen state at the end, and (bare) before each pass; `report` of a watched one."""

    done: Completed
    states: list[Any]
    final: Any
    report: dict[str, Any] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    """Every incident as it was recorded; the report counts equal ones together."""

    @property
    def incidents(self) -> list[dict[str, Any]]:
        """All incidents, by step."""
        return sorted(self.report["incidents"], key=lambda incident: incident["step"])

    @property
    def incident(self) -> dict[str, Any]:
        """The only incident."""
        assert len(self.incidents) == 1, (self.report["incidents"], self.done.stderr)
        return self.incidents[0]


class Held:
    """A case in a folder of its own; each kind of run is made when asked for.

    **Arguments**: `script` is the body of the script, after ``import torch`` and the names of `keeping`; `bad` the pass that
    goes wrong; `raises`: the script ends by an exception of its own.
    """

    def __init__(self, folder: Path, script: str, *, bad: int = BAD, steps: int = STEPS, raises: bool = False) -> None:
        self._folder = folder
        self._script = _HEAD + textwrap.dedent(script)
        self._keeping = _KEEPING.format(bad=bad, steps=steps)
        self._raises = raises

    def _place(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        (folder / "train.py").write_text(self._script)
        (folder / "keeping.py").write_text(self._keeping)
        return folder

    def _plain(self, mode: str) -> Run:
        folder = self._place(mode)
        done = run_bare(["train.py"], folder, {"KEEPING": mode})
        assert done.exit_code == int(self._raises), done.stderr
        return Run(done, *pickle.loads((folder / "states.pickle").read_bytes()))

    def bare(self) -> Run:
        """As under ``python``, with the state before each pass."""
        return self._plain("bare")

    def without(self) -> Run:
        """As under ``python``, with the bad pass left out."""
        return self._plain("without")

    def watched(self, *options: str, env: Mapping[str, str] | None = None) -> Run:
        """Under ``stayfinite run`` with `options` of its own."""
        folder = self._place("watched" + "".join(options))
        arguments = ["run", *options, "--json", "report.json", "--report", "report", "--no-color", "--no-case", "train.py"]
        done = run_cli(arguments, folder, {"KEEPING": "watched", "STAYFINITE_STRICT": "1", **(env or {})})
        assert (folder / "report.json").exists(), done.stderr
        states, final = pickle.loads((folder / "states.pickle").read_bytes())
        events = folder / "report" / "events.jsonl"
        lines = [json.loads(line) for line in events.read_text().splitlines()]
        told = [line for line in lines if line["type"] == "incident"]
        return Run(done, states, final, json.loads((folder / "report.json").read_text()), told)

    def skipped(self, env: Mapping[str, str] | None = None) -> Run:
        """Under ``stayfinite run --on-incident skip``."""
        return self.watched("--on-incident", "skip", env=env)


def differences(found: Any, wanted: Any, path: str = "") -> list[str]:
    """Paths at which two frozen states differ, at most eight."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        different = [f"{path}.{key} is in one of them only" for key in found.keys() ^ wanted.keys()]
        for key in found.keys() & wanted.keys():
            different += differences(found[key], wanted[key], f"{path}.{key}")
        return sorted(different)[:8]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for i, pair in pairs for line in differences(*pair, f"{path}[{i}]")][:8]
    return [] if found == wanted else [path]
