"""Response of cells to a compound: a network that can only rise with concentration (weights kept positive by softplus)."""
import hashlib

import torch
from torch import nn
from torch.nn import functional as F


class Rising(nn.Module):
    """A dense layer with positive weights."""

    def __init__(self, fan_in, fan_out):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(fan_in, fan_out) * 0.3 - 1.0)
        self.shift = nn.Parameter(torch.randn(fan_out) * 0.5)

    def forward(self, x):
        return x @ F.softplus(self.raw) + self.shift


class DoseResponse(nn.Module):
    def __init__(self, targets=2, width=24):
        super().__init__()
        self.first, self.second, self.last = Rising(targets, width), Rising(width, width), nn.Linear(width, 1)

    def forward(self, dose):
        hidden = torch.relu(self.first(dose))  # <- origin  # <- fault
        hidden = torch.tanh(self.second(hidden) / 4)
        return self.last(hidden).squeeze(1)


def assay(wells):
    """log10 of two concentrations in mol/l, and the response, standardised."""
    log_molar = torch.rand(wells, 2) * 5 - 9
    effect = torch.sigmoid(2.0 * (log_molar[:, 0] + 6.8)) + 0.6 * torch.sigmoid(3.0 * (log_molar[:, 1] + 6.2))
    effect = effect + 0.05 * torch.randn(wells)
    return log_molar, (effect - effect.mean()) / effect.std()


torch.manual_seed(9)
log_molar, response = assay(1200)
dose = log_molar  # <- fault
model = DoseResponse()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=500)
history = []
for update in range(500):
    wells = torch.randint(len(dose), (64,))
    loss = F.mse_loss(model(dose[wells]), response[wells])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    schedule.step()
    history.append(loss.item())
    if len(history) % 100 == 0:
        print(f"{len(history):4d}  mse {sum(history[-100:]) / 100:.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
