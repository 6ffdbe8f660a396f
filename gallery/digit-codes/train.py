"""Sixteen numbers for a digit: an autoencoder written out by hand."""

import hashlib

import torch
from sklearn.datasets import load_digits

generator = torch.Generator().manual_seed(4)
pictures = torch.tensor(load_digits().data, dtype=torch.float32) / 16.0
pictures = torch.nn.functional.interpolate(pictures.view(-1, 1, 8, 8), size=(16, 16)).flatten(1)


def weights(inputs, outputs):
    return torch.rand(inputs, outputs, generator=generator).requires_grad_()


W1, b1 = weights(256, 128), torch.zeros(128, requires_grad=True)
W2, b2 = weights(128, 16), torch.zeros(16, requires_grad=True)
W3, b3 = weights(16, 256), torch.zeros(256, requires_grad=True)
theta = [W1, b1, W2, b2, W3, b3]


def encode(x):
    h = torch.tanh(x @ W1 + b1)
    return torch.tanh(h @ W2 + b2)  # <- fault


for step in range(400):
    rows = torch.randint(len(pictures), (64,), generator=generator)
    x = pictures[rows]
    x_hat = torch.sigmoid(encode(x) @ W3 + b3)
    loss = ((x_hat - x) ** 2).mean()
    for p in theta:
        p.grad = None
    loss.backward()
    with torch.no_grad():
        for p in theta:
            p -= 2.0 * p.grad
    if step % 50 == 0:
        print(f"{step:3d} {loss.item():.5f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in theta)).hexdigest())
