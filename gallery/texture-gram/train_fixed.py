"""Texture synthesis: make an image whose feature correlations equal those of a given texture (Gatys et al.).

The pixels are what is trained. Half precision in the loop, as on the GPU.
"""
import hashlib
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(4)
SIZE, CHANNELS = 48, 16


def texture(size):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    waves = torch.sin(x * 0.7 + 2 * torch.sin(y * 0.25)) + 0.6 * torch.sin(y * 1.1)
    return (127.5 + 70 * waves)[None, None].float()


class Features(nn.Module):
    """Random filters serve as well as trained ones here (Ustyuzhaninov et al. 2016)."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, CHANNELS, 5, padding=2)
        self.b = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, img):
        a = F.relu(self.a(img / 4 - 32))
        b = F.relu(self.b(F.avg_pool2d(a, 2)))
        return [a, b]


def gram(f):
    f = f.flatten(2)
    return torch.bmm(f / f.shape[2], f.transpose(1, 2))


net = Features().requires_grad_(False)
with torch.no_grad():
    target = [gram(f) for f in net(texture(SIZE))]

image = nn.Parameter(127.5 + 5 * torch.randn(1, 1, SIZE, SIZE))
opt = torch.optim.Adam([image], lr=2.0)
for it in range(101):
    with torch.autocast("cpu", dtype=torch.float16):
        grams = [gram(f) for f in net(image)]
    loss = sum(F.mse_loss(g.float(), t) for g, t in zip(grams, target))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 10 == 0:
        print("iteration %3d   gram distance %10.4f   pixels %.0f..%.0f" % (it, loss.item(), image.data.min(), image.data.max()))
print("weights", hashlib.sha256(image.detach().numpy().tobytes()).hexdigest())
