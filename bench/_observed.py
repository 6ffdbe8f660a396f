"""Runs a script under one way of looking at it, and writes down what became of its weights. A process of its own:

    python bench/_observed.py TOOL OUTCOME SCRIPT

TOOL is `bare`, `stayfinite` or a name of `_arms.PEERS`. The script runs as under `python`, in the working folder. An
observer that no tool knows of reads every parameter and moment before and after each optimizer step; what it saw is
written to OUTCOME as JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import runpy
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from _arms import PEERS
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


class Observer:
    """Parameters and moments of every optimizer that steps: their bits before and after each step."""

    def __init__(self) -> None:
        self.steps = 0
        self._optimizers: list[Optimizer] = []
        self._bad_at_first = 0
        self._before = ""
        self._stepping = False
        register_optimizer_step_pre_hook(self._before_step)
        register_optimizer_step_post_hook(self._after_step)

    def _before_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if all(optimizer is not known for known in self._optimizers):
            self._optimizers.append(optimizer)
            self._bad_at_first += self._bad([optimizer])
        self._before, self._stepping = self._bits(), True

    def _after_step(self, _optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        self.steps += 1
        self._stepping = False

    @staticmethod
    def _tensors(optimizers: list[Optimizer]) -> Iterator[Tensor]:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield parameter.detach()
                    yield from (value for value in optimizer.state[parameter].values() if isinstance(value, Tensor))

    def _bits(self) -> str:
        digest = hashlib.sha256()
        for tensor in self._tensors(self._optimizers):
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _bad(self, optimizers: list[Optimizer]) -> int:
        return sum(int((~torch.isfinite(tensor)).sum()) for tensor in self._tensors(optimizers))

    def outcome(self) -> dict[str, Any]:
        """`corrupt`: there are non-finite weights or moments that were not there before their optimizer's first step.
        `whole`: no step ended in its middle, or the weights are again those before it."""
        return {
            "steps": self.steps,
            "corrupt": self._bad(self._optimizers) > self._bad_at_first,
            "whole": not self._stepping or self._bits() == self._before,
        }


def innermost_line(error: BaseException, folder: str) -> tuple[str, int] | None:
    """File and line of the innermost frame of the user's own code that an exception shows."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if os.path.dirname(frame.filename) == folder]
    return (os.path.basename(own[-1].filename), own[-1].lineno or 0) if own else None


def forward_line(text: str, folder: str) -> tuple[str, int] | None:
    """File and line of the innermost own frame in the forward traceback that anomaly mode prints."""
    found = None
    for entry in text.splitlines():
        words = entry.strip().split('"')
        if len(words) == 3 and words[0] == "File " and os.path.dirname(words[1]) == folder:
            found = (os.path.basename(words[1]), int(words[2].split(",")[1].split()[1]))
    return found


def run_peer(tool: str, script: str) -> dict[str, Any]:
    """Run `script` under a peer. `alarm`: the peer raised; an exception of the script's own is none."""
    folder = os.path.dirname(script)
    shown: list[str] = []
    import warnings

    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *_rest: shown.append(str(message))  # type: ignore[assignment]
    around = PEERS[tool]() if tool != "bare" else contextlib.nullcontext()
    try:
        with around:
            runpy.run_path(script, run_name="__main__")
    except (FloatingPointError, RuntimeError) as error:
        text = str(error)
        raised = isinstance(error, FloatingPointError) or "returned nan values" in text or "The total norm" in text
        printed = "\n".join(message for message in shown if "Error detected in" in message)
        line = forward_line(printed, folder) or innermost_line(error, folder)
        return {"alarm": raised, "line": line if raised else None, "error": f"{type(error).__name__}: {text[:200]}"}
    except (Exception, SystemExit) as error:
        return {"alarm": False, "line": None, "error": f"{type(error).__name__}: {str(error)[:200]}"}
    return {"alarm": False, "line": None, "error": None}


def run_stayfinite(script: str) -> dict[str, Any]:
    """Run `script` under ``stayfinite run``."""
    from stayfinite.cli import main

    sys.argv = ["stayfinite", "run", "--quiet", "--report", "observed-report", os.path.basename(script)]
    with contextlib.suppress(SystemExit):
        main()
    report = json.loads(Path("observed-report", "report.json").read_text(encoding="utf-8"))
    incidents = report["incidents"]
    if not incidents:
        return {"alarm": False, "line": None, "error": None, "harmless": False}
    chosen = next((one for one in incidents if one["stopped"]), incidents[0])
    origin = chosen["origin"] or {}
    line = (origin.get("file"), origin.get("line")) if origin.get("file") else None
    return {"alarm": True, "line": line, "error": None, "harmless": chosen["harmless"]}


def main() -> None:
    tool, place, script = sys.argv[1], Path(sys.argv[2]), os.path.abspath(sys.argv[3])
    torch.set_num_threads(1)
    observer = Observer()
    folder = os.path.dirname(script)
    sys.path[0] = folder
    os.chdir(folder)
    sys.argv = [script]
    told = run_stayfinite(script) if tool == "stayfinite" else run_peer(tool, script)
    place.write_text(json.dumps({**told, **observer.outcome()}), encoding="utf-8")


if __name__ == "__main__":
    main()
