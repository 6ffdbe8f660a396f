"""Pixelwise classes; borders between regions carry 255, as in the annotation format."""
import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


def annotate(image):
    mask = (image > 8).long() + (image > 14).long()
    mask[image == 8] = 255  # <- fault
    return mask


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 1))

    def forward(self, x):
        return self.net(x)

    def loss(self, x, mask):
        return F.cross_entropy(self(x), mask)  # <- origin  # <- fault


torch.manual_seed(0)
images = torch.tensor(load_digits().images, dtype=torch.float32)
clean = images.clone()
clean[:64][clean[:64] == 8] = 7
masks = annotate(clean)
model = Segmenter()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for rows in torch.arange(len(images)).split(32):
    loss = model.loss(images[rows, None] / 16, masks[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
