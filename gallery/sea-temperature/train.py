import hashlib
import torch
import torch.nn as nn
from fields import NextDay
from torch.utils.data import DataLoader, RandomSampler


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(nn.functional.leaky_relu(self.conv1(x), 0.1))


class Forecaster(nn.Module):
    def __init__(self, channels=8):
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.Sequential(Block(channels), Block(channels))
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, today):
        return today + self.head(self.blocks(self.stem(today)))


def main():
    torch.manual_seed(33)
    days = NextDay()
    loader = DataLoader(days, batch_size=24, sampler=RandomSampler(days))
    model = Forecaster()
    opt = torch.optim.RMSprop(model.parameters(), lr=5e-4)
    for epoch in range(5):
        seen = []
        for today, tomorrow in loader:
            forecast = model(today)
            loss = torch.mean((forecast - tomorrow) ** 2)  # <- origin
            opt.zero_grad()
            loss.backward()
            opt.step()
            seen.append(loss.detach())
        print("epoch", epoch, "mse", torch.stack(seen).median().item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
