"""Tomorrow's sea surface from today's, on a small grid along a coast."""

import hashlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

FILL = np.float32(9.96921e36)


def archive(days):
    """Daily fields as the archive stores them: cells that fell dry at low tide hold its fill value."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0:16, 0:16] / 16.0
    fields = []
    for day in range(days):
        field = np.sin(6 * x + day / 9) + np.cos(5 * y - day / 7) + 0.05 * rng.standard_normal((16, 16))
        if day in (140, 141):  # spring tide
            field[13:, :3] = FILL  # <- fault
        fields.append(field.astype(np.float32))
    return np.stack(fields)


class Tomorrow(Dataset):
    def __init__(self, fields):
        self.fields = fields

    def __len__(self):
        return len(self.fields) - 1

    def __getitem__(self, day):
        return {"today": self.fields[day][None], "tomorrow": self.fields[day + 1][None]}


class Drift(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(1, 12, 3, padding=1)
        self.outer = nn.Conv2d(12, 1, 3, padding=1)

    def forward(self, field):
        return field + self.outer(torch.tanh(self.inner(field)))


def train(loader, epochs):
    torch.manual_seed(2)
    drift = Drift()
    optimizer = torch.optim.Adam(drift.parameters(), lr=2e-3)
    for epoch in range(epochs):
        for batch in loader:
            difference = drift(batch["today"]) - batch["tomorrow"]
            loss = (difference**2).mean()  # <- origin
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print("epoch", epoch, "loss", loss.item())
    return drift


fields = archive(200)
drift = train(DataLoader(Tomorrow(fields), batch_size=8), epochs=2)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in drift.parameters())).hexdigest())
