# process: fresh
import hashlib

import torch


@torch.compile
def loss_fn(w1, w2, x, y):
    h = torch.nn.functional.gelu(x @ w1)
    return ((h @ w2 - y) ** 2).mean()


torch.manual_seed(31)
w1 = torch.nn.Parameter(torch.randn(6, 18) / 3)
w2 = torch.nn.Parameter(torch.randn(18, 1) / 4)
optimizer = torch.optim.SGD([w1, w2], lr=0.05, momentum=0.9)

for it in range(10):
    x = torch.randn(24, 6)
    y = x.prod(1, keepdim=True)
    loss = loss_fn(w1, w2, x, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(it, loss.item())

parts = [w1, w2] + [optimizer.state[w]["momentum_buffer"] for w in (w1, w2)]
print("weights", hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in parts)).hexdigest())
