import hashlib

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(46)
digits = load_digits()
images = torch.tensor(digits.images[:400], dtype=torch.float32).unsqueeze(1) / 16.0
labels = torch.tensor(digits.target[:400], dtype=torch.long)
train_set, test_set = random_split(TensorDataset(images, labels), [320, 80])
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
test_loader = DataLoader(test_set, batch_size=80)

model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10),
)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(2):
    model.train()
    for X, y in train_loader:
        pred = model(X)
        loss = loss_fn(pred, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        for X, y in test_loader:
            accuracy = (model(X).argmax(1) == y).float().mean().item()
    print(f"epoch {epoch}: loss {loss.item():.7f}, accuracy {accuracy:.4f}")

sha = hashlib.sha256()
for k, v in model.state_dict().items():
    sha.update(k.encode()); sha.update(v.numpy().tobytes())
for s in optimizer.state_dict()["state"].values():
    sha.update(s["exp_avg"].numpy().tobytes()); sha.update(s["exp_avg_sq"].numpy().tobytes())
print("weights", sha.hexdigest())
