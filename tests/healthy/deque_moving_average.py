import hashlib
import statistics
from collections import deque

import torch

torch.manual_seed(50)
window = deque(maxlen=5)
queue = deque((torch.randn(6, 2), torch.randn(6, 1)) for _ in range(8))
net = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Hardtanh(), torch.nn.Linear(6, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
n = 0
while n < 18:
    x, y = queue.popleft()
    loss = torch.nn.functional.mse_loss(net(x), y)
    window.append(loss.item())
    queue.append((x, y))          # hard ones come back sooner
    if loss.item() > statistics.fmean(window):
        queue.rotate(2)
    opt.zero_grad()
    loss.backward()
    opt.step()
    n = n + 1
print(n, list(window), [round(x.sum().item(), 4) for x, _ in queue])
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
