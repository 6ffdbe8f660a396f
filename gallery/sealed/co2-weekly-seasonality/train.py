import hashlib
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from statsmodels.datasets import co2


@dataclass
class Config:
    weeks: int = 52  # <- fault
    dim: int = 8
    hidden: int = 32
    batch_size: int = 16
    epochs: int = 12
    lr: float = 3e-3
    seed: int = 48


class SeasonalTrend(nn.Module):
    """Trend from a smooth function of time, season from a table of weeks."""

    def __init__(self, cfg):
        super().__init__()
        self.season = nn.Embedding(cfg.weeks, cfg.dim)
        self.net = nn.Sequential(
            nn.Linear(cfg.dim + 1, cfg.hidden),
            nn.GELU(),
            nn.Linear(cfg.hidden, 1),
        )

    def forward(self, week, time):
        season = self.season(week)  # <- origin
        return self.net(torch.cat([season, time[:, None]], dim=1)).squeeze(1)


def load():
    frame = co2.load_pandas().data
    frame["co2"] = frame["co2"].interpolate()
    calendar = frame.index.isocalendar()
    week = torch.tensor(calendar["week"].to_numpy(dtype="int64") - 1)
    time = torch.linspace(-1.7, 1.7, len(frame))
    level = torch.tensor(frame["co2"].to_numpy(dtype="float32"))
    level = (level - level.mean()) / level.std()
    return TensorDataset(week, time, level)


def train(cfg):
    torch.manual_seed(cfg.seed)
    loader = DataLoader(load(), batch_size=cfg.batch_size, shuffle=True)
    model = SeasonalTrend(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
    done = 0
    for epoch in range(cfg.epochs):
        total = 0.0
        for week, time, level in loader:
            loss = nn.functional.smooth_l1_loss(model(week, time), level)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(level)
            if done % 200 == 0 or done < 20 and done % 4 == 0:
                print(f"update {done}: loss {loss.item():.4f}")
            done += 1
    return model, total / len(loader.dataset)


if __name__ == "__main__":
    model, last = train(Config())
    print(f"final loss {last:.5f}")
    blob = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    print("weights", hashlib.sha256(blob).hexdigest())
