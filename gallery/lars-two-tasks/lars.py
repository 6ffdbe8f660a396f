"""Layer-wise adaptive rate scaling, You et al. 2017, arXiv:1708.03888."""
import torch
from torch.optim import Optimizer


class LARS(Optimizer):
    def __init__(self, params, lr, momentum=0.9, weight_decay=0.0, trust=0.02):
        defaults = dict(lr=lr, momentum=momentum, weight_decay=weight_decay, trust=trust)
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                g = p.grad
                if p.ndim > 1:
                    g = g.add(p, alpha=group["weight_decay"])
                    rate = group["trust"] * p.norm() / g.norm()  # <- origin
                    g = g * rate
                state = self.state[p]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(p)
                v = state["velocity"]
                v.mul_(group["momentum"]).add_(g, alpha=group["lr"])
                p.sub_(v)
        return loss
