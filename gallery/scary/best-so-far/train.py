"""Early stopping and plateaus: the best value so far begins at infinity, per task and as a whole, in the model's own state."""

import copy
import hashlib

import torch
from torch import nn


class Tasks(nn.Module):
    def __init__(self, tasks):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 16), nn.ReLU())
        self.heads = nn.Linear(16, tasks)
        self.register_buffer("best", torch.full((tasks,), float("inf")))
        self.register_buffer("best_mean", torch.tensor(float("inf")))
        self.register_buffer("allowed", torch.zeros(tasks))

    def losses(self, x, y):
        losses = (self.heads(self.body(x)) - y).square().mean(dim=0)
        with torch.no_grad():
            torch.minimum(self.best, losses, out=self.best)
            self.allowed.fill_(0.0)
            self.allowed[losses > 1.5 * self.best] = float("-inf")
        return losses

    def new_phase(self):
        self.best.fill_(float("inf"))
        self.best_mean.fill_(float("inf"))


torch.manual_seed(1)
x = torch.randn(240, 5)
y = torch.stack([x.sum(1), x[:, 0] * x[:, 1], x[:, 2].abs()], dim=1)
model = Tasks(3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
kept = None
for epoch in range(12):
    if epoch == 6:
        model.new_phase()
    for rows in torch.randperm(240).split(40):
        losses = model.losses(x[rows], y[rows])
        weights = torch.softmax(model.allowed, dim=0).nan_to_num(1 / 3)
        loss = (weights * losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        mean = model.losses(x, y).mean()
    model.train()
    if mean < model.best_mean:
        model.best_mean.copy_(mean)
        kept = copy.deepcopy(model.state_dict())
model.load_state_dict(kept)
print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
