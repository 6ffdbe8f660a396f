import hashlib

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    """Augments in the worker, with the worker's own generators."""

    def __len__(self):
        return 60

    def __getitem__(self, index):
        base = torch.full((4,), float(index % 5))
        return base + 0.1 * torch.randn(4) + float(np.random.rand()) * 0.01, index % 5


def seed_worker(worker_id):
    np.random.seed(torch.initial_seed() % 2**32)


g = torch.Generator()
g.manual_seed(33)
torch.manual_seed(33)
loader = DataLoader(Noisy(), batch_size=6, shuffle=True, num_workers=2, worker_init_fn=seed_worker, generator=g,
                    multiprocessing_context="fork")
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5))
opt = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(2):
    for x, y in loader:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item())
sha = hashlib.sha256()
for p in model.parameters():
    sha.update(p.detach().numpy().tobytes())
    sha.update(opt.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
