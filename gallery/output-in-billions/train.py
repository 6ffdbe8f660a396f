"""Next quarter's output in billions, from growth rates of the last two years."""
import hashlib
from dataclasses import dataclass

import statsmodels.api as sm
import torch
from torch import nn


@dataclass
class Settings:
    hidden: int = 16
    lags: int = 8
    lr: float = 0.02
    epochs: int = 20


class Forecast(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.rnn = nn.GRU(3, s.hidden, batch_first=True)
        self.out = nn.Sequential(nn.Linear(s.hidden, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.out(self.rnn(x)[1][0])[:, 0]


def prepare(s):
    table = sm.datasets.macrodata.load_pandas().data
    levels = torch.tensor(table[["realgdp", "realcons", "realinv"]].to_numpy(), dtype=torch.float32)
    growth = 100 * levels.log().diff(dim=0)
    x = growth.unfold(0, s.lags, 1).transpose(1, 2)[:-1]
    y = levels[s.lags + 1 :, 0]  # <- fault
    return x, y


def train(s):
    x, y = prepare(s)
    model = Forecast(s)
    optimizer = torch.optim.SGD(model.parameters(), lr=s.lr)
    for epoch in range(s.epochs):
        for rows in torch.randperm(len(x)).split(24):
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])  # <- origin
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
    return model


torch.manual_seed(0)
model = train(Settings())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
