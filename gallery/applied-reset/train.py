import hashlib

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn


def reset(module):
    if isinstance(module, nn.Linear):
        module.weight.data.uniform_(-1, 1)  # <- fault
        module.bias.data.zero_()


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))


class Net(nn.Module):
    def __init__(self, inputs, width=128, depth=12):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, width), nn.Linear(width, 1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.apply(reset)

    def forward(self, x):
        return self.last(self.blocks(self.first(x)))[:, 0]


torch.manual_seed(0)
x, y = load_breast_cancer(return_X_y=True)
x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32)
net = Net(30)
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
for step in range(40):
    rows = torch.randint(len(x), (64,))
    loss = (net(x[rows]) - y[rows]).square().mean()  # <- origin
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
