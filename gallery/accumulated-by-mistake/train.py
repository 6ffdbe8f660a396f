"""A tiny generator of points on a ring, and a critic that tells them from real ones."""

import argparse
import hashlib
import math

import torch
from torch import nn


def mlp(*sizes):
    layers = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(fan_in, fan_out), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class Duel:
    def __init__(self, seed):
        torch.manual_seed(seed)
        self.generator, self.critic = mlp(2, 32, 32, 2), mlp(2, 32, 32, 1)
        self.make = torch.optim.SGD(self.generator.parameters(), lr=0.02)
        self.judge = torch.optim.SGD(self.critic.parameters(), lr=0.3)
        self.noise = torch.Generator().manual_seed(seed + 1)

    def ring(self, count):
        angle = torch.rand(count, generator=self.noise) * math.tau
        return torch.stack((angle.cos(), angle.sin()), dim=1)

    def fake(self, count):
        return self.generator(torch.randn(count, 2, generator=self.noise))  # <- origin

    def critic_round(self, count):
        real, fake = self.critic(self.ring(count)), self.critic(self.fake(count).detach())
        loss = ((real - 1) ** 2).mean() + (fake**2).mean()
        loss.backward()
        self.judge.step()  # <- fault
        return loss

    def generator_round(self, count):
        self.make.zero_grad()
        loss = ((self.critic(self.fake(count)) - 1) ** 2).mean()
        loss.backward()
        self.make.step()
        return loss


def main(options):
    duel = Duel(options.seed)
    for number in range(options.rounds):
        judged = duel.critic_round(options.batch)
        made = duel.generator_round(options.batch)
        if number % 25 == 0:
            print(f"round {number:3d} critic {judged.item():.4f} generator {made.item():.4f}")
    return duel


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    duel = main(parser.parse_args())
    everything = [*duel.generator.parameters(), *duel.critic.parameters()]
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in everything)).hexdigest())
