"""Four micro-batches to an update, with clipping and a learning-rate schedule."""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, DEPTH, BATCH, CLASSES, MICRO = 256, 8, 128, 10, 4


def prepare():
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU()) for _ in range(DEPTH)]
    model = nn.Sequential(nn.Linear(64, WIDTH), *layers, nn.Linear(WIDTH, CLASSES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step / 1000))
    batches = [(torch.randn(BATCH, 64), torch.randint(CLASSES, (BATCH,))) for _ in range(16)]
    return (model, optimizer, schedule), batches


def train(model, optimizer, schedule, batches):
    for number, (x, y) in enumerate(batches):
        loss = F.cross_entropy(model(x), y) / MICRO
        loss.backward()
        if (number + 1) % MICRO == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    train(*prepare()[0], prepare()[1] * 4)
