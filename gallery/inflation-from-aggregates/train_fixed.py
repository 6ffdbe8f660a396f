"""Next quarter's inflation of the United States from this quarter's aggregates, 1959 to 2009."""
import hashlib

import statsmodels.api as sm
import torch
from torch import nn

torch.manual_seed(2)
torch.set_num_threads(1)

macro = sm.datasets.macrodata.load_pandas().data
names = ["realgdp", "realcons", "realinv", "realgovt", "cpi", "m1", "tbilrate", "unemp"]
features = torch.tensor(macro[names].to_numpy()[:-1], dtype=torch.float32)
features = (features - features.mean(0)) / features.std(0)
inflation = torch.tensor(macro["infl"].to_numpy()[1:], dtype=torch.float32).unsqueeze(1) / 4

model = nn.Sequential(nn.Linear(len(names), 24), nn.SiLU(), nn.Linear(24, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

for epoch in range(20):
    running = 0.0
    for quarter in torch.randperm(len(features)).split(16):
        error = model(features[quarter]) - inflation[quarter]
        loss = error.pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item() * len(quarter)
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1:2d}: {running / len(features):.3f}")

digest = hashlib.sha256()
for p in model.parameters():
    digest.update(p.detach().numpy().tobytes())
print("weights", digest.hexdigest())
