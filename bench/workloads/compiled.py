"""A pre-norm network under `torch.compile` (inductor), AdamW."""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, DEPTH, BATCH, CLASSES = 256, 8, 256, 10


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.down = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


def prepare():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, WIDTH), *(Layer() for _ in range(DEPTH)), nn.Linear(WIDTH, CLASSES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    batches = [(torch.randn(BATCH, 64), torch.randint(CLASSES, (BATCH,))) for _ in range(16)]
    return (torch.compile(model), optimizer), batches


def train(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    train(*prepare()[0], prepare()[1])
