"""Which of two melodies is it? A network whose weights are all +1 or -1 when it computes."""

import torch
from torch import nn


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return gradient * (x.abs() <= 1.0)


class BinaryLinear(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, Sign.apply(self.weight), self.bias) / self.in_features**0.5


torch.manual_seed(5)
model = nn.Sequential(BinaryLinear(16, 64), nn.BatchNorm1d(64), nn.Hardtanh(), BinaryLinear(64, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
times = torch.arange(16) / 16.0
for step in range(200):
    melody = torch.randint(2, (32,))
    pitch = 2.0 + melody[:, None] + 0.2 * torch.randn(32, 1)
    sound = torch.sin(2 * torch.pi * pitch * times + 6.3 * torch.rand(32, 1)) + 0.3 * torch.randn(32, 16)
    loss = nn.functional.cross_entropy(model(sound), melody)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 25 == 0:
        print(f"{step:3d} {loss.item():.4f}")
