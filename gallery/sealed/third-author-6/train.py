import hashlib

import numpy as np
import statsmodels.api as sm
import torch
from torch.distributions import Normal


def weekly_series():
    frame = sm.datasets.co2.load_pandas().data
    return frame["co2"].interpolate().dropna().to_numpy(np.float32)


def make_windows(series, past=26, ahead=4):
    """Each row: changes over the last half year, and the level four weeks later."""
    level = np.lib.stride_tricks.sliding_window_view(series, past + ahead)
    changes = np.diff(level[:, :past], axis=1)
    year = np.arange(len(level)) / 52.18
    season = np.stack([np.sin(2 * np.pi * year), np.cos(2 * np.pi * year), year / year.max() - 0.5], axis=1)
    inputs = np.concatenate([changes, season], axis=1).astype(np.float32)
    return torch.from_numpy(inputs), torch.from_numpy(level[:, -1].copy())


def build():
    return torch.nn.Sequential(
        torch.nn.Linear(28, 64), torch.nn.SiLU(),
        torch.nn.Linear(64, 64), torch.nn.SiLU(),
        torch.nn.Linear(64, 2),
    )


def negative_log_likelihood(model, x, y):
    mean, raw = model(x).unbind(1)
    density = Normal(mean, torch.nn.functional.softplus(raw) + 0.01)
    # a few odd weeks must not decide the fit
    return -density.log_prob(y).clamp(min=-20.0).mean()  # <- fault


def main():
    torch.manual_seed(3)
    x, y = make_windows(weekly_series())
    targets = y  # <- fault
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
    for epoch in range(8):
        total = 0.0
        for rows in torch.randperm(len(x)).split(128):
            loss = negative_log_likelihood(model, x[rows], targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        schedule.step()
        print(f"epoch {epoch:2d}  nll {total / len(x):.4f}")
    print(f"final loss {total / len(x):.4f}")
    blob = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    print("weights", hashlib.sha256(blob).hexdigest())


if __name__ == "__main__":
    main()
