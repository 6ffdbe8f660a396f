"""Metric learning on the small digit images: batch-all triplet loss, evaluated with one-nearest-neighbour."""
import hashlib

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

MARGIN = 0.3
CLASSES_PER_BATCH = 3
IMAGES_PER_CLASS = 4
UPDATES = 400


class Embedder(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
        self.project = nn.Linear(32 * 16, width)

    def forward(self, images):
        return nn.functional.normalize(self.project(self.convolutions(images)), dim=1)


def squared_distances(points):
    inner = points @ points.T
    return 2.0 - 2.0 * inner


def batch_all_triplet_loss(points, labels):
    distances = squared_distances(points)
    # entry (a, p, n): how much nearer the positive is than the negative
    violation = distances[:, :, None] - distances[:, None, :] + MARGIN
    same = labels[:, None] == labels[None, :]
    distinct = ~torch.eye(len(labels), dtype=torch.bool)
    valid = (same & distinct)[:, :, None] & ~same[:, None, :]
    violation = torch.relu(violation) * valid
    violating = (violation > 0).sum()
    return violation.sum() / violating  # <- origin  # <- fault


def draw_batch(by_class, generator):
    classes = torch.randperm(len(by_class), generator=generator)[:CLASSES_PER_BATCH].tolist()
    rows, labels = [], []
    for c in classes:
        pick = torch.randperm(len(by_class[c]), generator=generator)[:IMAGES_PER_CLASS]
        rows.append(by_class[c][pick])
        labels += [c] * IMAGES_PER_CLASS
    return torch.cat(rows), torch.tensor(labels)


def nearest_neighbour_accuracy(model, x_train, y_train, x_test, y_test):
    with torch.no_grad():
        scores = model(x_test) @ model(x_train).T
    return (y_train[scores.argmax(1)] == y_test).float().mean().item()


def main():
    torch.manual_seed(11)
    generator = torch.Generator().manual_seed(5)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16.0
    target = torch.tensor(digits.target)
    train, test = train_test_split(range(len(target)), test_size=0.25, random_state=0, stratify=digits.target)
    x_train, y_train, x_test, y_test = images[train], target[train], images[test], target[test]
    by_class = [x_train[y_train == c] for c in range(10)]

    model = Embedder()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    running = None
    for update in range(UPDATES):
        batch, labels = draw_batch(by_class, generator)
        loss = batch_all_triplet_loss(model(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
        if update % 20 == 0:
            print(f"update {update:4d}  loss {running:.4f}")
    print(f"1-NN accuracy {nearest_neighbour_accuracy(model, x_train, y_train, x_test, y_test):.3f}")
    print(f"final loss {running:.4f}")
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters()))
    print("weights", digest.hexdigest())


if __name__ == "__main__":
    main()
