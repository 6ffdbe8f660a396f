"""What a new layer has in the place of a tensor: for state that has to be drawn again. The script's generators are left alone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

SEED = 0
ONES = ("var", "std", "scale", "weight", "sigma", "spread", "gain", "gamma")
"""Parts of the names of vectors and buffers that begin with 1, because something is multiplied with them or divided by them."""
_ZEROS = ("bias", "offset", "shift", "beta", "mean")
_RESETS = ("reset_parameters", "_reset_parameters", "reset_running_stats")


def made_anew(module: nn.Module | None, name: str, like: Tensor) -> Tensor | None:
    """What a fresh module of the same class has as `name`; ``None`` if its class does not say how it begins."""
    reset = next((one for one in _RESETS if hasattr(module, one)), "")
    if module is None or not reset:
        return None
    devices = [like.device] if like.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(SEED)
            new = copy.deepcopy(module)
            getattr(new, reset)()
            made = getattr(new, name)
    except Exception:  # a module that cannot be copied, or whose reset is no reset
        return None
    same = isinstance(made, Tensor) and made.shape == like.shape and bool(torch.isfinite(made).all())
    return made.detach().to(like.device, like.dtype) if same else None


def vector_start(module: nn.Module | None, name: str, like: Tensor) -> Tensor | None:
    """What a vector that scales or shifts begins with, by its name and its layer; ``None`` for what is drawn."""
    normalises = "Norm" in type(module).__name__
    if like.dim() > 1 and not normalises:
        return None
    if any(part in name for part in _ZEROS):
        return torch.zeros_like(like)
    return torch.ones_like(like) if normalises or any(part in name for part in ONES) else None
