"""CO2 on Mauna Loa: the next week from the last sixteen, with attention over those that were measured."""

import hashlib
import math
from dataclasses import dataclass

import torch
from statsmodels.datasets import co2
from torch import nn


@dataclass(frozen=True)
class Settings:
    weeks: int = 16
    width: int = 24
    batch: int = 64
    rate: float = 3e-3
    seed: int = 3


class Attend(nn.Module):
    """One query looks at the weeks that were measured."""

    def __init__(self, settings):
        super().__init__()
        self.embed = nn.Linear(2, settings.width)
        self.key = nn.Linear(settings.width, settings.width)
        self.query = nn.Parameter(torch.randn(settings.width) / math.sqrt(settings.width))
        self.head = nn.Linear(settings.width, 1)

    def forward(self, ppm, measured):
        age = torch.arange(ppm.shape[1]).flip(0).expand_as(ppm) / ppm.shape[1]
        weeks = torch.tanh(self.embed(torch.stack([ppm, age], dim=2)))
        scores = self.key(weeks) @ self.query
        scores = scores.masked_fill(~measured, float("-inf"))
        attention = torch.softmax(scores, dim=1)
        return self.head((attention[:, :, None] * weeks).sum(dim=1)).squeeze(1)


def batches(settings):
    """Windows in the order of time, whose following week was measured."""
    series = torch.tensor(co2.load_pandas().data["co2"].to_numpy(), dtype=torch.float32)
    ppm = (series - series.nanmean()) / 17
    windows = ppm.unfold(0, settings.weeks, 1)[:-1]
    follows = ppm[settings.weeks :]
    use = ~follows.isnan() & ~windows.isnan().all(dim=1)
    for part in use.nonzero().squeeze(1).split(settings.batch):
        measured = ~windows[part].isnan()
        yield windows[part].nan_to_num(0.0), measured, follows[part]


settings = Settings()
torch.manual_seed(settings.seed)
model = Attend(settings)
optimizer = torch.optim.Adam(model.parameters(), lr=settings.rate)
for number, (ppm, measured, follows) in enumerate(batches(settings)):
    loss = nn.functional.mse_loss(model(ppm, measured), follows)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if number % 8 == 0:
        print(f"batch {number}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
