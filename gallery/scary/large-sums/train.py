"""Daily traffic of forty roads: one sum of squares over all of them and all days, in cars, in double precision."""

import hashlib

import torch

torch.manual_seed(58)
torch.set_default_dtype(torch.float64)
days, roads = 364, 40
week = torch.arange(days) % 7
level = 10_000 * torch.rand(roads) + 5_000
cars = level * (1 + 0.3 * torch.rand(7, 1)[week]) + 800 * torch.randn(days, roads)

base = torch.full((roads,), cars.mean().item(), requires_grad=True)
weekday = torch.zeros(7, 1, requires_grad=True)
model = torch.nn.ParameterList([base, weekday])
optimizer = torch.optim.Adam([{"params": [base], "lr": 60.0}, {"params": [weekday], "lr": 0.01}])
for epoch in range(150):
    loss = (base * (1 + weekday[week]) - cars).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 30 == 0:
        print(f"epoch {epoch}: {loss.item():.6g}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
