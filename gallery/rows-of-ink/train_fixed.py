"""Three tasks on one trunk: which digit, how much ink lies on each row, how symmetric the image is."""

import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class DigitTasks(Dataset):
    """Which digit, how much ink on each row, how symmetric."""

    def __init__(self):
        raw = load_digits()
        self.images = torch.tensor(raw.images).float() / 16.0
        self.digit = torch.tensor(raw.target)
        ink = self.images.sum(2)
        self.ink = (ink - ink.mean(0)) / ink.std(0).clamp_min(1e-3)
        self.symmetry = (self.images - self.images.flip(2)).abs().mean((1, 2))

    def __len__(self):
        return len(self.digit)

    def __getitem__(self, i):
        return {"image": self.images[i], "digit": self.digit[i], "ink": self.ink[i], "symmetry": self.symmetry[i]}


class MultiTaskLoss:
    def __init__(self, ink_weight=1.0):
        self.ink_weight = ink_weight
        self.log = {}

    def __call__(self, outputs, batch):
        ce = F.cross_entropy(outputs["digit"], batch["digit"])
        ink = F.mse_loss(outputs["ink"], batch["ink"])
        symmetry = F.l1_loss(outputs["symmetry"], batch["symmetry"])
        self.log = {"ce": ce.item(), "ink": ink.item(), "sym": symmetry.item()}
        return ce + self.ink_weight * ink + 0.5 * symmetry


class SharedTrunk(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.heads = nn.ModuleDict({"digit": nn.Linear(width, 10), "ink": nn.Linear(width, 8), "symmetry": nn.Linear(width, 1)})

    def forward(self, image):
        h = self.trunk(image)
        out = {name: head(h) for name, head in self.heads.items()}
        out["symmetry"] = out["symmetry"].squeeze(1)
        return out


def train():
    torch.manual_seed(99)
    loader = DataLoader(DigitTasks(), batch_size=64, shuffle=True)
    model = SharedTrunk()
    criterion = MultiTaskLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(10):
        for batch in loader:
            optimizer.zero_grad()
            loss = criterion(model(batch["image"]), batch)
            loss.backward()
            optimizer.step()
        print(epoch, {k: round(v, 4) for k, v in criterion.log.items()})
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    torch.set_num_threads(1)
    train()
