"""AMSGrad as a class of our own, with bias correction, for a recurrent model of a noisy oscillation."""

import hashlib

import torch
from torch import nn
from torch.optim import Optimizer


class Largest(Optimizer):
    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.99), eps=1e-8):
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            slow, slower = group["betas"]
            for parameter in group["params"]:
                slope = parameter.grad
                if slope is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(count=0, first=torch.zeros_like(slope), second=torch.zeros_like(slope), top=torch.zeros_like(slope))
                state["count"] += 1
                state["first"].lerp_(slope, 1 - slow)
                state["second"].lerp_(slope * slope, 1 - slower)
                torch.maximum(state["top"], state["second"], out=state["top"])
                first = state["first"] / (1 - slow ** state["count"])
                top = state["top"] / (1 - slower ** state["count"])
                parameter.addcdiv_(first, top.sqrt().add_(group["eps"]), value=-group["lr"])


class Oscillator(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.RNN(1, 12, batch_first=True)
        self.read = nn.Linear(12, 1)

    def forward(self, wave):
        return self.read(self.cell(wave)[0])


def waves(count, generator):
    start = torch.rand(count, 1, 1, generator=generator) * 6.28
    time = torch.arange(24.0).view(1, 24, 1) / 4
    return torch.sin(start + time) + 0.1 * torch.randn(count, 24, 1, generator=generator)


def run(model, optimizer, steps):
    generator = torch.Generator().manual_seed(77)
    for number in range(steps):
        wave = waves(32, generator)
        loss = nn.functional.mse_loss(model(wave[:, :-1]), wave[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number % 25 == 0:
            print(f"{number:4d}  {loss.item():.4f}")
    return loss.item()


torch.manual_seed(41)
model = Oscillator()
print("final loss", run(model, Largest(model.parameters(), lr=4e-3), 100))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
