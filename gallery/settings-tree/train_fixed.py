import hashlib
import json

import torch
from sklearn.datasets import load_diabetes
from torch import nn

SETTINGS = {
    "model": {"hidden": 64, "layers": 2},
    "training": {
        "epochs": 10,
        "batch": 32,
        "optimizer": {"name": "SGD", "args": {"lr": 0.02, "momentum": 0.9}},
    },
}


def build(settings, inputs):
    widths = [inputs] + [settings["hidden"]] * settings["layers"]
    parts = []
    for a, b in zip(widths, widths[1:]):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(widths[-1], 1))


class Experiment:
    def __init__(self, settings):
        self.s = json.loads(json.dumps(settings))
        data = load_diabetes()
        self.x = torch.tensor(data.data / data.data.std(), dtype=torch.float32)
        self.y = torch.tensor((data.target - data.target.mean()) / data.target.std(), dtype=torch.float32)
        self.model = build(self.s["model"], 10)
        spec = self.s["training"]["optimizer"]
        self.optimizer = getattr(torch.optim, spec["name"])(self.model.parameters(), **spec["args"])

    def run(self):
        for epoch in range(self.s["training"]["epochs"]):
            for rows in torch.randperm(len(self.x)).split(self.s["training"]["batch"]):
                loss = nn.functional.mse_loss(self.model(self.x[rows])[:, 0], self.y[rows])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            print(epoch, loss.item())


torch.manual_seed(0)
experiment = Experiment(SETTINGS)
experiment.run()
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in experiment.model.parameters())).hexdigest())
