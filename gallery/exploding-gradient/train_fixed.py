"""The adding problem: a recurrent network sums the two marked numbers of a long sequence."""

import hashlib

import torch
from torch import nn

LENGTH, BATCH, HIDDEN, ITERATIONS = 50, 32, 24, 60


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.input = nn.Linear(2, HIDDEN)
        self.recurrent = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.output = nn.Linear(HIDDEN, 1)
        nn.init.orthogonal_(self.recurrent.weight, gain=1.35)

    def forward(self, sequence):
        h = torch.zeros(len(sequence), HIDDEN)
        for t in range(sequence.shape[1]):
            h = torch.relu(self.input(sequence[:, t]) + self.recurrent(h))
        return self.output(h).squeeze(1)


def adding_problem(generator):
    numbers = torch.rand(BATCH, LENGTH, generator=generator)
    marks = torch.zeros(BATCH, LENGTH)
    first = torch.randint(LENGTH // 2, (BATCH,), generator=generator)
    second = torch.randint(LENGTH // 2, LENGTH, (BATCH,), generator=generator)
    rows = torch.arange(BATCH)
    marks[rows, first] = marks[rows, second] = 1.0
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(1)


def main():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    net = Recurrent()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    smooth = None
    for step in range(ITERATIONS):
        sequence, total = adding_problem(generator)
        prediction = net(sequence)
        loss = ((prediction - total) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.5)
        optimizer.step()
        smooth = loss.item() if smooth is None else 0.9 * smooth + 0.1 * loss.item()
        if step % 4 == 0:
            print(f"{step:3d} loss {loss.item():.4g} smooth {smooth:.4g}")
    print("final loss", loss.item())
    digest = hashlib.sha256()
    for p in net.parameters():
        digest.update(p.detach().numpy().tobytes())
    print("weights", digest.hexdigest())


if __name__ == "__main__":
    main()
