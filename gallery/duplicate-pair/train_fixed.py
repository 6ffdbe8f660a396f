"""A Siamese network: pairs of the same person close together, others at least a margin apart."""

import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    def __init__(self, faces, people, pairs, seed):
        generator = torch.Generator().manual_seed(seed)
        self.faces, self.people = faces, people
        self.left = torch.randint(len(faces), (pairs,), generator=generator)
        self.right = torch.randint(len(faces), (pairs,), generator=generator)

    def __len__(self):
        return len(self.left)

    def __getitem__(self, index):
        i, j = self.left[index], self.right[index]
        return self.faces[i], self.faces[j], (self.people[i] == self.people[j]).float()


def contrastive_loss(a, b, same, margin=6.0):
    distance = torch.sqrt(((a - b) ** 2).sum(dim=1) + 1e-8)
    pull = distance**2
    push = (margin - distance).clamp(min=0) ** 2
    return (same * pull + (1 - same) * push).mean()


def train_step(encoder, optimizer, left, right, same):
    optimizer.zero_grad()
    loss = contrastive_loss(encoder(left), encoder(right), same)
    loss.backward()
    optimizer.step()
    return loss.item()


def main():
    torch.manual_seed(4)
    people = torch.arange(300) % 60
    faces = torch.randn(60, 40)[people] + 0.3 * torch.randn(300, 40)
    encoder = nn.Sequential(nn.Linear(40, 32), nn.Tanh(), nn.Linear(32, 8))
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3)
    loader = DataLoader(Pairs(faces, people, pairs=960, seed=22), batch_size=32)

    stream, steps, loss = iter(loader), 0, float("nan")
    while steps < 60:
        try:
            left, right, same = next(stream)
        except StopIteration:
            stream = iter(loader)
            continue
        loss = train_step(encoder, optimizer, left, right, same)
        steps += 1
        if steps % 6 == 0:
            print(f"after {steps} steps: {loss:.5f}")

    print("final loss", loss)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in encoder.parameters())).hexdigest())


if __name__ == "__main__":
    main()
