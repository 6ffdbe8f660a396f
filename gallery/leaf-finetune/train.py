"""Fine-tune a backbone on leaf species: new head, lower rate for the rest."""
import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def backbone():
    net = nn.Sequential()
    net.add_module("features", nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()))
    net.add_module("head", nn.Linear(72, 100))
    for parameter in net.features.parameters():
        parameter.requires_grad_(False)
    return net


def replace_head(net, species):
    net.head = nn.Sequential(nn.Linear(net.head.in_features, 32), nn.ReLU(), nn.Linear(32, species))  # <- fault
    return net


def make_optimizer(net, rate):
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trainable, lr=rate)


class FineTuning:
    def __init__(self, species, rate=3e-3):
        self.model = backbone()
        self.optimizer = make_optimizer(self.model, rate)  # <- fault
        self.model = replace_head(self.model, species)  # <- fault
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.05)

    def epoch(self, loader):
        total = 0.0
        for leaves, species in loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(leaves), species)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(loader)


def leaves(count, species):
    label = torch.randint(0, species, (count,))
    colour = torch.randn(species, 3, 1, 1)
    return TensorDataset(colour[label] + 0.5 * torch.randn(count, 3, 12, 12), label)


torch.manual_seed(13)
loader = DataLoader(leaves(480, 6), batch_size=24, shuffle=True)
job = FineTuning(species=6)
for number in range(10):
    print(f"epoch {number}: loss {job.epoch(loader):.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in job.model.parameters())).hexdigest())
