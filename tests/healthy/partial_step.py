import hashlib
from functools import partial

import torch
from torch.nn import functional as F


def update(net, optimizer, criterion, x, y, *, clip):
    optimizer.zero_grad()
    loss = criterion(net(x), y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimizer.step()
    return loss.item()


torch.manual_seed(69)
net = torch.nn.Linear(4, 2)
go = partial(update, net, torch.optim.SGD(net.parameters(), lr=0.2), partial(F.cross_entropy, reduction="sum"), clip=1.0)
last = []
for x in torch.randn(15, 8, 4):
    last.append(go(x, (x[:, 0] > 0).long()))
print(last[-3:])
print("weights", hashlib.sha256(net.weight.detach().numpy().tobytes() + net.bias.detach().numpy().tobytes()).hexdigest())
