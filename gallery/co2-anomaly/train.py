"""Forecast next week's CO2 at Mauna Loa from a year of weeks, each seen against its own recent past."""
import hashlib

import torch
from statsmodels.datasets import co2
from torch import nn
from torch.nn import functional as F

torch.manual_seed(21)
torch.set_num_threads(1)

weekly = co2.load_pandas().data["co2"].interpolate().round(1)
# the logger repeats its last value while the inlet is being changed
weekly.iloc[1709:1721] = weekly.iloc[1709]
series = torch.tensor(weekly.to_numpy(), dtype=torch.float32)
YEAR, PAST = 52, 8


def against_past(x):
    """z-score of every week within the PAST weeks that end with it."""
    windows = x.unfold(1, PAST, 1)
    mean = windows.mean(-1)
    variance = (windows * windows).mean(-1) - mean * mean  # <- fault
    z = (x[:, PAST - 1:] - mean) / torch.sqrt(variance)  # <- origin
    return torch.stack([z, x[:, PAST - 1:] - x[:, -1:]], dim=1)


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 16, 5, stride=2)
        self.out = nn.Linear(16 * 21, 1)

    def forward(self, x):
        return x[:, -1] + self.out(F.silu(self.conv(against_past(x))).flatten(1))[:, 0]


starts = torch.arange(len(series) - YEAR - 1)
model = Forecaster()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(2):
    loss_sum = 0.0
    for part in starts.split(16):
        x = series[part[:, None] + torch.arange(YEAR)]
        loss = F.smooth_l1_loss(model(x), series[part + YEAR])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(part)
    print(f"epoch {epoch}: {loss_sum / len(starts):.4f} ppm")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
