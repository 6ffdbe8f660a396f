import hashlib

import numpy as np
import statsmodels.api as sm
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def weekly():
    series = sm.datasets.co2.load_pandas().data["co2"].to_numpy()
    return np.ma.masked_invalid(series)[1000:]


class Windows(Dataset):
    def __init__(self, series, length, ahead=4):
        values = (series - series.mean()) / series.std()
        self.values = torch.from_numpy(values.filled(0).astype(np.float32))
        self.length, self.ahead = length, ahead

    def __len__(self):
        return len(self.values) - self.length - self.ahead

    def __getitem__(self, i):
        return self.values[i : i + self.length], self.values[i + self.length + self.ahead]


class Forecaster(nn.Module):
    def __init__(self, length):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(length, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


series = weekly()
series[[55, 56, 57, 300, 301, 302]] = np.ma.masked
torch.manual_seed(0)
data = Windows(series, 26)
model = Forecaster(26)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(3):
    for x, y in DataLoader(data, batch_size=32):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
