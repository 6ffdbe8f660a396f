"""A trainer, reduced to what we need."""
import numpy as np
import torch
from torch.utils.data import DataLoader


class Module(torch.nn.Module):
    def configure_optimizer(self):
        raise NotImplementedError

    def training_step(self, batch, index):
        raise NotImplementedError


class SquareRootDecay:
    """From the base rate to 0 over the whole training, slowly first."""

    def __init__(self, optimizer, total):
        self.optimizer, self.total = optimizer, total
        self.base = [g["lr"] for g in optimizer.param_groups]
        self.now = -1

    def step(self):
        self.now += 1
        for group, base in zip(self.optimizer.param_groups, self.base):
            group["lr"] = float(base * np.sqrt(max(0.0, 1 - self.now / self.total)))


class Trainer:
    def __init__(self, max_epochs, batch_size, callbacks=()):
        self.max_epochs, self.batch_size, self.callbacks = max_epochs, batch_size, callbacks

    def fit(self, module, dataset):
        loader = DataLoader(dataset, batch_size=self.batch_size, shuffle=True)
        optimizer = module.configure_optimizer()
        schedule = SquareRootDecay(optimizer, self.max_epochs * (len(dataset) // self.batch_size))
        for epoch in range(self.max_epochs):
            module.train()
            losses = []
            for index, batch in enumerate(loader):
                schedule.step()
                loss = module.training_step(batch, index)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            for callback in self.callbacks:
                callback(module, epoch, sum(losses) / len(losses))
