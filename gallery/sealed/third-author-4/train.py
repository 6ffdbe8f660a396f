"""Earthquake or quarry blast?  Traces arrive as a stream, in half precision as the station sends them."""

import hashlib
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class StationStream(IterableDataset):
    """Endless synthetic traces; a blast has a short onset and a dominant frequency, a quake two arrivals."""

    def __init__(self, samples=300, seed=1):
        self.samples, self.seed = samples, seed

    def trace(self, rng):
        t = torch.arange(self.samples) / 100.0
        quake = bool(torch.rand((), generator=rng) < 0.5)
        onset = 0.5 + 0.8 * torch.rand((), generator=rng)
        tau = (t - onset).clamp(min=0.0)
        if quake:
            second = (t - onset - 1.2).clamp(min=0.0)
            shape = torch.sin(40 * tau) * torch.exp(-4 * tau) + 2 * torch.sin(18 * second) * torch.exp(-2 * second)
        else:
            shape = 2 * torch.sin(30 * tau) * torch.exp(-3 * tau)
        shape = shape + 0.15 * torch.randn(self.samples, generator=rng)
        magnitude = 1.0 + 0.7 * torch.randn((), generator=rng).abs()
        return (10.0 ** (-magnitude) * shape).half(), float(quake)

    def __iter__(self):
        rng = torch.Generator().manual_seed(self.seed)
        while True:
            yield self.trace(rng)


class Picker(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, width, 15, stride=3), nn.GELU(),
            nn.Conv1d(width, 2 * width, 9, stride=3), nn.GELU(),
            nn.Conv1d(2 * width, 2 * width, 9, stride=3), nn.GELU(),
            nn.AdaptiveAvgPool1d(3), nn.Flatten(), nn.Linear(6 * width, 1),
        )

    @staticmethod
    def unit_energy(trace):
        centred = trace - trace.mean(dim=1, keepdim=True)
        power = centred.square().mean(dim=1, keepdim=True)  # <- fault
        return centred / power.sqrt()  # <- origin

    def forward(self, trace):
        return self.layers(self.unit_energy(trace).float()[:, None])[:, 0]  # <- fault


class Training:
    def __init__(self, updates=90):
        torch.manual_seed(1)
        self.updates = updates
        self.model = Picker()
        self.optimizer = torch.optim.NAdam(self.model.parameters(), lr=1e-3)
        self.criterion = nn.BCEWithLogitsLoss()
        self.average = math.log(2)

    def update(self, traces, labels):
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(traces), labels)
        loss.backward()
        self.optimizer.step()
        self.average = 0.95 * self.average + 0.05 * loss.item()

    def run(self):
        stream = DataLoader(StationStream(), batch_size=32)
        for number, (traces, labels) in zip(range(self.updates), stream):
            self.update(traces, labels.float())
            if number % 10 == 0:
                print(f"{number:4d}  running loss {self.average:.4f}")
        print(f"final loss {self.average:.4f}")

    def fingerprint(self):
        h = hashlib.sha256()
        for _, tensor in sorted(self.model.named_parameters()):
            h.update(tensor.detach().numpy().tobytes())
        return h.hexdigest()


training = Training()
training.run()
print("weights", training.fingerprint())
