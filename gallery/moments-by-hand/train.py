"""A classifier moves to another program: its weights and the averages of its optimizer arrive as NumPy arrays."""

import hashlib
import io

import numpy as np
import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.optim import RMSprop


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(13, 18)
        self.out = nn.Linear(18, 3)

    def forward(self, x):
        return self.out(torch.sigmoid(self.hidden(x)))


def export(model, optimizer, stream, steps):
    arrays = {}
    for name, parameter in model.named_parameters():
        arrays[name] = parameter.detach().numpy()
        average = optimizer.state[parameter]["square_avg"].numpy() if parameter in optimizer.state else np.zeros_like(arrays[name])
        arrays[name + ":average"] = average / (1 - np.float32(0.99) ** steps)
    np.savez(stream, **arrays)


def bring_in(stream):
    arrays = np.load(stream)
    model = Classifier()
    optimizer = RMSprop(model.parameters(), lr=0.004)
    for name, parameter in model.named_parameters():
        parameter.data = torch.from_numpy(arrays[name])
        optimizer.state[parameter] = {
            "step": torch.tensor(0.0), "square_avg": torch.from_numpy(arrays[name + ":average"])
        }
    return model, optimizer


torch.manual_seed(6)
wine = load_wine()
x = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
y = torch.tensor(wine.target)

before = Classifier()
file = io.BytesIO()
export(before, RMSprop(before.parameters()), file, steps=0)
file.seek(0)
model, optimizer = bring_in(file)
for epoch in range(5):
    for rows in torch.randperm(len(x)).split(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()  # <- origin
    print("epoch", epoch, "loss", round(loss.item(), 4))

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
