# %% Parking slots: which are taken, from features pooled over drawn boxes
import hashlib

import torch
from torch import nn
import torch.nn.functional as F

STRIDE = 4

# %%
def camera(frames=90, seed=6):
    g = torch.Generator().manual_seed(seed)
    scenes = []
    for k in range(frames):
        image = 0.3 * torch.randn(1, 32, 32, generator=g)
        boxes, taken = [], []
        for row in range(2):
            for column in range(2):
                left, top = column * 16 + 1.0, row * 16 + 1.0
                wide = 11.0 if not (k == 58 and row == 1 and column == 0) else 2.0
                full = int(torch.rand(1, generator=g) > 0.5)
                image[0, int(top) : int(top) + 11, int(left) : int(left) + 11] += full
                boxes.append((left, top, left + wide, top + 11.0))
                taken.append(full)
        scenes.append((image, torch.tensor(boxes), torch.tensor(taken, dtype=torch.float)))
    return scenes

# %%
class SlotNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU())
        self.taken = nn.Linear(16, 1)

    def crop(self, features, box):
        x0, y0, x1, y1 = (box / STRIDE).int()
        return features[:, y0:y1, x0:x1]

    def forward(self, images, boxes):
        maps = self.stem(images)
        rows = [self.crop(m, b).flatten(1).mean(-1) for m, bs in zip(maps, boxes) for b in bs]  # <- origin
        return self.taken(torch.stack(rows)).squeeze(-1)

# %%
torch.manual_seed(4)
scenes = camera()
net = SlotNet()
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(3):
    for k in range(0, len(scenes), 6):
        images, boxes, taken = map(torch.stack, zip(*scenes[k : k + 6]))
        opt.zero_grad()
        loss = F.binary_cross_entropy_with_logits(net(images, boxes), taken.flatten())
        loss.backward()
        opt.step()
    print(epoch, "loss", float(loss))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
