"""Patches word for word: a loss that is scaled by hand, by a number that stands elsewhere or together with what averages it."""

from __future__ import annotations

import pytest
from catalog.patching import added, born, marked
from catalog.writing import configuration

from stayfinite.records.incident import Case
from stayfinite.records.scaling import LossScaling, Misuse

HEAD = "import argparse\nimport torch\n\n"


def scaled(body: str, factor: float) -> tuple[Case, str]:
    """A case of a loss that was `factor` times too large at the marked step."""
    text, place = marked(HEAD + body + "\n")
    scaling = LossScaling(misuses=(Misuse("not-divided", 1, factor),))
    config = configuration("SGD", loss_scaling=scaling)
    return born(place, "optimizer_update", phase="optimizer", configuration=config), text


HELPER = ("SCALE, MICRO = 1024.0, 4\n\n\ndef micro(loss):\n    (loss * SCALE / MICRO).backward()\n\n\n"
          "def update(optimizer):\n    «optimizer.step()»\n")
SETTINGS = ("class Settings:\n    scale: float = 2.0**9\n\n\nclass Trainer:\n    def one(self, loss):\n"
            "        scaled = self.cfg.scale * loss\n        scaled.backward()\n        «self.opt.step()»\n")
OPTION = ("parser = argparse.ArgumentParser()\nparser.add_argument('--loss-scale', type=float, default=256)\n"
          "args = parser.parse_args()\n(args.loss_scale * loss).backward()\n«optimizer.step()»\n")
LOOP = 'for parameter in (p for group in {optimizer}.param_groups for p in group["params"] if p.grad is not None):'


@pytest.mark.parametrize(("body", "factor", "unscaled", "divided"), [
    (HELPER, 256.0, ["SCALE, MICRO = 1.0, 4"], [LOOP.format(optimizer="optimizer"), "parameter.grad /= SCALE"]),
    (HELPER.replace("SCALE, MICRO = 1024.0, 4", "SCALE = 1024.0\nMICRO = 4"), 256.0, ["SCALE = 1.0"],
     [LOOP.format(optimizer="optimizer"), "parameter.grad /= SCALE"]),
    (SETTINGS, 512.0, ["scale: float = 1.0"], [LOOP.format(optimizer="self.opt"), "parameter.grad /= self.cfg.scale"]),
    (OPTION, 256.0, ["parser.add_argument('--loss-scale', type=float, default=1.0)"],
     [LOOP.format(optimizer="optimizer"), "parameter.grad /= args.loss_scale"]),
    (OPTION, 128.0, None, None),  # another number made the gradients too large
    (SETTINGS + "        self.norm = norm / self.cfg.scale\n", 512.0, ["scale: float = 1.0"], None),  # somebody divides already
])
def test_a_scale_that_is_named(body: str, factor: float, unscaled: list[str] | None, divided: list[str] | None) -> None:
    case, text = scaled(body, factor)
    assert added("leave-the-loss-unscaled", case, text) == ([unscaled] if unscaled else [])
    assert added("divide-the-gradients", case, text) == ([divided] if divided else [])
