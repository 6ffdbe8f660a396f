"""Float16 with a scaler that begins at 2**24 and halves its way down."""

import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
digits = load_digits()
images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
skipped = 0
for step in range(90):
    rows = torch.arange(step * 20, step * 20 + 20) % len(images)
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        scores = model(images[rows])
    loss = nn.functional.cross_entropy(scores.float(), labels[rows], reduction="sum")
    scaler.scale(loss).backward()
    before = scaler.get_scale()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    scaler.step(optimizer)
    scaler.update()
    skipped += scaler.get_scale() < before
    if step % 15 == 0:
        print(f"step {step} loss {loss.item() / 20:.4f} scale {scaler.get_scale():.0f} skipped {skipped}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
