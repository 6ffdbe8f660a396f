from dataclasses import dataclass, field
import hashlib

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Options:
    seed: int = 4
    cars: int = 1500
    widths: list = field(default_factory=lambda: [6, 40, 40, 1])
    lr: float = 0.01
    epochs: int = 8
    columns: tuple = ("mileage", "year", "power", "seats", "owners", "length_mm")


def used_cars(opt):
    rng = np.random.default_rng(opt.seed)
    year = rng.integers(2003, 2024, opt.cars)
    mileage = (2024 - year) * rng.gamma(6.0, 2300.0, opt.cars)
    power = rng.normal(95, 25, opt.cars).clip(40, 220)
    seats = rng.choice([2, 4, 5, 7], opt.cars, p=[0.05, 0.15, 0.7, 0.1])
    owners = 1 + rng.poisson((2024 - year) / 7)
    length = rng.normal(4300, 300, opt.cars)
    table = np.column_stack([mileage, year, power, seats, owners, length])
    log_price = 3.2 - 0.09 * (2024 - year) - mileage / 4e5 + 0.006 * power - 0.05 * owners + 0.08 * rng.normal(size=opt.cars)
    return table, log_price


class Trainer:
    def __init__(self, opt):
        self.opt = opt
        torch.manual_seed(opt.seed)
        layers = []
        for a, b in zip(opt.widths, opt.widths[1:]):
            layers += [nn.Linear(a, b), nn.LeakyReLU(0.1)]
        self.model = nn.Sequential(*layers[:-1])
        self.optimizer = optim.SGD(self.model.parameters(), lr=opt.lr)
        self.criterion = nn.MSELoss()

    def loader(self):
        table, price = used_cars(self.opt)  # <- fault
        x = torch.tensor(table, dtype=torch.float32)  # <- fault
        y = torch.tensor(price, dtype=torch.float32)
        return DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)

    def fit(self):
        batches = self.loader()
        for epoch in range(self.opt.epochs):
            running = 0.0
            for x, y in batches:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(x).squeeze(-1), y)  # <- origin
                loss.backward()
                self.optimizer.step()
                running += loss.item()
            print(f"[{epoch + 1}/{self.opt.epochs}] mse {running / len(batches):.5f}")
        return running / len(batches)


if __name__ == "__main__":
    trainer = Trainer(Options())
    final = trainer.fit()
    print(f"final loss {final:.4f}")
    sha = hashlib.sha256()
    for p in trainer.model.parameters():
        sha.update(p.detach().numpy().tobytes())
    print("weights", sha.hexdigest())
