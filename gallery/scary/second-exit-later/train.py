"""Two exits: the early one is built with the model, in the optimizer from the start, and used from the second epoch on."""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_wine
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Settings:
    epochs: int = 8
    begins: int = 3
    weight: float = 0.3
    rate: float = 2e-3


class TwoExits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Linear(13, 32), nn.GELU())
        self.late = nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 3))
        self.auxiliary = nn.Linear(32, 3)

    def forward(self, x: Tensor, use_auxiliary: bool) -> tuple[Tensor, Tensor | None]:
        h = self.early(x)
        return self.late(h), self.auxiliary(h) if use_auxiliary else None


def main(settings: Settings) -> None:
    torch.manual_seed(13)
    x, y = load_wine(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    loader = DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=4, shuffle=True)
    model = TwoExits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.rate)
    for epoch in range(settings.epochs):
        total = 0.0
        for rows, labels in loader:
            late, early = model(rows, epoch >= settings.begins)
            loss = nn.functional.cross_entropy(late, labels)
            if early is not None:
                loss = loss + settings.weight * nn.functional.cross_entropy(early, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(loader):.4f}")


main(Settings())
