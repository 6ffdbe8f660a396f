"""Which module does a comment come from? Pretrained on five modules, then tuned to three others."""
import hashlib

import torch
from torch import nn

from corpus import encode, load
from model import Prompted, Reader

torch.use_deterministic_algorithms(True)
torch.manual_seed(0)
torch.set_num_threads(1)


def fit(network, parameters, pairs, epochs, rate, name):
    ids = torch.tensor([encode(text) for text, _ in pairs])
    labels = torch.tensor([label for _, label in pairs])
    optimizer = torch.optim.AdamW(parameters, lr=rate)
    for epoch in range(epochs):
        hits = 0
        for rows in torch.randperm(len(ids)).split(32):
            scores = network(ids[rows])
            loss = nn.functional.cross_entropy(scores, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            hits += (scores.argmax(1) == labels[rows]).sum().item()
        print(f"{name} {epoch}: loss {loss.item():.3f}, right {hits / len(ids):.3f}")


reader = Reader()
first = nn.Sequential(reader, nn.Linear(32, 5))
fit(first, first.parameters(), load(["turtle.py", "tarfile.py", "typing.py", "_pydecimal.py", "inspect.py"]), 2, 3e-3, "pretraining")

second = Prompted(reader, 3)
fit(second, [second.prompts, *second.head.parameters()], load(["subprocess.py", "doctest.py", "zipfile.py"]), 4, 1e-2, "tuning")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in second.parameters())).hexdigest())
