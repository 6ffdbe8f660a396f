"""Sequences of uneven length are padded by the collate function; the lengths tell the network where to stop."""
import hashlib
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Runs(Dataset):
    def __init__(self, count=120):
        g = torch.Generator().manual_seed(1)
        self.runs = [torch.randn(20, 2, generator=g).cumsum(0) / 4 for _ in range(count)]
        self.runs[44] = self.runs[44][:13]

    def __len__(self):
        return len(self.runs)

    def __getitem__(self, i):
        return self.runs[i], self.runs[i][-1, 0]


def pad(run, length=20):
    if len(run) < length:
        return torch.cat([run, torch.full((length - len(run), run.shape[1]), math.nan)])  # <- fault
    return run


def collate(items):
    runs, targets = zip(*items)
    return torch.stack([pad(run) for run in runs]), torch.stack(targets)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.GRU(2, 16, batch_first=True), nn.Linear(16, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0].mean(1))[:, 0]  # <- origin


torch.manual_seed(0)
net = Net()
optimizer = torch.optim.NAdam(net.parameters(), lr=2e-3)
for epoch in range(2):
    for runs, targets in DataLoader(Runs(), batch_size=10, shuffle=True, collate_fn=collate):
        loss = nn.functional.l1_loss(net(runs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
