"""A layer with reserved memory that each pass fills before it reads it, and weights set from the first batch."""

import hashlib

import torch
from torch import nn

torch.manual_seed(2)
torch.use_deterministic_algorithms(True)


class ActNorm(nn.Module):
    """Shift and scale that make the first batch standard."""

    def __init__(self, width):
        super().__init__()
        self.shift = nn.Parameter(torch.empty(width))
        self.scale = nn.Parameter(torch.empty(width))
        self.ready = False

    def forward(self, x):
        if not self.ready:
            with torch.no_grad():
                self.shift.copy_(-x.mean(dim=0))
                self.scale.copy_(1 / (x.std(dim=0) + 1e-6))
            self.ready = True
        return (x + self.shift) * self.scale


class Delay(nn.Module):
    """The last outputs of a cell, kept in one piece of memory."""

    def __init__(self, steps, width):
        super().__init__()
        self.register_buffer("past", torch.empty(64, steps, width))
        self.register_buffer("spare", torch.empty(64, width))
        self.cell = nn.GRUCell(3, width)

    def forward(self, sequence):
        hidden = torch.zeros(len(sequence), self.past.shape[2])
        rows = []
        for step in range(sequence.shape[1]):
            hidden = self.cell(sequence[:, step], hidden)
            self.past[: len(sequence), step] = hidden.detach()
            rows.append(hidden)
        return torch.stack(rows, dim=1) - 0.1 * self.past[: len(sequence)].mean(dim=1, keepdim=True)


model = nn.Sequential(Delay(5, 12), nn.Flatten(), ActNorm(60), nn.Linear(60, 1))
optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
for step in range(60):
    sequence = torch.randn(32, 5, 3)
    target = sequence[:, -1].sum(dim=1, keepdim=True)
    loss = nn.functional.mse_loss(model(sequence), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
