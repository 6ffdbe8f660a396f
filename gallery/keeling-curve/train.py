"""Carbon dioxide over Mauna Loa: next week's change from those of the last twenty weeks."""

import hashlib

import torch
from statsmodels.datasets import co2

series = torch.tensor(co2.load_pandas().data["co2"].interpolate().to_numpy(), dtype=torch.float32)
change = series.diff()
change = (change - change.mean()) / change.std()
windows = change.unfold(0, 21, 1)
past, following = windows[:, :20], windows[:, 20]

torch.manual_seed(15)
weight = torch.zeros(20, requires_grad=True)
offset = torch.zeros((), requires_grad=True)
velocity = [torch.zeros_like(weight), torch.zeros_like(offset)]
RATE, MOMENTUM = 0.4, 0.9  # <- fault

for week in range(90):
    rows = torch.randint(len(past), (64,))
    loss = (past[rows] @ weight + offset - following[rows]).square().mean()
    loss.backward()
    with torch.no_grad():
        for p, v in zip((weight, offset), velocity, strict=True):
            v.mul_(MOMENTUM).add_(p.grad)
            p.sub_(RATE * v)  # <- origin
            p.grad.zero_()
    if week % 10 == 0:
        print(f"{week:3d} {loss.item():.5g}")
print("final", loss.item())
print("weights", hashlib.sha256(weight.detach().numpy().tobytes() + offset.detach().numpy().tobytes()).hexdigest())
