"""Will it rain tomorrow? A logistic model of synthetic weather, configured by one mapping as it would be read from a file."""
import hashlib

import torch
from torch import nn

CONFIG = {
    "model": {"width": 40, "depth": 3},
    "optimizer": {
        "name": "SGD",
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 1e-4,
    },
    "updates": 120,
}


class Trainer:
    def __init__(self, config):
        self.config = config
        width, depth = config["model"]["width"], config["model"]["depth"]
        layers = [nn.Linear(7, width), nn.ELU()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.ELU()]
        self.net = nn.Sequential(*layers, nn.Linear(width, 1))
        settings = dict(config["optimizer"])
        kind = getattr(torch.optim, settings.pop("name"))
        self.optimizer = kind(self.net.parameters(), **settings)

    def loss(self, weather, rain):
        return (self.net(weather).squeeze(1) - rain).pow(2).mean()

    def run(self, weather, rain):
        for update in range(self.config["updates"]):
            days = torch.randint(len(weather), (32,))
            loss = self.loss(weather[days], rain[days])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if update % 20 == 0:
                print(f"{update:4d} {loss.item():.4f}")


torch.manual_seed(12)
weather = torch.randn(600, 7)
rain = weather[:, 0] - 0.5 * weather[:, 1] * weather[:, 2] + 0.2 * torch.randn(600)
trainer = Trainer(CONFIG)
trainer.run(weather, rain)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in trainer.net.parameters())).hexdigest())
