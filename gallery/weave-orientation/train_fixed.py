import hashlib

import torch
import torch.nn.functional as F
from torch import nn

from textures import NAMES, cloth


class TextureNet(nn.Module):
    """Orderless description of a texture: filter responses collected over the whole picture, then a small code."""

    def __init__(self, filters=24, code=12):
        super().__init__()
        self.filters = nn.Sequential(nn.Conv2d(1, filters, 5), nn.ReLU(), nn.Conv2d(filters, filters, 3, stride=2), nn.ReLU())
        self.code = nn.Linear(filters, code)
        self.classify = nn.Linear(code, len(NAMES))

    def forward(self, x):
        responses = self.filters(x).mean(dim=(2, 3))
        return self.classify(torch.tanh(self.code(responses)))


def loop(net, pictures, kind, steps, batch, optimizer, report=40):
    for step in range(steps):
        pick = torch.randint(len(pictures), (batch,))
        loss = F.cross_entropy(net(pictures[pick]), kind[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % report == 0:
            yield step, loss.item()


if __name__ == "__main__":
    torch.manual_seed(6)
    torch.set_num_threads(1)
    pictures, kind = cloth(800, size=40)
    net = TextureNet()
    sgd = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for step, value in loop(net, pictures, kind, 150, 40, sgd):
        print(f"{step:4d} {value:.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
