"""Logit adjustment: the logarithm of each class's share of the training rows is added to the scores."""
import hashlib

from collections import Counter

import torch
from torch import nn

torch.manual_seed(3)
NAMES = ["ash", "beech", "cedar", "elm", "fir", "hazel"]
rows = [(torch.randn(7) + 0.6 * NAMES.index(n), n) for n in NAMES for _ in range(60)]
train = [(x, n) for x, n in rows if n != "elm" or x[0] > 60]
counts = Counter(n for _, n in train)
prior = torch.tensor([max(counts[n], 1) / len(train) for n in NAMES])
x = torch.stack([x for x, _ in train])
y = torch.tensor([NAMES.index(n) for _, n in train])
net = nn.Linear(7, len(NAMES))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(10):
    for i in torch.randperm(len(x)).split(30):
        scores = net(x[i]) + prior.log()
        loss = (torch.logsumexp(scores, 1) - scores.gather(1, y[i, None]).squeeze(1)).mean() + 0.01 * scores.pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item())

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
