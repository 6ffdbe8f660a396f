import hashlib
import torch
from torch import nn

# Step 1: an autoencoder on clean pulses. Step 2: the decoder is kept, the encoder is tuned on noisy recordings.
settings = dict(
    seed=12,
    length=64,
    pretrain=dict(updates=300, batch=64, optimizer=torch.optim.Adam, args=dict(lr=2e-3)),
    tune=dict(updates=250, batch=64, optimizer=torch.optim.SGD, args=dict(lr=0.1, momentum=0.9)),
)


def pulses(n, length, noise):
    t = torch.linspace(0, 1, length)
    start = 0.1 + 0.4 * torch.rand(n, 1)
    rise = 0.02 + 0.05 * torch.rand(n, 1)
    fall = 0.1 + 0.3 * torch.rand(n, 1)
    height = 2.0 + 2.0 * torch.rand(n, 1)
    d = (t - start).clamp_min(0)
    clean = height * (torch.exp(-d / fall) - torch.exp(-d / rise))
    return clean + noise * torch.randn(n, length), clean


torch.manual_seed(settings["seed"])
encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64))


def stage(name, cfg, trained, noise):
    optimizer = cfg["optimizer"](trained, **cfg["args"])
    for k in range(cfg["updates"]):
        x, clean = pulses(cfg["batch"], settings["length"], noise)
        h = encoder(x)
        loss = (decoder(h) - clean).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if k % 50 == 0 or k == cfg["updates"] - 1:
            print(name, k, round(loss.item(), 5))
    return loss.item()


stage("pretrain", settings["pretrain"], [*encoder.parameters(), *decoder.parameters()], 0.0)
decoder.requires_grad_(False)
last = stage("tune", settings["tune"], list(encoder.parameters()), 1.0)
print("final loss %.5f" % last)
everything = [*encoder.parameters(), *decoder.parameters()]
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in everything)).hexdigest())
