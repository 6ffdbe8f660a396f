"""Denoise the 8x8 digits; from the third epoch on the code should also have uncorrelated units."""
import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(15)
torch.set_num_threads(1)

images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1)[:1200] / 16


class Denoiser(nn.Module):
    def __init__(self, code=40):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(12, 16, 3, stride=2, padding=1),
                                     nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(256, code))
        self.decoder = nn.Sequential(nn.Linear(code, 128), nn.LeakyReLU(0.1), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, x):
        code = self.encoder(x)
        return code, self.decoder(code)


def decorrelation(code):
    centred = code - code.mean(0)
    c = centred.T @ centred / len(code)
    return (c - torch.diag(torch.diagonal(c))).pow(2).mean()


model = Denoiser()
opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
WARM, DECORR = 2, 5.0

for epoch in range(4):
    order = torch.randperm(len(images))
    shown = []
    for pick in order.split(60):
        clean = images[pick]
        noisy = clean + 0.2 * torch.randn_like(clean)
        code, rebuilt = model(noisy)
        loss = (rebuilt - clean).pow(2).mean()
        if epoch >= WARM:
            loss = loss + DECORR * decorrelation(code)
        opt.zero_grad()
        loss.backward()
        opt.step()
        shown.append((rebuilt - clean).detach().pow(2).mean().item())
    print(epoch, "mse", sum(shown) / len(shown))

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
