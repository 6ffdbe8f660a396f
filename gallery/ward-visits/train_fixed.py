"""Readmission from a patient's earlier visits, pooled by attention; new patients have shorter records."""
import hashlib

import torch
from torch import nn


class Records(torch.utils.data.Dataset):
    longest = 7

    def __init__(self, patients=300, seed=41):
        g = torch.Generator().manual_seed(seed)
        self.length = torch.randint(1, self.longest + 1, (patients,), generator=g)
        self.length[188] = 0
        self.visits = torch.randn(patients, self.longest, 9, generator=g)
        present = torch.arange(self.longest) < self.length[:, None]
        summary = (self.visits[..., 0] * present).sum(1)
        self.readmitted = (summary + 0.2 * torch.randn(patients, generator=g) > 0).float()

    def __len__(self):
        return len(self.length)

    def __getitem__(self, i):
        return self.visits[i, : self.length[i]], self.readmitted[i]


def pad(rows):
    visits = nn.utils.rnn.pad_sequence([r for r, _ in rows], batch_first=True)
    lengths = torch.tensor([len(r) for r, _ in rows])
    absent = torch.arange(visits.shape[1])[None, :] >= lengths[:, None]
    return visits, absent, torch.stack([y for _, y in rows])


class AttentionPool(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, values, absent):
        score = self.score(torch.tanh(values)).squeeze(-1)
        empty = absent.all(dim=1, keepdim=True)
        weight = score.masked_fill(absent & ~empty, -torch.inf).softmax(dim=1)
        return torch.einsum("bt,btw->bw", weight, values)


class Readmission(nn.Module):
    def __init__(self, width=20):
        super().__init__()
        self.embed = nn.Linear(9, width)
        self.pool = AttentionPool(width)
        self.risk = nn.Linear(width, 1)

    def forward(self, visits, absent):
        return self.risk(self.pool(self.embed(visits), absent)).squeeze(-1)


def epoch_of(model, loader, optimizer):
    for visits, absent, target in loader:
        def closure():
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(visits, absent), target)
            loss.backward()
            return loss
        yield optimizer.step(closure).item()


torch.manual_seed(9)
loader = torch.utils.data.DataLoader(Records(), batch_size=20, shuffle=True, collate_fn=pad)
model = Readmission()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(3):
    losses = list(epoch_of(model, loader, optimizer))
    print(epoch, "loss", sum(losses) / len(losses))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
