"""Tomorrow's lowest temperature in the valley, from the last five days, in degrees Celsius."""

import hashlib
import math
import random

import torch

random.seed(11)
torch.manual_seed(11)


def winter(days):
    """Lowest temperatures of a continental winter: cold spells that come and go."""
    spell, series = 0.0, []
    for day in range(days):
        spell = 0.8 * spell + random.gauss(0.0, 1.4)
        series.append(-14.0 + 4.0 * math.cos(day / 9.0) + spell)
    return series


class Forecast(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = torch.nn.GRU(1, 24, batch_first=True)
        self.day = torch.nn.Linear(24, 16)
        self.out = torch.nn.Linear(16, 1)
        torch.nn.init.constant_(self.out.bias, 1.0)

    def forward(self, past):
        _, last = self.recurrent((past[..., None] + 14.0) / 5.0)
        hidden = torch.tanh(self.day(last[0]))
        return torch.relu(self.out(hidden)).squeeze(-1)  # <- fault


series = torch.tensor(winter(900))
past, tomorrow = series.unfold(0, 6, 1)[:, :5], series.unfold(0, 6, 1)[:, 5]
model = Forecast()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
step = 0
while step < 300:
    rows = torch.randint(len(past), (40,))
    forecast = model(past[rows])
    error = torch.nn.functional.huber_loss(forecast, tomorrow[rows], delta=4.0)
    model.zero_grad()
    error.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step:3d} error {error.item():.3f}")
    step += 1
print("final", error.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
