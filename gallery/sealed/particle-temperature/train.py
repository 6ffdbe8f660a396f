import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(8)


class CloudEncoder(nn.Module):
    """A permutation invariant description of a cloud of particles (position and velocity)."""

    def __init__(self, features=6, width=64, code=24):
        super().__init__()
        self.per_particle = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
        )
        self.mix = nn.Linear(width, code)

    def forward(self, cloud):
        pooled = self.per_particle(cloud).sum(dim=1)  # <- fault
        return torch.tanh(self.mix(pooled))


class TemperatureModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = CloudEncoder()
        self.head = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, cloud):
        return self.head(self.encoder(cloud)).squeeze(1)


class Box:
    """Clouds in equilibrium: Maxwell velocities, positions in a unit box."""

    def __init__(self, particles):
        self.particles = particles

    def draw(self, n):
        temperature = torch.empty(n).uniform_(0.5, 2.0)
        velocity = torch.randn(n, self.particles, 3) * temperature.sqrt().view(n, 1, 1)
        position = torch.rand(n, self.particles, 3) - 0.5
        return torch.cat([position, velocity], 2), temperature - 1.25


class Trainer:
    def __init__(self, model, source, lr=1e-3, batch=8):
        self.model, self.source, self.batch = model, source, batch
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def run(self, updates, report=50):
        mean = 0.0
        for i in range(1, updates + 1):
            cloud, target = self.source.draw(self.batch)
            loss = F.mse_loss(self.model(cloud), target)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            mean += loss.item() / report
            if i % report == 0:
                print(f"update {i} mean loss {mean:.4f}")
                last, mean = mean, 0.0
        return last


model = TemperatureModel()
final = Trainer(model, Box(particles=1500)).run(250)
print(f"final loss {final:.4f}")
digest = hashlib.sha256()
for p in model.parameters():
    digest.update(p.detach().numpy().tobytes())
print("weights", digest.hexdigest())
