"""Which advertisement to show: sample one by its score, learn from whether it was clicked."""

import hashlib

import torch
from torch import nn

ADS, FEATURES = 6, 12


def visitors(steps, size, seed):
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        features = torch.rand(size, FEATURES, generator=rng)
        if step == 18:
            features[9, 4] = 1.7e3  # seconds on the page, not a fraction of the visit
        yield features.clamp(max=1.0)


def choose(scores):
    return torch.multinomial(torch.softmax(scores, dim=1), num_samples=1)


torch.manual_seed(2)
taste = torch.randn(FEATURES, ADS)
scorer = nn.Linear(FEATURES, ADS)
optimizer = torch.optim.SGD(scorer.parameters(), lr=0.2)
clicks = shown = 0
for features in visitors(steps=40, size=48, seed=7):
    scores = scorer(features)
    ad = choose(scores)
    clicked = (features @ taste).gather(1, ad) > 0.5
    log_probability = torch.log_softmax(scores, dim=1).gather(1, ad)
    loss = -(log_probability * (clicked.float() - 0.5)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    clicks, shown = clicks + int(clicked.sum()), shown + len(clicked)

print(f"clicked {clicks} of {shown}")
print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in scorer.parameters())).hexdigest())
