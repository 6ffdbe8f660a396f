"""Accumulation with a schedule per update, and a last, shorter group that is stepped too."""
import hashlib

import torch

torch.manual_seed(12)
micro = [(torch.randn(3, 4), torch.randn(3)) for _ in range(22)]
net = torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.Softplus(), torch.nn.Linear(9, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=8)
K = 3


def accumulate(index, x, y):
    loss = (net(x).flatten() - y).square().mean()
    (loss / K).backward()
    return loss.item()


group = []
for index, (x, y) in enumerate(micro):
    is_last = index == len(micro) - 1
    group.append(accumulate(index, x, y))
    if index % K == K - 1 or is_last:
        torch.nn.utils.clip_grad_value_(net.parameters(), 0.2)
        opt.step()
        sched.step()
        opt.zero_grad(set_to_none=False)
        print("%2d  %.8f  lr %.6f" % (index, sum(group) / len(group), sched.get_last_lr()[0]))
        group.clear()

raw = b"".join(v.numpy().tobytes() for v in net.state_dict().values())
raw += b"".join(opt.state[p]["momentum_buffer"].numpy().tobytes() for p in net.parameters())
print("weights", hashlib.sha256(raw).hexdigest())
