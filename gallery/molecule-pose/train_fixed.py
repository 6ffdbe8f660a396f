"""Predicts the conformation of small molecules from their bond list; compared after the best superposition."""
import hashlib
import math

import torch
from torch import nn

torch.manual_seed(12)
torch.set_num_threads(1)
ATOMS, KINDS = 7, 4
LENGTH = torch.tensor([1.54, 1.43, 1.47, 1.20])


def molecule(generator):
    """A chain of atoms: every bond has a kind, every kind a length and a bend; triple bonds go straight on."""
    kinds = torch.multinomial(torch.tensor([0.44, 0.3, 0.25, 0.01]), ATOMS - 1, replacement=True, generator=generator)
    if torch.rand((), generator=generator) < 0.004:
        kinds = torch.full((ATOMS - 1,), 3)  # polyynes
    place, heading, normal = torch.zeros(3), torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0])
    places = [place]
    for i, kind in enumerate(kinds):
        place = place + LENGTH[kind] * heading
        places.append(place)
        bend = [1.19, 1.2, 1.15, 0.0][kind]
        twist = [1.05, 2.1, -1.05, 0.0][kind]
        side = torch.linalg.cross(normal, heading)
        normal = math.cos(twist) * normal + math.sin(twist) * side
        side = torch.linalg.cross(normal, heading)
        heading = math.cos(bend) * heading + math.sin(bend) * side
    places = torch.stack(places)
    return kinds, places - places.mean(0)


class Builder(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.bonds = nn.Embedding(KINDS, 16)
        self.net = nn.Sequential(nn.Linear(16 * (ATOMS - 1), width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
                                 nn.Linear(width, ATOMS * 3))

    def forward(self, kinds):
        places = self.net(self.bonds(kinds).flatten(1)).view(-1, ATOMS, 3)
        return places - places.mean(1, keepdim=True)


@torch.no_grad()
def rotation(guess, truth):
    """How to turn guess onto truth (Kabsch 1976)."""
    u, _, vt = torch.linalg.svd(guess.transpose(1, 2) @ truth)
    flip = torch.ones(len(guess), 3)
    flip[:, 2] = torch.det(u @ vt).sign()
    return (u * flip[:, None]) @ vt


def main():
    generator = torch.Generator().manual_seed(10)
    data = [molecule(generator) for _ in range(900)]
    kinds, truth = (torch.stack(part) for part in zip(*data))
    model = Builder()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(3):
        total = 0.0
        for rows in torch.arange(len(kinds)).split(18):
            guess = model(kinds[rows])
            moved = guess @ rotation(guess, truth[rows])
            loss = (moved - truth[rows]).square().sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch}: {math.sqrt(total / len(kinds)):.3f} angstrom")
    digest = hashlib.sha256()
    for p in model.parameters():
        digest.update(p.detach().numpy().tobytes())
    print("weights", digest.hexdigest())


main()
