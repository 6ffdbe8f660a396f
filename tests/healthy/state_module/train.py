import hashlib

import bookkeeping as bk
import torch
from bookkeeping import remember

torch.manual_seed(110)
net = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
while bk.step < bk.LIMIT:
    x = torch.randn(5, 4)
    bk.step += 1
    bk.registry["rows"] = bk.registry.get("rows", 0) + len(x)
    loss = (net(x) - bk.target(x)).pow(2).mean()
    remember(loss)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if bk.step % 6 == 0:
        print(bk.step, loss.item(), bk.registry)
print(bk.step, bk.registry, bk.best, len(bk.losses))
print("weights", hashlib.sha256(net.weight.detach().numpy().tobytes() + repr(bk.losses).encode()).hexdigest())
