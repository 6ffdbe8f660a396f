import hashlib

import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(20)

# hourly readings of eight sensors, and the power drawn in the hour after
readings = torch.randn(2000, 8)
power = readings @ torch.linspace(-1, 1, 8) + 0.1 * torch.randn(2000)
readings[1311, 2] = float("nan")  # <- fault

loader = DataLoader(
    TensorDataset(readings, power), batch_size=50, shuffle=True, generator=torch.Generator().manual_seed(1)
)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
loss_function = torch.nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

for epoch in range(3):
    for x, y in loader:
        prediction = model(x).squeeze(1)  # <- origin
        loss = loss_function(prediction, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "loss", loss.item())

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
