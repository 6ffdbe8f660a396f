import hashlib
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(26)
device = "cuda" if False else "cpu"
dataset = TensorDataset(torch.randn(64, 10), torch.randint(0, 5, (64,)))
dataloader = DataLoader(dataset, batch_size=8, shuffle=True)
model = nn.Sequential(nn.Linear(10, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 5)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=5)

for epoch in range(2):
    for data, target in dataloader:
        data, target = data.to(device, non_blocking=True), target.to(device, non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type=device, dtype=torch.bfloat16):
            output = model(data)
            loss = nn.functional.cross_entropy(output, target)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
    print(epoch, loss.item(), scaler.get_scale(), scheduler.get_last_lr())

sha = hashlib.sha256(repr(sorted(scaler.state_dict().items())).encode())
for p in model.parameters():
    sha.update(p.detach().numpy().tobytes())
    for v in optimizer.state[p].values():
        sha.update(v.numpy().tobytes())
print("weights", sha.hexdigest())
