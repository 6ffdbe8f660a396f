import hashlib
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class progress:
    """A poor man's tqdm."""

    def __init__(self, iterable, desc=""):
        self.iterable = iterable
        self.desc = desc
        self.postfix = ""

    def __len__(self):
        return len(self.iterable)

    def __iter__(self):
        total = len(self.iterable)
        for n, item in enumerate(self.iterable, 1):
            yield item
            sys.stdout.write("\r%s |%-20s| %d/%d %s" % (self.desc, "#" * (20 * n // total), n, total, self.postfix))
            sys.stdout.flush()
        sys.stdout.write("\n")

    def set_postfix(self, **kw):
        self.postfix = " ".join("%s=%s" % (k, v) for k, v in kw.items())


def train_one_epoch(model, criterion, optimizer, data_loader, epoch, print_freq=4):
    model.train()
    running_loss = 0.0
    pbar = progress(data_loader, desc=f"epoch {epoch}")
    for i, (image, target) in enumerate(pbar):
        output = model(image)
        loss = criterion(output, target)

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        running_loss += loss.item()
        pbar.set_postfix(loss="%.5f" % (running_loss / (i + 1)))
    return running_loss / len(data_loader)


@torch.no_grad()
def evaluate(model, criterion, data_loader):
    model.eval()
    return sum(criterion(model(x), t).item() for x, t in data_loader) / len(data_loader)


torch.manual_seed(4)
images, labels = torch.rand(80, 1, 8, 8), torch.randint(0, 3, (80,))
train_loader = DataLoader(TensorDataset(images, labels), 16, shuffle=True, drop_last=True)
val_loader = DataLoader(TensorDataset(images[:20], labels[:20]), 10)
model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
for epoch in range(3):
    train_loss = train_one_epoch(model, criterion, optimizer, train_loader, epoch)
    print("train", train_loss, "val", evaluate(model, criterion, val_loader))

sha = hashlib.sha256()
for key, value in model.state_dict().items():
    sha.update(key.encode() + value.numpy().tobytes())
for p in model.parameters():
    sha.update(optimizer.state[p]["momentum_buffer"].numpy().tobytes())
print("weights", sha.hexdigest())
