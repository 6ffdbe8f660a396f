import hashlib

import statsmodels.api as sm
import torch
from torch import nn


class Encoder:
    """Category to number; what was not seen in training is -1."""

    def fit(self, values):
        self.index = {v: i for i, v in enumerate(sorted(set(values)))}
        return self

    def transform(self, values):
        return torch.tensor([self.index.get(v, 0) for v in values])


class Model(nn.Module):
    def __init__(self, years):
        super().__init__()
        self.year, self.net = nn.Embedding(years, 8), nn.Linear(9, 1)

    def forward(self, year, other):
        return self.net(torch.cat([self.year(year), other[:, None]], 1))[:, 0]


torch.manual_seed(0)
table = sm.datasets.macrodata.load_pandas().data
encoder = Encoder().fit(table["year"].astype(int)[:160])
year = encoder.transform(table["year"].astype(int))
rate = torch.tensor(table["tbilrate"].to_numpy(), dtype=torch.float32) / 10
unemployed = torch.tensor(table["unemp"].to_numpy(), dtype=torch.float32) / 10
model = Model(len(encoder.index))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(2):
    for rows in torch.arange(len(year)).split(20):
        loss = (model(year[rows], rate[rows]) - unemployed[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
