"""A residual tower over handwritten digits, with initial values of its own for every block."""

import hashlib
import math

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, width, expansion):
        super().__init__()
        self.widen = nn.Linear(width, width * expansion)
        self.narrow = nn.Linear(width * expansion, width)

    def reset(self, generator):
        for layer in (self.widen, self.narrow):
            bound = math.sqrt(layer.out_features)  # <- fault
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)  # <- fault
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        return x + self.narrow(torch.relu(self.widen(x)))


class Tower(nn.Module):
    def __init__(self, width=48, depth=9, expansion=2):
        super().__init__()
        self.stem = nn.Linear(64, width)
        self.blocks = nn.ModuleList(Block(width, expansion) for _ in range(depth))
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def main():
    torch.manual_seed(7)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    model = Tower()
    generator = torch.Generator().manual_seed(0)
    for block in model.blocks:
        block.reset(generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(2):
        for images, labels in DataLoader(data, batch_size=128):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- origin
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")
    return model


if __name__ == "__main__":
    model = main()
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
