import hashlib

import torch
from torch import nn


class SAM(torch.optim.Optimizer):
    """Sharpness-aware minimisation: climb to the worst neighbour, take its gradient, go back, descend."""

    def __init__(self, params, base, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base_optimizer = base(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norm = torch.norm(torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]))
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["before"] = p.detach().clone()
                p.add_(p.grad, alpha=(group["rho"] / (norm + 1e-12)).item())
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                p.copy_(self.state[p]["before"])
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    def step(self, closure=None):
        raise RuntimeError("call first_step and second_step")


torch.manual_seed(20)
model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 4))
optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
criterion = nn.CrossEntropyLoss()
for step in range(15):
    inputs = torch.randn(16, 6)
    targets = inputs[:, :4].argmax(1)
    first_loss = criterion(model(inputs), targets)
    first_loss.backward()
    optimizer.first_step(zero_grad=True)

    second_loss = criterion(model(inputs), targets)
    second_loss.backward()
    optimizer.second_step(zero_grad=True)
    if step % 5 == 0:
        print(step, first_loss.item(), second_loss.item())

print("last losses", first_loss.item(), second_loss.item())
d = hashlib.sha256()
for v in model.state_dict().values():
    d.update(v.numpy().tobytes())
for p in model.parameters():
    d.update(optimizer.base_optimizer.state[p]["momentum_buffer"].numpy().tobytes())
print("weights", d.hexdigest())
