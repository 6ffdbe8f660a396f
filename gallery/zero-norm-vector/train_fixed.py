"""Match pictures with captions: both become vectors of length one, and pairs should point the same way."""

import hashlib

import torch
import torch.nn.functional as F
from torch import nn


class Tower(nn.Module):
    """A vector of length one for each row."""

    def __init__(self, inputs, width=10):
        super().__init__()
        self.project = nn.Linear(inputs, width, bias=False)

    def forward(self, rows):
        v = self.project(rows)
        return v / (v.pow(2).sum(dim=-1, keepdim=True) + 1e-6).sqrt()


class Matcher(nn.Module):
    def __init__(self, pixels, words):
        super().__init__()
        self.picture = Tower(pixels)
        self.caption = Tower(words)
        self.log_temperature = nn.Parameter(torch.tensor(2.0))

    def forward(self, pictures, captions):
        return self.picture(pictures) @ self.caption(captions).t() * self.log_temperature.exp()


def symmetric_loss(similarity):
    target = torch.arange(len(similarity))
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.t(), target)) / 2


def album(pages, generator):
    to_pixels = torch.randn(6, 32, generator=generator)
    to_words = torch.rand(6, 40, generator=generator)
    for page in range(pages):
        theme = torch.randn(16, 6, generator=generator)
        captions = torch.poisson((theme @ to_words).clamp(min=0), generator=generator)
        captions[:, 0] += 1
        if page == 31:
            captions[12] = 0  # no caption was written
        yield theme @ to_pixels, captions


torch.manual_seed(6)
model = Matcher(pixels=32, words=40)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
for page, (pictures, captions) in enumerate(album(60, torch.Generator().manual_seed(2))):
    loss = symmetric_loss(model(pictures, captions))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if page % 10 == 0:
        print(f"page {page}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
