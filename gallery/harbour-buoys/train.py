"""Wave heights from buoys."""
import hashlib
import io

import numpy as np
import pandas as pd
import torch


def archive(hours=2000):
    rng = np.random.default_rng(8)
    wind = np.abs(rng.normal(8, 3, hours)).round(2)
    swell = np.abs(rng.normal(1.5, 0.4, hours)).round(2)
    height = (0.02 * wind**2 + swell).round(2)
    for start in (700, 1500):
        swell[start : start + 40] = 1e20
    return pd.DataFrame({"wind": wind, "swell": swell, "height": height}).to_csv(index=False)


frame = pd.read_csv(io.StringIO(archive()))  # <- fault
x = torch.tensor(frame[["wind", "swell"]].to_numpy() / [8.0, 1.5], dtype=torch.float32)
y = torch.tensor(frame["height"].to_numpy(), dtype=torch.float32)
torch.manual_seed(5)
net = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.GELU(), torch.nn.Linear(16, 1))
opt = torch.optim.AdamW(net.parameters(), lr=5e-3)
for epoch in range(3):
    for rows in torch.arange(len(x)).split(50):
        rows = rows[torch.randperm(len(rows))]
        loss = torch.nn.functional.mse_loss(net(x[rows]).flatten(), y[rows])  # <- origin
        loss.backward()
        opt.step()
        opt.zero_grad()
    print(epoch, loss.item())

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
