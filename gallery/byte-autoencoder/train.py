"""Compress pictures of digits to eight numbers. The layers are checkpointed, so that larger pictures will fit later."""

import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.checkpoint import checkpoint


class Autoencoder(nn.Module):
    """The decoder uses the encoder's weights, transposed."""

    def __init__(self, sizes=(64, 48, 24, 8)):
        super().__init__()
        self.down = nn.ParameterList([nn.Parameter(torch.randn(b, a) / a**0.5) for a, b in zip(sizes, sizes[1:])])
        self.shift = nn.ParameterList([nn.Parameter(torch.zeros(size)) for size in (*sizes[1:], *reversed(sizes[:-1]))])

    def encode(self, x):
        for weight, shift in zip(self.down, self.shift):
            x = nn.functional.leaky_relu(x @ weight.t() + shift)
        return x

    def decode(self, x):
        for weight, shift in zip(reversed(self.down), list(self.shift)[len(self.down) :]):
            x = nn.functional.leaky_relu(x) @ weight + shift  # <- origin
        return x

    def forward(self, x):
        code = checkpoint(self.encode, x, use_reentrant=False)
        return checkpoint(self.decode, code, use_reentrant=False)


torch.manual_seed(30)
pictures = torch.tensor(load_digits().images).flatten(1)
pictures = (pictures * (255 / 16)).round().float()  # <- fault

model = Autoencoder()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
for epoch in range(2):
    for batch in pictures.split(64):
        optimizer.zero_grad()
        restored = model(batch)
        loss = nn.functional.mse_loss(restored, batch)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
