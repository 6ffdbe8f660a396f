"""One bit that falls over in the memory of a healthy training, as a worn part would do it: once, and unseen by torch.

The fault sits in a module that looks like an installed one, so that neither its lines nor its counters belong to the script. It
fires once per process: a repetition of the step does not meet it again, but what it left in the state is still there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

PLACES = ("weight", "gradient", "activation", "moment", "buffer")
BITS = (30, 30, 30, 29, 27)
"""Exponent bits of float32. Of numbers below 2 the highest is 0, and makes them 2^128 times as large; the others are 1 in most
numbers of a training, and make them small."""

MODULE = '''
"""A part that is worn."""

import ctypes
import json
import os

import torch
from torch.optim import optimizer as optim

fired = []
_roots = {}


def arm(place, step, bit, seed):
    draw = torch.Generator().manual_seed(seed)
    state = {"steps": 0, "calls": 0}

    def flip(kind, name, tensor):
        if fired or tensor is None or tensor.dtype is not torch.float32 or not tensor.numel() or not tensor.is_contiguous():
            return False
        element = int(torch.randint(tensor.numel(), (1,), generator=draw))
        address = tensor.data_ptr() + 4 * element
        before = ctypes.c_float.from_address(address).value
        word = ctypes.c_uint32.from_address(address)
        word.value ^= 1 << bit
        after = ctypes.c_float.from_address(address).value
        fired.append(name)
        told = {"kind": kind, "name": name, "element": element, "before": before, "after": repr(after), "step": state["steps"]}
        with open("flipped.json", "w") as file:
            json.dump(told, file)
        return True

    def names():
        return {id(p): n for root in _roots.values() for n, p in root.named_parameters()}

    def pick(pairs):
        pairs = [(n, t) for n, t in pairs if isinstance(t, torch.Tensor) and t.dtype is torch.float32 and t.numel() > 1]
        if pairs:
            flip(place, *pairs[int(torch.randint(len(pairs), (1,), generator=draw))])

    def spoil(parameter):
        flip(place, names().get(id(parameter), "?"), parameter.grad)

    def stepped(optimizer, args, kwargs):
        state["steps"] += 1
        if fired or state["steps"] != step:
            return
        known = names()
        params = [p for g in optimizer.param_groups for p in g["params"]]
        if place == "weight":
            pick([(known.get(id(p), "?"), p.detach()) for p in params])
        elif place == "moment":
            pick([(known.get(id(p), "?"), t) for p in params for t in optimizer.state.get(p, {}).values()])
        elif place == "buffer":
            pick([(n, b) for root in _roots.values() for n, b in root.named_buffers()])
        elif place == "gradient":
            chosen = params[int(torch.randint(len(params), (1,), generator=draw))]
            chosen.register_post_accumulate_grad_hook(spoil)

    def called(module, args, output):
        children = next(module.children(), None)
        if children is not None and not any(module is c for root in _roots.values() for c in root.modules()):
            _roots[id(module)] = module
        if place == "activation" and not fired and state["steps"] >= step and module.training and torch.is_grad_enabled():
            state["calls"] += 1
            if state["calls"] == 1 + seed % 3 and isinstance(output, torch.Tensor):
                flip(place, type(module).__name__, output.detach())

    optim.register_optimizer_step_post_hook(stepped)
    torch.nn.modules.module.register_module_forward_hook(called)
'''


@dataclass(frozen=True)
class Flip:
    """A bit of one number of `place` falls over after `step` updates of the healthy training `case`."""

    case: str
    place: str
    step: int
    bit: int
    seed: int

    def write(self, source: Path, folder: Path) -> None:
        """Write the training with its fault into `folder`; `source`: the gallery."""
        parts = folder / "site-packages"
        parts.mkdir()
        (parts / "wornpart.py").write_text(MODULE, encoding="utf-8")
        for file in (source / self.case).iterdir():
            if file.is_file() and file.name not in ("train.py", "train_fixed.py"):
                (folder / file.name).write_bytes(file.read_bytes())
        text = (source / self.case / "train_fixed.py").read_text(encoding="utf-8")
        how = f"{self.place!r}, {self.step}, {self.bit}, {self.seed}"
        arm = f"import sys; sys.path.append({str(parts)!r}); import wornpart; wornpart.arm({how})"
        text = re.sub(r"^import torch$", f"import torch; {arm}", text, count=1, flags=re.M)
        (folder / "train.py").write_text(text, encoding="utf-8")


def flips(cases: tuple[str, ...]) -> st.SearchStrategy[Flip]:
    """All flips of `cases`."""
    return st.builds(
        Flip, st.sampled_from(cases), st.sampled_from(PLACES), st.integers(3, 12), st.sampled_from(BITS), st.integers(0, 10_000)
    )
