# hourly bike rentals from calendar and weather, trained walking forward through the year
import hashlib

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def rentals():
    rng = np.random.default_rng(30)
    hours = pd.date_range("2023-01-01", "2023-12-31 23:00", freq="h")
    day = hours.day_of_year.to_numpy()
    temp = 12 - 11 * np.cos(2 * np.pi * (day - 15) / 365) - 4 * np.cos(2 * np.pi * (hours.hour - 4) / 24) + rng.normal(0, 1.5, len(hours))
    rain = np.maximum(rng.gamma(0.25, 1.5, len(hours)) - 0.6, 0)
    rush = np.exp(-((hours.hour - 8) / 1.5) ** 2) + np.exp(-((hours.hour - 17.5) / 2.0) ** 2)
    work = hours.day_of_week < 5
    mean = np.exp(2.8 + 0.045 * temp - 0.35 * rain + np.where(work, 1.3 * rush, 0.5 * np.exp(-((hours.hour - 14) / 4.0) ** 2)))
    demand = pd.DataFrame({"hour": hours, "count": rng.poisson(mean)})
    weather = pd.DataFrame({"time": hours, "temp": temp.round(1), "rain": rain.round(2), "wind": rng.gamma(3, 2, len(hours)).round(1)})
    outage = (weather["time"] >= "2023-08-09 02:00") & (weather["time"] <= "2023-08-09 04:00")
    return demand, weather[~outage]


def features(demand, weather):
    table = demand.merge(weather, left_on="hour", right_on="time", how="left")
    table[["temp", "rain", "wind"]] = table[["temp", "rain", "wind"]].interpolate()
    t = table["hour"].dt
    out = pd.DataFrame({
        "temp": table["temp"], "rain": np.sqrt(table["rain"]), "wind": table["wind"],
        "sin": np.sin(2 * np.pi * t.hour / 24), "cos": np.cos(2 * np.pi * t.hour / 24),
        "sin2": np.sin(4 * np.pi * t.hour / 24), "cos2": np.cos(4 * np.pi * t.hour / 24),
        "work": (t.day_of_week < 5).astype(float),
    })
    for c in ("temp", "rain", "wind"):
        out[c] = (out[c] - out[c].mean()) / out[c].std()
    return out, table["count"]


x, y = features(*rentals())
x = torch.tensor(x.to_numpy(dtype=np.float32))
y = torch.tensor(y.to_numpy(dtype=np.float32))

model = torch.nn.Sequential(
    torch.nn.Linear(x.shape[1], 48), torch.nn.SiLU(),
    torch.nn.Linear(48, 48), torch.nn.SiLU(),
    torch.nn.Linear(48, 1),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
poisson = torch.nn.PoissonNLLLoss(log_input=True, full=True)

for week, (a, b) in enumerate(DataLoader(TensorDataset(x, y), batch_size=168)):
    for _ in range(12):
        loss = poisson(model(a).squeeze(1), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if week % 4 == 0:
        print("week", week, "loss", round(loss.item(), 4))
print(f"final loss {loss.item():.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
