"""What does a delivery cost? Weight, distance and urgency, in cents."""

import hashlib

import torch
from torch import nn

LIMIT = 100.0


class Quote(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 40), nn.Linear(40, 40)])
        self.cost = nn.Linear(40, 1)

    def forward(self, x):
        for layer in self.layers:
            x = nn.functional.gelu(layer(x))
        return self.cost(x)


class CappedLoss(nn.Module):
    """Squared error; single odd deliveries may not rule the update."""

    def forward(self, quoted, paid):
        return (quoted - paid).pow(2).clamp(max=LIMIT).mean()  # <- fault


def deliveries(count):
    weight, distance, urgent = torch.rand(count, 1), torch.rand(count, 1), torch.randint(0, 2, (count, 1)).float()
    paid = 390.0 + 800.0 * weight + 1500.0 * weight * distance + 250.0 * urgent
    return torch.cat([weight, distance, urgent], 1), paid + 20.0 * torch.randn(count, 1)


def main():
    torch.manual_seed(12)
    x, paid = deliveries(1200)
    model, loss_fn = Quote(), CappedLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for epoch in range(8):
        for i in range(0, len(x), 40):
            loss = loss_fn(model(x[i : i + 40]), paid[i : i + 40])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
