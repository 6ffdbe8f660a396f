import hashlib

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from layers_fixed import column

torch.manual_seed(0)
torch.set_num_threads(1)

images = torch.tensor(load_digits().data, dtype=torch.float32) / 16
fit, check = train_test_split(images, test_size=0.2, random_state=0)
noise = torch.Generator().manual_seed(1)


def spoil(clean):
    return (clean + 0.3 * torch.randn(clean.shape, generator=noise)).clamp(0, 1)


# a deep and narrow-waisted network; the waist keeps it from copying the noise
net = column([64] + [224] * 10 + [40] + [224] * 10 + [64])
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)

for epoch in range(6):
    total = 0.0
    for clean in fit[torch.randperm(len(fit))].split(48):
        loss = (net(spoil(clean)) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(clean)
    with torch.no_grad():
        held = (net(spoil(check)) - check).square().mean()
    print(f"{epoch}: fit {total / len(fit):.4f}, held out {held:.4f}")

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
