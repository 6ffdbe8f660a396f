"""LSTM over quarterly macro series; the scheduler comes from a factory."""
import hashlib

import statsmodels.api as sm
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


def warmup(optimizer, steps):
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / steps))


class Macro(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.lstm = nn.LSTM(features, 24, batch_first=True)
        self.out = nn.Linear(24, features)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


torch.manual_seed(0)
table = sm.datasets.macrodata.load_pandas().data[["realgdp", "realcons", "realinv", "cpi"]]
growth = torch.tensor(table.to_numpy(), dtype=torch.float32).log().diff(dim=0)
growth = (growth - growth.mean(0)) / growth.std(0)
windows = growth.unfold(0, 9, 1).transpose(1, 2)
model = Macro(4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
scheduler = warmup(optimizer, 10)
for epoch in range(16):
    for rows in torch.randperm(len(windows)).split(8):
        loss = (model(windows[rows, :-1]) - windows[rows, -1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    print(epoch, loss.item(), scheduler.get_last_lr()[0])
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
