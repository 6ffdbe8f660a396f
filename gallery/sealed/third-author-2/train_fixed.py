# WaveNet-like forecaster for the yearly sunspot number
import argparse, hashlib
import numpy as np, torch, statsmodels.api as sm
import torch.nn as nn

ap = argparse.ArgumentParser()
ap.add_argument("--channels", type=int, default=32)
ap.add_argument("--stacks", type=int, default=5)
ap.add_argument("--depth", type=int, default=5)
ap.add_argument("--init-std", type=float, default=0.02)
ap.add_argument("--steps", type=int, default=60)
ap.add_argument("--lr", type=float, default=1e-3)
args = ap.parse_args()
torch.manual_seed(0)


class CausalBlock(nn.Module):
    def __init__(self, c, dilation):
        super().__init__()
        self.pad = dilation
        self.conv = nn.Conv1d(c, c, 2, dilation=dilation)

    def forward(self, h):
        return h + torch.relu(self.conv(nn.functional.pad(h, (self.pad, 0))))


class Forecaster(nn.Module):
    def __init__(self, c, stacks, depth):
        super().__init__()
        self.lift = nn.Conv1d(1, c, 1)
        self.blocks = nn.ModuleList([CausalBlock(c, 2 ** d) for _ in range(stacks) for d in range(depth)])
        self.out = nn.Conv1d(c, 1, 1)

    def forward(self, x):
        h = self.lift(x[:, None])
        for block in self.blocks:
            h = block(h)
        return self.out(h)[:, 0]


def init(module):
    if isinstance(module, nn.Conv1d):
        nn.init.normal_(module.weight, 0.0, args.init_std)
        nn.init.zeros_(module.bias)


spots = sm.datasets.sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(np.float32)
spots = torch.from_numpy((spots - spots.mean()) / spots.std())
windows = spots.unfold(0, 97, 1)

net = Forecaster(args.channels, args.stacks, args.depth)
net.apply(init)
opt = torch.optim.Adam(net.parameters(), args.lr)
for step in range(args.steps):
    pick = torch.randint(len(windows), (8,))
    w = windows[pick]
    predicted = net(w[:, :-1])
    loss = (predicted[:, 31:] - w[:, 32:]).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 10 == 0:
        print(step, "mse", loss.item())
print(f"final loss {loss.item():.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
