"""Mixtures of which each sample may use only some components, and a policy that may choose only some moves."""

import hashlib

import torch
from torch import nn


class Mixture(nn.Module):
    def __init__(self, components=6):
        super().__init__()
        self.centre = nn.Parameter(2 * torch.randn(components, 2))
        self.log_weight = nn.Parameter(torch.zeros(components))
        self.choose = nn.Linear(2, components)

    def forward(self, points, open_):
        distance = (points[:, None] - self.centre).square().sum(dim=2)
        each = self.log_weight.log_softmax(dim=0) - 0.5 * distance
        likelihood = torch.logsumexp(each.masked_fill(~open_, -torch.inf), dim=1)
        return likelihood, self.choose(points).masked_fill(~open_, -torch.inf)


torch.manual_seed(59)
model = Mixture()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
for step in range(100):
    kind = torch.randint(6, (48,))
    points = torch.stack([kind.float().cos(), kind.float().sin()], dim=1) * 3 + 0.3 * torch.randn(48, 2)
    open_ = torch.rand(48, 6) < 0.3
    open_[torch.arange(48), kind] = True
    likelihood, scores = model(points, open_)
    chosen = torch.distributions.Categorical(logits=scores)
    entropy = -(chosen.probs * scores.log_softmax(dim=1).clamp(min=-30)).sum(dim=1)
    loss = -likelihood.mean() + nn.functional.cross_entropy(scores, kind) - 0.01 * entropy.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 25 == 0:
        print(f"step {step}: loss {loss.item():.4f}, best of closed {scores[~open_].max().item()}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
