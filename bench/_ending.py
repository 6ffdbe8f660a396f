"""How a training ends under `stayfinite run`: ``python bench/_ending.py OUT on-incident SCRIPT [WEIGHTS]``.

OUT gets one JSON object: the losses of the latest updates, whether all parameters are finite, and the report. What the optimizers
have is stored beside it, as OUT.weights. With WEIGHTS, a file of that kind, these take the place of the script's own after each of its
updates, so that its losses are theirs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from stayfinite.cli.runner import Target, run
from stayfinite.frameworks.torch.options import Options
from stayfinite.records.numbers import to_float
from stayfinite.reporters import json as json_reporter
from stayfinite.watching import Watching


def main(out: str, mode: str, script: str, weights: str = "") -> int:
    """Run `script` as ``stayfinite run --on-incident mode script`` does, and write to `out` how it ended."""
    finish, begin_again = Watching.finish, Watching.begin_again
    told: dict[str, Any] = {}
    optimizers: dict[int, Optimizer] = {}
    given: list[Tensor] = torch.load(weights) if weights else []

    def owned_by_all() -> list[Tensor]:
        return [p for optimizer in optimizers.values() for group in optimizer.param_groups for p in group["params"]]

    def noted(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        optimizers[id(optimizer)] = optimizer
        own = owned_by_all()
        if weights and [p.shape for p in own] == [p.shape for p in given]:
            told["weighed"] = True
            with torch.no_grad():
                for parameter, value in zip(own, given, strict=True):
                    parameter.copy_(value)

    register_optimizer_step_post_hook(noted)

    def finishing(self: Watching, exit_code: int, **named: Any) -> Any:
        session = self.session
        if session is not None:
            windows = session._incidents._readings.windows()
            told["losses"] = [to_float(v) for w in windows if w.series == "loss" for v in w.values]
            known = session._state.latest
            subjects = None if known is None else known.subjects
            owned = [] if subjects is None else [p for p in subjects.parameters if not subjects.owned or id(p) in subjects.owned]
            told["finite"] = all(bool(torch.isfinite(p).all()) for p in owned)
            told["copying"] = session.ring.spent
            torch.save([p.detach().clone() for p in owned_by_all()], f"{out}.weights")
        report = finish(self, exit_code, **named)
        told["report"] = json.loads(json_reporter.to_bytes(report))
        return report

    def beginning_again(self: Watching, options: Options) -> None:
        optimizers.clear()  # those of the first time
        begin_again(self, options)

    Watching.finish, Watching.begin_again = finishing, beginning_again  # type: ignore[method-assign]
    options = Options(on_incident=mode, keep_case=False)
    code = run(Target(script, None, ()), options, folder=None, json_file=None, rewrite=True, color=False, quiet=False)
    Path(out).write_text(json.dumps(told), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
