"""Which side effects will a patient report? Only differences of scores within a patient count."""

import hashlib

import torch
import torch.nn.functional as F
from torch import nn

EFFECTS = 6


class SideEffects(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(9, 24), nn.Mish())
        self.effects = nn.Linear(24, EFFECTS)

    def forward(self, patient):
        return self.effects(self.body(patient))


def clinic(visits, generator):
    risk = torch.randn(9, EFFECTS, generator=generator)
    for visit in range(visits):
        patient = torch.randn(20, 9, generator=generator)
        reported = torch.rand(20, EFFECTS, generator=generator) < torch.sigmoid(patient @ risk)
        possible = torch.ones(20, EFFECTS, dtype=torch.bool)
        if visit == 24:
            possible[15, 2], reported[15, 2] = False, False
        yield patient, possible, reported.float()


def multi_label_loss(score, reported, possible):
    centred = score - score.mean(dim=1, keepdim=True)
    return F.binary_cross_entropy_with_logits(centred, reported, weight=possible.float())


torch.manual_seed(3)
model = SideEffects()
optimizer = torch.optim.RAdam(model.parameters(), lr=1e-2)
for visit, (patient, possible, reported) in enumerate(clinic(50, torch.Generator().manual_seed(14))):
    loss = multi_label_loss(model(patient), reported, possible)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if visit % 8 == 0:
        print(f"visit {visit}: {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
