"""Heavy tailed sensor noise: a Student-t regression with a width of its own for each reading."""
import hashlib

import torch
from torch import nn
from torch.distributions import StudentT


class Calibrate(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 20), nn.Tanh())
        self.loc, self.width = nn.Linear(20, 1), nn.Linear(20, 1)
        nn.init.constant_(self.width.bias, 1.0)

    def forward(self, x):
        h = self.trunk(x)
        return self.loc(h).squeeze(1), (nn.functional.softplus(self.width(h)) + 1e-3).squeeze(1)


torch.manual_seed(8)
model = Calibrate()
opt = torch.optim.Adam(model.parameters(), lr=0.02)
for step in range(300):
    x = torch.randn(64, 3)
    y = x[:, 0] - 0.5 * x[:, 1] + 0.02 * torch.randn(64)
    loc, width = model(x)
    t = (y - loc) / width
    loss = (2.5 * torch.log1p(t * t / 4) + width.log()).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 50 == 0:
        print(step, loss.item())

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
