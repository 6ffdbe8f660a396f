"""Adam first, then SGD; a layer is added on the way; weights are pruned in the loop."""
import hashlib
import torch
from torch import nn

torch.manual_seed(113)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
mask = None
for step in range(24):
    if step == 8:
        model.insert(2, nn.Linear(8, 8))
        model.insert(3, nn.Tanh())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        print("grown", len(model))
    if step == 16:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        mask = model[0].weight.detach().abs() > model[0].weight.detach().abs().median()
    x = torch.randn(10, 4)
    loss = nn.functional.mse_loss(model(x), (x[:, :1] * x[:, 1:2]))
    optimizer.zero_grad()
    loss.backward()
    if mask is not None:
        model[0].weight.grad.mul_(mask)
    optimizer.step()
    if mask is not None:
        with torch.no_grad():
            model[0].weight.mul_(mask)
    if step % 4 == 3:
        print(step, type(optimizer).__name__, loss.item())
sha = hashlib.sha256()
for p in model.parameters():
    sha.update(p.detach().numpy().tobytes())
    sha.update(optimizer.state[p]["momentum_buffer"].numpy().tobytes())
print("weights", sha.hexdigest())
