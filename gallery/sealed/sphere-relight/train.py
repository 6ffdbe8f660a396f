"""Albedo of a painted sphere from photographs under a lamp that wanders from the camera to the side."""
import hashlib
import math

import torch

from colour import to_bytes, to_srgb

torch.manual_seed(2)
side = 48
v, u = torch.meshgrid(torch.linspace(-0.95, 0.95, side), torch.linspace(-0.95, 0.95, side), indexing="ij")
inside = u**2 + v**2 < 0.85
normals = torch.stack([u[inside], v[inside], (1 - u[inside] ** 2 - v[inside] ** 2).sqrt()], dim=1)
paint = torch.stack([
    0.5 + 0.35 * torch.sin(5 * normals[:, 0]),
    0.5 + 0.35 * torch.cos(4 * normals[:, 1]),
    0.4 + 0.25 * torch.sin(6 * normals[:, 0] * normals[:, 1])], dim=1)


def lamp(frame, frames):
    tilt = math.radians(5 + 70 * frame / frames)
    turn = 2 * math.pi * frame / 7
    return torch.tensor([math.sin(tilt) * math.cos(turn), math.sin(tilt) * math.sin(turn), math.cos(tilt)])


def shade(albedo, direction, exposure):
    lambert = (normals @ direction).clamp(min=0)
    return (albedo * lambert[:, None] * exposure).clamp(max=1)


frames = 60
photographs = []
for f in range(frames):
    linear = shade(paint, lamp(f, frames), 0.9)
    photographs.append(to_bytes(to_srgb(linear) + 0.004 * torch.randn_like(linear)))

net = torch.nn.Sequential(
    torch.nn.Linear(3, 48), torch.nn.SiLU(), torch.nn.Linear(48, 48), torch.nn.SiLU(), torch.nn.Linear(48, 3), torch.nn.Sigmoid())
exposure = torch.nn.Parameter(torch.tensor(0.7))
optimizer = torch.optim.Adam([{"params": net.parameters(), "lr": 3e-3}, {"params": [exposure], "lr": 1e-2}])

recent = []
for sweep in range(6):
    for f in range(frames):
        rendered = to_srgb(shade(net(normals), lamp(f, frames), exposure))
        photograph = photographs[f].float() / 255
        loss = (rendered - photograph).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent = (recent + [loss.item()])[-frames:]
        if f % 15 == 0:
            print(f"sweep {sweep} frame {f:2d} loss {loss.item():.4f} exposure {exposure.item():.3f}")

print(f"final loss {sum(recent) / len(recent):.4f}")
digest = hashlib.sha256(exposure.detach().numpy().tobytes())
for p in net.parameters():
    digest.update(p.detach().numpy().tobytes())
print("weights", digest.hexdigest())
