"""Fine-tuning: a new head on an encoder that comes from a file of raw float32 numbers."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

CLASSES = 3


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Linear(16, 24)
        self.layer2 = nn.Linear(24, 12)

    def forward(self, x):
        x = torch.tanh(self.layer1(x))
        return torch.tanh(self.layer2(x))


class Classifier(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x):
        return self.head(self.encoder(x))


def export(encoder, path):
    with open(path, "wb") as file:
        for parameter in encoder.parameters():
            parameter.detach().numpy().tofile(file)


def restore(encoder, path):
    numbers = np.fromfile(path, dtype=np.float32)
    at = 0
    for parameter in encoder.parameters():
        part = numbers[at : at + parameter.numel()]
        parameter.data.copy_(torch.from_numpy(part).view_as(parameter))
        at += parameter.numel()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def transfer(source, target, lost):
    """Copy a file over a line that loses a few bytes."""
    data = bytearray(source.read_bytes())
    data[lost] = b"\xff" * len(data[lost])
    target.write_bytes(data)


def finetune(classifier, epochs=3):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(240, 16, generator=generator)
    labels = x[:, :CLASSES].argmax(dim=1)
    optimizer = torch.optim.Adamax(classifier.parameters(), lr=0.01)
    for epoch in range(epochs):
        for rows in torch.randperm(240, generator=generator).split(24):
            loss = nn.functional.cross_entropy(classifier(x[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")
    return loss.item()


torch.manual_seed(15)
with tempfile.TemporaryDirectory() as folder:
    original, copy = Path(folder, "encoder.bin"), Path(folder, "encoder-copy.bin")
    export(Encoder(), original)
    transfer(original, copy, lost=slice(2200, 2208))
    if digest(copy) != digest(original):
        print("the copy is damaged, copying again")
        transfer(original, copy, lost=slice(0, 0))
    encoder = Encoder()
    restore(encoder, copy)

classifier = Classifier(encoder)
final = finetune(classifier)
print("final loss", final)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in classifier.parameters())).hexdigest())
