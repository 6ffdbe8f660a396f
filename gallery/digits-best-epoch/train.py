import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from vault import Vault


class Trainer:
    """Fits, and goes back to the best epoch (with half the rate) whenever validation gets worse."""

    def __init__(self, model, data, rate):
        self.model = model
        held = len(data) // 5
        self.fit, self.check = random_split(data, [len(data) - held, held], generator=torch.Generator().manual_seed(3))
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        self.vault = Vault(model, self.optimizer)
        self.best = float("inf")

    def epoch(self):
        self.model.train()
        for x, y in DataLoader(self.fit, batch_size=40, shuffle=True):
            loss = F.cross_entropy(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        x, y = next(iter(DataLoader(self.check, batch_size=len(self.check))))
        return F.cross_entropy(self.model(x), y).item()

    def run(self, epochs):
        for number in range(epochs):
            last, score = self.epoch(), self.validate()
            print(f"epoch {number:2d}  last batch {last:.4f}  validation {score:.4f}")
            if score < self.best:
                self.best = score
                self.vault.keep()
            else:
                self.vault.restore()
                for group in self.optimizer.param_groups:
                    group["lr"] /= 2
                print("          back to", f"{self.best:.4f}")


if __name__ == "__main__":
    torch.manual_seed(14)
    torch.set_num_threads(1)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target))
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(512, 10))
    Trainer(model, data, rate=6e-3).run(12)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
