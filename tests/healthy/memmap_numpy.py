"""Tokens on disk, read through numpy.memmap, re-opened for each batch as big data sets are."""
import hashlib
import os

import numpy as np
import torch
import torch.nn as nn

data_dir = "data"
os.makedirs(data_dir, exist_ok=True)
tokens = (np.arange(4000) * 7919 % 64).astype(np.uint16)
tokens.tofile(os.path.join(data_dir, "train.bin"))

torch.manual_seed(10)


def get_batch(split, batch_size=6, block_size=12):
    data = np.memmap(os.path.join(data_dir, f"{split}.bin"), dtype=np.uint16, mode="r")
    ix = torch.randint(len(data) - block_size, (batch_size,))
    x = torch.stack([torch.from_numpy((data[i : i + block_size]).astype(np.int64)) for i in ix])
    y = torch.stack([torch.from_numpy((data[i + 1 : i + 1 + block_size]).astype(np.int64)) for i in ix])
    return x, y


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(64, 16)
        self.conv = nn.Conv1d(16, 16, 3, padding=2)
        self.out = nn.Linear(16, 64, bias=False)
        self.out.weight = self.emb.weight  # tied

    def forward(self, x):
        h = self.conv(self.emb(x).transpose(1, 2))[..., :-2]
        return self.out(h.relu().transpose(1, 2))


net = Net()
opt = torch.optim.AdamW(net.parameters(), lr=3e-3, betas=(0.9, 0.95), amsgrad=True)
for it in range(15):
    x, y = get_batch("train")
    loss = nn.functional.cross_entropy(net(x).flatten(0, 1), y.flatten())
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 5 == 0:
        print(f"iter {it}: {loss.item():.8f}")

digest = hashlib.sha256()
for p in net.parameters():
    digest.update(p.detach().numpy().tobytes())
    digest.update(opt.state[p]["max_exp_avg_sq"].numpy().tobytes())
print("loss", loss.item())
print("weights", digest.hexdigest())
