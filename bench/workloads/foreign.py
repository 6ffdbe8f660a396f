"""A signed-momentum optimizer, not one of torch.optim: gradients cannot predict it, so an undo copy is kept."""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, DEPTH, BATCH, CLASSES = 256, 8, 256, 10


class SignedMomentum(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-5, betas=(0.9, 0.99), weight_decay=0.01):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            fast, slow = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(torch.sign(momentum.lerp(p.grad, 1 - fast)), alpha=-group["lr"])
                momentum.lerp_(p.grad, 1 - slow)


def prepare():
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU()) for _ in range(DEPTH)]
    model = nn.Sequential(nn.Linear(64, WIDTH), *layers, nn.Linear(WIDTH, CLASSES))
    optimizer = SignedMomentum(model.parameters())
    batches = [(torch.randn(BATCH, 64), torch.randint(CLASSES, (BATCH,))) for _ in range(16)]
    return (model, optimizer), batches


def train(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    train(*prepare()[0], prepare()[1] * 4)
