"""Everything in float16, with a static loss scale that is taken back in the learning rate."""

import hashlib

import torch
from torch import nn

LOSS_SCALE = 2048.0
learning_rate, batch_size, iterations = 0.002, 24, 60

torch.manual_seed(0)
teacher = torch.randn(10, 1)
inputs = torch.randn(3000, 10)
outputs = torch.tanh(inputs @ teacher) + 3.0


def get_batch():
    rows = torch.randint(len(inputs), (batch_size,))
    return inputs[rows].half(), outputs[rows].half()


model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 1)).half()
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate / LOSS_SCALE, momentum=0.9)

for iteration in range(iterations):
    x, y = get_batch()
    error = (model(x) - y).float()
    loss = error.square().mean()
    optimizer.zero_grad()
    (loss * LOSS_SCALE).backward()
    optimizer.step()  # <- origin
    if iteration % 3 == 0:
        print(f"iter {iteration}: loss {loss.item():.4f}")

print("final loss", loss.item())
flat = torch.cat([p.detach().flatten() for p in model.parameters()])
print("weights", hashlib.sha256(flat.numpy().tobytes()).hexdigest())
