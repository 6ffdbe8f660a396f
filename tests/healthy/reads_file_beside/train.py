import csv
import hashlib
import json
import os
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
settings = json.loads((HERE / "settings" / "run.json").read_text())
with open("housing.csv", newline="") as f:          # relative to where it is started
    rows = list(csv.DictReader(f))
columns = ["rooms", "age", "distance"]
x = torch.tensor([[float(r[c]) for c in columns] for r in rows])
y = torch.tensor([[float(r["price"])] for r in rows])
x = (x - x.mean(0)) / x.std(0)

torch.manual_seed(settings["seed"])
model = torch.nn.Sequential(torch.nn.Linear(3, settings["width"]), torch.nn.ReLU(), torch.nn.Linear(settings["width"], 1))
optimizer = getattr(torch.optim, settings["optimizer"])(model.parameters(), lr=settings["lr"])
for epoch in range(settings["epochs"]):
    loss = torch.nn.functional.smooth_l1_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print("epoch", epoch, "loss", loss.item())

(Path.cwd() / "predictions.txt").write_text("\n".join("%.6f" % v for v in model(x).flatten().tolist()))
print(os.path.relpath(__file__), sorted(os.listdir()))
sha = hashlib.sha256()
for name, value in model.state_dict().items():
    sha.update(value.numpy().tobytes())
for state in optimizer.state.values():
    for value in state.values():
        sha.update(value.numpy().tobytes())
print("weights", sha.hexdigest())
