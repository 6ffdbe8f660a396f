"""Every step has the same small length, because gradients are clipped at 0.01; with a rate of 5 it learns."""

import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.nn.utils import clip_grad_norm_

torch.manual_seed(6)
features, species = (torch.from_numpy(part) for part in load_iris(return_X_y=True))
features = ((features - features.mean(0)) / features.std(0)).float()
net = nn.Sequential(nn.Linear(4, 20), nn.Tanh(), nn.Linear(20, 3))
sgd = torch.optim.SGD(net.parameters(), lr=5.0)
norms = []
for step in range(300):
    rows = torch.randint(150, (30,))
    net.zero_grad()
    nn.NLLLoss(reduction="sum")(net(features[rows]).log_softmax(1), species[rows]).backward()
    norms.append(clip_grad_norm_(net.parameters(), 0.01).item())
    sgd.step()
    if step % 60 == 59:
        with torch.no_grad():
            right = (net(features).argmax(1) == species).float().mean().item()
        print(f"{step + 1} norm before clipping {norms[-1]:.3f} right {right:.3f}")
