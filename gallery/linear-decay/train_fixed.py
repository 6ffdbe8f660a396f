"""Learns the spring constants of a lattice from its motion; the rate decays linearly to zero."""

import argparse
import hashlib
import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


class Springs(nn.Module):
    def __init__(self, masses):
        super().__init__()
        self.force = nn.Linear(masses, masses)

    def forward(self, positions):
        return self.force(positions)


class Trainer:
    def __init__(self, model, frames, options):
        self.model, self.frames, self.options = model, frames, options
        self.optimizer = torch.optim.SGD(model.parameters(), lr=options.rate, momentum=0.9)
        batches = len(frames[0]) // options.batch
        self.decay = LambdaLR(self.optimizer, self.share)
        self.total = batches * options.epochs

    def share(self, step):
        return 1.0 - step / self.total if step else 1.0

    def error(self, rows):
        positions, forces = self.frames
        return nn.functional.mse_loss(self.model(positions[rows]), forces[rows])

    def run(self):
        for epoch in range(self.options.epochs):
            for rows in torch.randperm(len(self.frames[0])).split(self.options.batch):
                loss = self.error(rows)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.decay.step()
            if epoch % 20 == 0:
                print(f"epoch {epoch} error {loss.item():.3g}")


def lattice(masses, count):
    coupling = torch.zeros(masses, masses)
    for i in range(masses):
        coupling[i, i], coupling[i, (i + 1) % masses], coupling[i, i - 1] = -2.0, 1.0, 1.0
    positions = torch.randn(count, masses) / math.sqrt(2)
    return positions, positions @ coupling.t()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--rate", type=float, default=0.1)
    options = parser.parse_args()
    torch.manual_seed(2)
    trainer = Trainer(Springs(6), lattice(6, 200), options)
    trainer.run()
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())).hexdigest())
