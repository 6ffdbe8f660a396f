# Embeds wines so that cultivars form tight, well separated clouds. A lot of a merchant (a few bottles) is one batch.
import hashlib
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

torch.manual_seed(1); torch.set_num_threads(1)
raw = load_wine()
X = torch.tensor(StandardScaler().fit_transform(raw.data), dtype=torch.float32)
y = torch.tensor(raw.target)


class Lots(torch.utils.data.Sampler):
    def __init__(self, labels, count, generator):
        self.by = [torch.nonzero(labels == k).flatten() for k in labels.unique()]
        self.count, self.g = count, generator

    def __iter__(self):
        for _ in range(self.count):
            rows = []
            for members in self.by:
                take = int(torch.poisson(torch.tensor(7.0), generator=self.g))
                rows.append(members[torch.randperm(len(members), generator=self.g)[:take]])
            rows = torch.cat(rows)
            yield rows[torch.randperm(len(rows), generator=self.g)].tolist()

    def __len__(self):
        return self.count


def clouds(z, labels):
    inside, centres = [], []
    for k in labels.unique():
        cloud = z[labels == k]
        centres.append(cloud.mean(0))
        inside.append(cloud.std(0).mean())  # <- origin
    gaps = torch.pdist(torch.stack(centres))
    return torch.stack(inside).mean() + torch.relu(4.0 - gaps).mean()


net = nn.Sequential(nn.Linear(13, 32), nn.SiLU(), nn.Linear(32, 3))
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
lots = Lots(y, 240, torch.Generator().manual_seed(33))
for i, (a, b) in enumerate(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, y), batch_sampler=lots)):
    loss = clouds(net(a), b)
    opt.zero_grad(); loss.backward(); opt.step()
    if i % 40 == 0: print(i, round(loss.item(), 4))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
