"""The state of the run lives in this module."""
import itertools

LIMIT = 18
step = 0
best = None
losses = []
registry = {}
_phase = itertools.cycle(["up", "down"])


def target(x):
    registry["phase"] = next(_phase)
    return x.sum(1, keepdim=True) * (1 if registry["phase"] == "up" else 0.9)


def remember(loss):
    global best
    losses.append(loss.item())
    best = losses[-1] if best is None else min(best, losses[-1])
