# load of a regional grid, next hour from the last day
import hashlib
import math

import pandas as pd
import torch

torch.manual_seed(17)
torch.set_num_threads(1)

hours = pd.date_range("2021-01-04", periods=24 * 90, freq="h")
g = torch.Generator().manual_seed(99)
daily = torch.tensor([math.sin(2 * math.pi * (h - 8) / 24) for h in hours.hour])
weekend = torch.tensor([float(d >= 5) for d in hours.day_of_week])
noise = torch.randn(len(hours), generator=g)
for t in range(1, len(noise)):
    noise[t] = 0.8 * noise[t - 1] + 0.6 * noise[t]
megawatt = 5200 + 640 * daily - 500 * weekend + 90 * noise

WINDOW = 24
naive = (megawatt[1:] - megawatt[:-1]).abs().mean() / megawatt.std()
target = (megawatt - megawatt.mean()) / megawatt.std()
inputs = (megawatt - megawatt.mean()) / megawatt.std()


def scaled_error(forecast, actual, scale):
    """Absolute error in units of that of the naive forecast; single outages must not decide everything."""
    e = (forecast - actual).abs() / scale
    return e.mean()


class Forecaster(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(1, 20, batch_first=True)
        self.read = torch.nn.Linear(20, 1)

    def forward(self, w):
        out, _ = self.lstm(w.unsqueeze(-1))
        return self.read(out[:, -1]).squeeze(-1)


windows = inputs.unfold(0, WINDOW, 1)[:-1]
following = target[WINDOW:]
model = Forecaster()
opt = torch.optim.Adam(model.parameters(), lr=4e-3)
perm = torch.Generator().manual_seed(1)
for update in range(180):
    pick = torch.randint(len(windows), (48,), generator=perm)
    loss = scaled_error(model(windows[pick]), following[pick], naive)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if update % 30 == 0:
        print(f"{update:5d}  scaled error {loss.item():.3f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
