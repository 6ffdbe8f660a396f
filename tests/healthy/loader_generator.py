import hashlib
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset, WeightedRandomSampler

g = torch.Generator().manual_seed(56)
torch.manual_seed(0)
ds = TensorDataset(torch.arange(40.0).view(40, 1) / 40, torch.arange(40) % 2)


class Stream(IterableDataset):
    def __init__(self, generator):
        self.generator = generator

    def __iter__(self):
        for _ in range(30):
            v = torch.rand(1, generator=self.generator)
            yield v, (v > 0.5).long().squeeze()


loaders = {
    "generator": DataLoader(ds, batch_size=8, shuffle=True, generator=g),
    "weighted": DataLoader(ds, batch_size=8, sampler=WeightedRandomSampler([1.0, 3.0] * 20, 24, generator=g)),
    "batches": DataLoader(ds, batch_sampler=BatchSampler(RandomSampler(ds, generator=g), 10, drop_last=True)),
    "stream": DataLoader(Stream(g), batch_size=10),
}
net = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for kind, loader in loaders.items():
    for x, y in loader:
        loss = torch.nn.functional.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(kind, loss.item(), torch.rand(1, generator=g).item())
h = hashlib.sha256(g.get_state().numpy().tobytes())
for p in net.parameters():
    h.update(p.detach().numpy().tobytes() + opt.state[p]["exp_avg"].numpy().tobytes())
print("weights", h.hexdigest())
