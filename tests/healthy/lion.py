import hashlib
import torch
from torch.optim.optimizer import Optimizer


class Lion(Optimizer):
    """Sign of an interpolated momentum, decoupled weight decay."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["m"] = torch.zeros_like(p)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(torch.lerp(p.grad, state["m"], b1).sign_(), alpha=-group["lr"])
                state["m"].lerp_(p.grad, 1 - b2)
        return loss


torch.manual_seed(81)
net = torch.nn.Sequential(torch.nn.Linear(5, 15), torch.nn.SELU(), torch.nn.AlphaDropout(0.1), torch.nn.Linear(15, 1))
opt = Lion(net.parameters(), lr=3e-3, weight_decay=0.1)
sched = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=6)
for i in range(18):
    x = torch.randn(11, 5)
    loss = (net(x) - x.amin(1, True)).abs().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    sched.step()
    if i % 6 == 5: print(i, loss.item(), sched.get_last_lr())
s = hashlib.sha256()
for p in net.parameters():
    s.update(p.detach().numpy().tobytes() + opt.state[p]["m"].numpy().tobytes())
print("weights", s.hexdigest())
