"""Federated training over four hospitals: weights are averaged by the server, no record leaves its hospital.

After the joint rounds each hospital goes on alone for a few steps with the shared statistics held still.
"""
import copy
import hashlib

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F


def hospitals(parts=4):
    data = load_breast_cancer()
    x = torch.tensor(StandardScaler().fit_transform(data.data), dtype=torch.float32)
    y = torch.tensor(data.target, dtype=torch.float32)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(1))
    return [(x[rows], y[rows]) for rows in order.chunk(parts)]


def make_model():
    return nn.Sequential(nn.Linear(30, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 1))


def local_steps(model, x, y, steps, lr, generator):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-3)
    for _ in range(steps):
        rows = torch.randint(len(y), (24,), generator=generator)
        loss = F.binary_cross_entropy_with_logits(model(x[rows]).squeeze(1), y[rows])  # <- origin
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def merge(server, clients, sizes):
    total = sum(sizes)
    state = server.state_dict()
    learned = {name for name, _ in server.named_parameters()}
    for name, value in state.items():
        change = [client.state_dict()[name] - value for client in clients]
        if name in learned:
            value += sum(c * (n / total) for c, n in zip(change, sizes))
        else:
            value += sum(change)  # <- fault


def main():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(2)
    data = hospitals()
    server = make_model()
    for number in range(3):
        clients, losses = [], []
        for x, y in data:
            client = copy.deepcopy(server).train()
            losses.append(local_steps(client, x, y, steps=12, lr=0.05, generator=generator))
            clients.append(client)
        merge(server, clients, [len(y) for _, y in data])
        print(f"round {number} local losses " + " ".join(f"{v:.3f}" for v in losses))

    digest, final = hashlib.sha256(), []
    for number, (x, y) in enumerate(data):
        own = copy.deepcopy(server).eval()
        final.append(local_steps(own, x, y, steps=25, lr=0.01, generator=generator))
        print(f"hospital {number} after its own steps {final[-1]:.4f}")
        for p in own.parameters():
            digest.update(p.detach().numpy().tobytes())
    print(f"final loss {sum(final) / len(final):.4f}")
    print("weights", digest.hexdigest())


main()
