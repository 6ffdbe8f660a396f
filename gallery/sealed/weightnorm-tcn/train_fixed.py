"""One-step-ahead forecast of yearly sunspot numbers with a causal convolution stack."""
import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from statsmodels.datasets import sunspots
from torch.nn.utils.parametrizations import weight_norm


class CausalConv(nn.Module):
    def __init__(self, c_in, c_out, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(c_in, c_out, 3, dilation=dilation, bias=False)

    def forward(self, x):
        return self.conv(F.pad(x, (self.pad, 0)))


class TCN(nn.Module):
    def __init__(self, channels=24):
        super().__init__()
        self.stack = nn.ModuleList([CausalConv(1, channels, 1), CausalConv(channels, channels, 2),
                                    CausalConv(channels, channels, 4)])
        self.out = CausalConv(channels, 1, 1)

    def forward(self, x):
        for layer in self.stack:
            x = F.silu(layer(x))
        return self.out(x)


def normalize_weights(model):
    for module in model.modules():
        if isinstance(module, CausalConv):
            weight_norm(module.conv)
    return model


class Experiment:
    def __init__(self):
        torch.manual_seed(8)
        raw = torch.tensor(sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(), dtype=torch.float32)
        self.series = (raw - raw.mean()) / raw.std()
        self.model = normalize_weights(TCN())
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-3)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=200)

    def batch(self, size=16, length=64):
        start = torch.randint(0, len(self.series) - length - 1, (size,))
        index = start[:, None] + torch.arange(length + 1)
        window = self.series[index].unsqueeze(1)
        return window[..., :-1], window[..., 1:]

    def run(self, steps=200):
        smooth = None
        for step in range(steps):
            past, future = self.batch()
            loss = F.mse_loss(self.model(past), future)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
            if step % 20 == 0:
                print(f"{step:4d} {smooth:.4f}")
        print(f"final loss {smooth:.4f}")


experiment = Experiment()
experiment.run()
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in experiment.model.parameters())).hexdigest())
