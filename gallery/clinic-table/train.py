"""Days in hospital from the values at admission. The table was typed in by hand."""

import hashlib
import io

import numpy as np
import pandas as pd
import torch
from torch import nn

rng = np.random.default_rng(21)


def typed_table(patients):
    text = io.StringIO()
    print("age,pulse,creatinine,sodium,days", file=text)
    for number in range(patients):
        age, pulse, creatinine, sodium = rng.integers(20, 90), rng.normal(80, 12), rng.lognormal(0, 0.4), rng.normal(139, 3)
        days = 0.05 * age + 2 * creatinine + 0.02 * pulse + rng.normal(0, 0.3)
        shown = "" if number in (402, 511) else f"{creatinine:.2f}"
        print(f"{age},{pulse:.0f},{shown},{sodium:.1f},{days:.1f}", file=text)
    text.seek(0)
    return text


frame = pd.read_csv(typed_table(600))  # <- fault
features = frame.drop(columns="days")
features = (features - features.mean()) / features.std()
x = torch.tensor(features.to_numpy(), dtype=torch.float32)
y = torch.tensor(frame["days"].to_numpy(), dtype=torch.float32)

torch.manual_seed(6)
net = nn.Sequential(nn.Linear(x.shape[1], 16), nn.SiLU(), nn.Linear(16, 1))
optimizer = torch.optim.NAdam(net.parameters(), lr=0.01)
order = np.random.default_rng(0).permutation(len(x))
for epoch in range(2):
    for start in range(0, len(x), 24):
        rows = order[start : start + 24]
        xb, yb = x[rows], y[rows]  # <- origin
        loss = nn.functional.huber_loss(net(xb).squeeze(1), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
