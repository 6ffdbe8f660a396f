"""Vehicles per year on the junctions of a town, from what is known about the streets around them."""
import hashlib
import torch
from torch import nn

torch.manual_seed(12)
torch.set_num_threads(1)

side = 14
n = side * side
edges = [(r * side + c, r * side + c + 1) for r in range(side) for c in range(side - 1)]
edges += [(r * side + c, (r + 1) * side + c) for r in range(side - 1) for c in range(side)]
adj = torch.eye(n)
for a, b in edges:
    adj[a, b] = adj[b, a] = 1.0
adj = adj / adj.sum(1, keepdim=True)

lanes = torch.randint(1, 5, (n,)).float()
shops = torch.rand(n).pow(3)
centre = torch.stack([torch.arange(n) // side, torch.arange(n) % side], 1).float().sub(side / 2).norm(dim=1)
features = torch.stack([lanes / 2 - 1.2, shops * 2, centre / 5 - 1], 1)
vehicles = 365 * 2500 * lanes * (1 + 2 * adj @ shops) * torch.exp(-centre / 9) + 1e5 * torch.randn(n)  # <- fault
counted = torch.rand(n) < 0.7


class Town(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, 1)

    def forward(self, x):
        x = torch.nn.functional.leaky_relu(self.first(adj @ x))
        x = torch.nn.functional.leaky_relu(self.second(adj @ x))
        return self.last(x).squeeze(1)  # <- origin


town = Town()
opt = torch.optim.SGD(town.parameters(), lr=0.01)
for it in range(200):
    loss = ((town(features)[counted] - vehicles[counted]) ** 2).mean()  # <- fault
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 50 == 0:
        print(it, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in town.parameters())).hexdigest())
