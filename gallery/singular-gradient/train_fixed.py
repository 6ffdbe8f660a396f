"""WGAN with gradient penalty on points of a ring."""

import hashlib
import math

import torch
from torch import autograd, nn, optim

BATCH, CRITIC_STEPS, LAMBDA, ITERATIONS = 64, 3, 10.0, 60


def generator_net():
    return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))


def critic_net():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))


def real_points(count):
    angle = 2 * math.pi * torch.rand(count)
    return torch.stack([angle.cos(), angle.sin()], dim=1) + 0.02 * torch.randn(count, 2)


def gradient_penalty(critic, real, fake):
    mix = torch.rand(len(real), 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    score = critic(between)
    (slope,) = autograd.grad(score.sum(), between, create_graph=True)
    norm = ((slope**2).sum(dim=1) + 1e-12).sqrt()
    return LAMBDA * ((norm - 1) ** 2).mean()


torch.manual_seed(2)
generator, critic = generator_net(), critic_net()
optimizer_g = optim.Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
optimizer_d = optim.Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.9))

for iteration in range(ITERATIONS):
    for _ in range(CRITIC_STEPS):
        real = real_points(BATCH)
        fake = generator(torch.randn(BATCH, 2)).detach()
        loss_d = critic(fake).mean() - critic(real).mean() + gradient_penalty(critic, real, fake)
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()

    loss_g = -critic(generator(torch.randn(BATCH, 2))).mean()
    optimizer_g.zero_grad()
    loss_g.backward()
    optimizer_g.step()
    if iteration % 10 == 0:
        print(f"{iteration:3d}  critic {loss_d.item():+.4f}  generator {loss_g.item():+.4f}")

print("final loss", loss_d.item(), loss_g.item())
digest = hashlib.sha256()
for net in (generator, critic):
    for p in net.parameters():
        digest.update(p.detach().numpy().tobytes())
print("weights", digest.hexdigest())
