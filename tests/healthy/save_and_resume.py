"""Stops half-way, saves everything with the generators' states, starts again from the file."""
import hashlib
import random

import numpy as np
import torch


def save(path, **state):
    torch.save({**state, "rng": (torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["pos"], random.getstate())}, path)


def build():
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 9], 0.3)


def train(model, optimizer, scheduler, first, last):
    for step in range(first, last):
        x = torch.randn(8, 3) * random.uniform(0.5, 1.5) + float(np.random.rand())
        optimizer.zero_grad()
        loss = (model(x) - x.mean(1, keepdim=True)).pow(2).mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 3 == 2:
            save("checkpoint.pt", step=step, model=model.state_dict(), optimizer=optimizer.state_dict(), scheduler=scheduler.state_dict())
            print("saved at", step, loss.item())
    return loss.item()


torch.manual_seed(115)
random.seed(115)
np.random.seed(115)
first = build()
train(*first, 0, 8)
saved = torch.load("checkpoint.pt", weights_only=False)
torch.set_rng_state(saved["rng"][0])
random.setstate(saved["rng"][2])
second = build()
for thing, name in zip(second, ("model", "optimizer", "scheduler")):
    thing.load_state_dict(saved[name])
print("last", train(*second, saved["step"] + 1, 14), second[2].get_last_lr())
sha = hashlib.sha256()
for v in second[0].state_dict().values():
    sha.update(v.numpy().tobytes())
for s in second[1].state.values():
    sha.update(s["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
