import hashlib
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(11)
accumulation_steps = 4
train_set = TensorDataset(torch.randn(160, 7), torch.randn(160, 1))
train_loader = DataLoader(train_set, batch_size=5, shuffle=True)
model = nn.Sequential(nn.Linear(7, 14), nn.ReLU(), nn.Dropout(0.3), nn.Linear(14, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

running = 0.0
updates = 0
for i, (inputs, labels) in enumerate(train_loader):
    loss = nn.functional.mse_loss(model(inputs), labels) / accumulation_steps
    loss.backward()
    running += loss.item()
    if (i + 1) % accumulation_steps == 0:
        optimizer.step()
        optimizer.zero_grad()
        updates += 1
        print(f"update {updates}: {running:.8f}")
        running = 0.0

digest = hashlib.sha256()
for p in model.parameters():
    digest.update(p.detach().numpy().tobytes())
    digest.update(optimizer.state[p]["exp_avg"].numpy().tobytes())
    digest.update(optimizer.state[p]["exp_avg_sq"].numpy().tobytes())
print("last", loss.item())
print("weights", digest.hexdigest())
