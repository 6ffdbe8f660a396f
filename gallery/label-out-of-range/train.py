"""Recognise which of twelve birds sings, from a short feature vector."""

import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

BIRDS = 12  # <- fault


class Songs(Dataset):
    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.birds = torch.randint(BIRDS, (count,), generator=generator)
        self.features = torch.randn(BIRDS, 20, generator=generator)[self.birds] + torch.randn(count, 20, generator=generator)
        self.birds[611] = 12  # "other"  # <- fault

    def __len__(self):
        return len(self.birds)

    def __getitem__(self, index):
        return self.features[index], self.birds[index]


def accuracy(logits, birds):
    return (logits.argmax(dim=1) == birds).float().mean().item()


def train(model, loader, epochs, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        for i, (features, birds) in enumerate(loader):
            logits = model(features)
            loss = criterion(logits, birds)  # <- origin
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if i % 8 == 0:
                print(f"epoch {epoch} batch {i} loss {loss.item():.4f} accuracy {accuracy(logits, birds):.2f}")
    return loss.item()


if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, BIRDS))
    loader = DataLoader(Songs(900, seed=10), batch_size=30)
    print("final loss", train(model, loader, epochs=2, lr=0.05))
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
