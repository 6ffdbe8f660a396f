"""Classifies candidate moments of a match video: each candidate is a stretch of seconds, pooled from frame features."""
import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

FPS = 2


class Matches(Dataset):
    def __init__(self, count=160, seed=31):
        gen = torch.Generator().manual_seed(seed)
        self.items = []
        for k in range(count):
            frames = torch.randn(40, 16, generator=gen)
            moments, labels = [], []
            for j in range(3):
                begin = 1 + 14 * torch.rand(1, generator=gen).item()
                length = 1.0 + 3 * torch.rand(1, generator=gen).item()
                if k == 97 and j == 1:
                    begin, length = 7.1, 0.2
                label = int(torch.randint(0, 3, (1,), generator=gen))
                a, b = int(begin * FPS), int((begin + length) * FPS)
                frames[a:b, label] += 2.0
                moments.append((begin, begin + length))
                labels.append(label)
            self.items.append({"frames": frames, "moments": torch.tensor(moments), "labels": torch.tensor(labels)})

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def stack(items):
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


class MomentPool(nn.Module):
    def forward(self, frames, moments):
        pooled = []
        for clip, spans in zip(frames, moments):
            for begin, end in spans.tolist():
                first, last = int(begin * FPS), int(end * FPS)
                pooled.append(clip[first : max(last, first + 1)].mean(dim=0))
        return torch.stack(pooled)


class MomentClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(16, 32)
        self.pool = MomentPool()
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(32, 3))

    def forward(self, batch):
        return self.head(self.pool(self.lift(batch["frames"]), batch["moments"]))


torch.manual_seed(13)
loader = DataLoader(Matches(), batch_size=8, shuffle=True, collate_fn=stack)
model = MomentClassifier()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
for epoch in range(4):
    correct = seen = 0
    for batch in loader:
        logits, labels = model(batch), batch["labels"].flatten()
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    print(f"epoch {epoch} loss {loss.item():.3f} accuracy {correct / seen:.2f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
