"""The temperature of a magnet from a picture of its spins; gradients of four pictures at a time are added up."""

import hashlib

import torch
from torch import nn

torch.manual_seed(8)


def spins(count):
    """Sheets that were smoothed more often look colder."""
    passes = torch.randint(1, 5, (count,))
    sheets = torch.randn(count, 1, 12, 12)
    for k in range(1, 5):
        smooth = nn.functional.avg_pool2d(nn.functional.pad(sheets, (1, 1, 1, 1), mode="circular"), 3, stride=1)
        sheets = torch.where((passes >= k)[:, None, None, None], smooth * 2.0, sheets)
    return sheets.sign(), passes.float() / 4.0


class Thermometer(nn.Module):
    def __init__(self):
        super().__init__()
        self.look = nn.Conv2d(1, 8, 3)
        self.look_again = nn.Conv2d(8, 8, 3)
        self.temperature = nn.Linear(8, 1)

    def forward(self, sheets):
        seen = torch.relu(self.look_again(torch.relu(self.look(sheets))))
        return self.temperature(seen.mean((2, 3)))[:, 0]


def main(accumulate=4, updates=220):
    model = Thermometer()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for update in range(updates):
        total = 0.0
        for _ in range(accumulate):
            sheets, truth = spins(8)
            loss = (model(sheets) - truth).square().mean() / accumulate
            loss.backward()
            total += loss.item()
        optimizer.step()
        optimizer.zero_grad()
        if update % 20 == 0:
            print(f"{update:3d} {total:.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
