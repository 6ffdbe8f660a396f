"""Rents in a city, learned in two sittings. A store keeps the state between them, in half the room."""
import hashlib
import io

import torch
from torch import nn


class Store:
    def __init__(self):
        self.file = io.BytesIO()

    def write(self, net, updates):
        state = {}
        for name, value in net.state_dict().items():
            state[name] = value.to(torch.float16)  # <- fault
        torch.save({"state": state, "updates": updates}, self.file)

    def read(self, net):
        self.file.seek(0)
        stored = torch.load(self.file)
        net.load_state_dict(stored["state"])
        return stored["updates"]


class Rent(nn.Module):
    """Yearly rent in euro round the mean of the city."""

    def __init__(self, mean, spread):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 24), nn.GELU(), nn.Linear(24, 1))
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("spread", torch.tensor(spread))

    def forward(self, flat):
        return self.mean + self.spread * self.body(flat).squeeze(1)  # <- origin


def fit(net, flats, rent, first, last):
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for update in range(first, last):
        rows = torch.randint(len(flats), (32,))
        loss = ((net(flats[rows]) - rent[rows]).abs() / 1000).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 20 == 0:
            print(f"{update}: {loss.item():.3f}")
    return last


torch.manual_seed(27)
flats = torch.randn(700, 5)
rent = 68_000 + 9000 * flats[:, 0] + 4000 * torch.relu(flats[:, 1]) + 1500 * torch.randn(700)
store = Store()
net = Rent(rent.mean().item(), rent.std().item())
store.write(net, fit(net, flats, rent, 0, 60))

net = Rent(0.0, 1.0)
fit(net, flats, rent, store.read(net), 120)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
