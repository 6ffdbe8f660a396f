"""Fine-tune on thermal images with the statistics of the batch norm frozen after a calibration pass."""
import hashlib

import torch
from torch import nn


class ThermalNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.body = nn.Sequential(nn.Conv2d(2, 12, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 3))

    def forward(self, frame):
        return self.body(self.norm(frame))


def frames(batch):
    kind = torch.randint(0, 3, (batch,))
    heat = torch.randn(batch, 1, 12, 12) + kind.view(-1, 1, 1, 1)
    shutter = 4100.0 + 0.001 * torch.randn(batch, 1, 12, 12)
    return torch.cat([heat, shutter], dim=1), kind


@torch.no_grad()
def calibrate(norm, batches):
    count, first, second = 0, torch.zeros(2), torch.zeros(2)
    for frame, _ in batches:
        flat = frame.transpose(0, 1).flatten(1)
        count += flat.shape[1]
        first += flat.sum(1)
        second += (flat * flat).sum(1)
    mean = first / count
    norm.running_mean.copy_(mean)
    norm.running_var.copy_((second / count - mean * mean).clamp(min=1e-2))


def freeze_statistics(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def main():
    torch.manual_seed(30)
    model = ThermalNet()
    calibrate(model.norm, [frames(32) for _ in range(10)])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(4):
        model.train()
        freeze_statistics(model)
        for _ in range(10):
            frame, kind = frames(32)
            loss = nn.functional.cross_entropy(model(frame), kind)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print("epoch", epoch, "loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
