"""Denoise small HDR renderings; the error is measured after tone mapping, as the eye sees it."""
import hashlib
import torch
import torch.nn.functional as F

torch.manual_seed(14)
G = torch.Generator().manual_seed(14)
GAMMA = 1 / 2.2


def scenes(n, size=16):
    """Smooth lights over a dim background, in linear radiance."""
    grid = torch.linspace(0, 1, size)
    yy, xx = torch.meshgrid(grid, grid, indexing="ij")
    img = torch.full((n, size, size), 0.03)
    for _ in range(3):
        cy, cx = torch.rand(2, n, 1, 1, generator=G)
        power = torch.rand(n, 1, 1, generator=G) * 3
        width = 0.05 + 0.2 * torch.rand(n, 1, 1, generator=G)
        img = img + power * torch.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / width ** 2)
    return img.unsqueeze(1)


def render_noise(clean):
    shots = 24
    return torch.poisson(clean * shots + 2.0, generator=G) / shots


def tonemap(radiance):
    return (radiance / (1 + radiance)) ** GAMMA


denoiser = torch.nn.Sequential(
    torch.nn.Conv2d(1, 24, 3, padding=1), torch.nn.ReLU(),
    torch.nn.Conv2d(24, 24, 3, padding=1), torch.nn.ReLU(),
    torch.nn.Conv2d(24, 1, 3, padding=1),
)
with torch.no_grad():
    denoiser[-1].weight.mul_(0.1)
    denoiser[-1].bias.fill_(0.5)
optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-3)
averaged = torch.optim.swa_utils.AveragedModel(denoiser, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))

train_set = scenes(400)
for step in range(240):
    clean = train_set[torch.randint(len(train_set), (12,), generator=G)]
    restored = denoiser(render_noise(clean)).clamp(min=1e-3)
    loss = F.l1_loss(tonemap(restored), tonemap(clean))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    averaged.update_parameters(denoiser)
    if step % 20 == 0:
        print(f"step {step:3d}  tone mapped error {loss.item():.4f}")

print(f"final loss {loss.item():.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in denoiser.parameters())).hexdigest())
