"""Distil a wide digit classifier into a narrow one. The teacher's answers are computed once and kept in half precision."""
import hashlib
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn


class Cache(NamedTuple):
    image: Tensor
    label: Tensor
    soft: Tensor


def mlp(*sizes):
    parts = []
    for a, b in zip(sizes, sizes[1:]):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def fit_teacher(image, label, updates):
    net = mlp(64, 256, 256, 10)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(updates):
        rows = torch.randint(len(image), (64,))
        loss = F.cross_entropy(net(image[rows]), label[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"teacher: {loss.item():.4f}")
    return net.eval().requires_grad_(False)


def remember(teacher, image, label, temperature):
    soft = torch.softmax(teacher(image) / temperature, dim=1)
    return Cache(image, label, soft.half())  # <- fault


def distil(student, cache, updates, share=0.7):
    opt = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    for update in range(updates):
        rows = torch.randint(len(cache.image), (32,))
        image, label, soft = (part[rows] for part in cache)
        score = student(image)
        soft = soft.float()
        gap = soft * (soft / F.softmax(score, dim=1)).log()  # <- origin
        loss = share * gap.sum(1).mean() + (1 - share) * F.cross_entropy(score, label)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if update % 50 == 49:
            print(f"student {update + 1}: {loss.item():.4f}")


torch.manual_seed(33)
digits = load_digits()
image = torch.tensor(digits.data / 16, dtype=torch.float32)
label = torch.tensor(digits.target)
teacher = fit_teacher(image, label, updates=60)
student = mlp(64, 20, 10)
distil(student, remember(teacher, image, label, temperature=1.2), updates=200)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in student.parameters())).hexdigest())
