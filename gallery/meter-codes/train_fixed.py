"""Gas use of a house from the weather, from a meter's log. The meter writes a code where it could not be read."""

import csv
import hashlib
import io
import random

import torch

random.seed(4)
COLUMNS = ["outside", "wind", "sun", "people"]


def write_log(hours):
    lines = [",".join(["hour", *COLUMNS, "gas"])]
    for hour in range(hours):
        outside, wind, sun, people = random.gauss(6, 5), random.expovariate(0.3), max(0, random.gauss(2, 2)), random.randint(0, 5)
        gas = max(0.0, 0.4 * (18 - outside) + 0.2 * wind - 0.3 * sun + 0.1 * people + random.gauss(0, 0.2))
        if 610 <= hour < 614:
            outside = -1e20  # the radiator of the station froze
        lines.append(f"{hour},{outside:.6g},{wind:.2f},{sun:.2f},{people},{gas:.3f}")
    return "\n".join(lines)


def load(text):
    table, gas = [], []
    for line in csv.DictReader(io.StringIO(text)):
        table.append([float(line[name]) for name in COLUMNS])
        gas.append(float(line["gas"]))
        if table[-1][0] < -90:
            table[-1][0] = table[-2][0]
    return torch.tensor(table), torch.tensor(gas)


class House:
    def __init__(self, columns):
        self.weights = torch.zeros(columns, requires_grad=True)
        self.base = torch.zeros(1, requires_grad=True)
        self.optimizer = torch.optim.SGD([self.weights, self.base], lr=2e-3)

    def use(self, weather):
        return weather @ self.weights + self.base

    def learn(self, weather, gas):
        loss = ((self.use(weather) - gas) ** 2).mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


weather, gas = load(write_log(900))
house = House(len(COLUMNS))
for start in range(0, 900, 20):
    loss = house.learn(weather[start : start + 20], gas[start : start + 20])
    if start % 200 == 0:
        print("hour", start, "loss", round(loss, 4))
print("weights", hashlib.sha256(torch.cat([house.weights, house.base]).detach().numpy().tobytes()).hexdigest())
