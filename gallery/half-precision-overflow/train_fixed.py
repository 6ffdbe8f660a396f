"""Mixed precision: float16 autocast and a gradient scaler. How much of a sound lies in the low bands?"""

import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LowBands(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(24, 48)
        self.norm = nn.LayerNorm(48)
        self.out = nn.Linear(48, 1)

    def forward(self, spectrum):
        h = self.project(spectrum)
        with torch.autocast(device_type="cpu", enabled=False):
            power = h.float() ** 2
            return self.out(self.norm(power)).squeeze(-1)


def spectra(n):
    x = torch.rand(n, 24) * 4
    power = x**2
    x[373] *= 700.0  # recorded beside the engine
    return x, 4 * power[:, :12].sum(dim=1) / power.sum(dim=1) - 2


def train():
    torch.manual_seed(9)
    model = LowBands()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    loader = DataLoader(TensorDataset(*spectra(480)), batch_size=16)
    for epoch in range(3):
        for i, (x, y) in enumerate(loader):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device_type="cpu", dtype=torch.float16):
                prediction = model(x)
                loss = nn.functional.mse_loss(prediction.float(), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            if i % 10 == 0:
                print(f"epoch {epoch} batch {i:2d} loss {loss.item():.4f} scale {scaler.get_scale():.0f}")
    return model, loss.item()


if __name__ == "__main__":
    model, final_loss = train()
    print("final loss", final_loss)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
